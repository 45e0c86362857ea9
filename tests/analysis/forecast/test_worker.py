"""The worker as the engine runs it, and what is made of its answers."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import numpy as np
import pytest

from costmeter.analysis.forecast import (
    Grown,
    Interval,
    Intervals,
    Request,
    WorkerError,
    run_worker,
    score,
    to_period_end,
)
from costmeter.analysis.forecast.heavy import METHOD, _weights
from costmeter.analysis.forecast.worker import main

USD = 1_000_000_000


def test_a_request_comes_back_series_by_series():
    rows = [[10 * USD] * 40, [None] * 40, [3 * USD]]
    answer = run_worker(Request(20_000, rows, ahead=30), 120)
    first, nothing, short = answer.forecasts
    assert (first.last_day, len(first.days), first.history_days) == (20_000, 30, 40)
    assert first.total(7).point == 70 * USD
    assert first.total(31) is None
    assert (nothing.history_days, nothing.total(30).point) == (0, 0)
    assert short.quality.wape is None
    assert to_period_end(5 * USD, first, 2, 0.5).point == 20 * USD
    assert to_period_end(5 * USD, first, 0) == Interval(*[5 * USD] * 5)
    assert to_period_end(5 * USD, first, 31) is None


def test_immature_days_are_grown_in_the_worker():
    grown = [Grown((USD, 5 * USD, 10 * USD), 10 * USD)] * 4
    rows = [[10 * USD] * 38 + [5 * USD, 1 * USD]]
    answer = run_worker(Request(20_000, rows, ahead=7, grown=grown), 120)
    assert answer.forecasts[0].total(7).point == pytest.approx(70 * USD, rel=0.01)


def test_a_worker_that_takes_too_long_is_stopped():
    with pytest.raises(WorkerError, match=r"stopped after 0\.01 s"):
        run_worker(Request(20_000, [[USD] * 40]), 0.01)


def test_a_worker_says_what_is_wrong():
    with pytest.raises(WorkerError, match="a horizon of 91 days"):
        run_worker(Request(20_000, [[USD] * 40], ahead=91), 120)


GOOD = {
    "last_day": 20_000, "ahead": 7, "series": 1, "days": 40, "deep": 0, "age": 0, "grown": [],
}  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"series": -1}, "series is -1"),
        ({"days": 10**9}, "more than 20000000 amounts"),
        ({"series": 10**9, "days": 0}, "more than 20000000 amounts"),
        ({"series": 2}, "it ends early: 320 of 640 bytes"),
        ({"ahead": "30"}, "ahead is '30'"),
        ({"age": None}, "age is None"),
        ({"grown": 5}, "grown is no list"),
        ({"grown": [[["x"], 5]]}, "unsupported operand"),
        ({"last_day": 10**12}, "no forecast request"),
    ],
)
def test_what_is_no_request_is_refused_in_a_line(changed: dict[str, object], said: str):
    body = json.dumps(GOOD | changed).encode() + b"\n" + b"\0" * 320
    answer, errors = io.BytesIO(), io.StringIO()
    assert main(io.BytesIO(body), answer, errors) == 1
    assert said in errors.getvalue()
    assert errors.getvalue().count("\n") == 1
    assert not answer.getvalue()


@pytest.mark.parametrize("body", [b"", b"no json\n", b"[]\n", b"\xff\n", b"[" * 100_000 + b"\n"])
def test_what_is_no_header_is_refused(body: bytes):
    errors = io.StringIO()
    assert main(io.BytesIO(body), io.BytesIO(), errors) == 1
    assert "no forecast request" in errors.getvalue()


def test_the_light_methods_import_no_deep_ones_and_stay_small():
    code = """
import io, sys
from costmeter.analysis.forecast.wire import Request, encode
from costmeter.analysis.forecast.worker import main
rows = [[10**9 * (at % 7 + 1)] * 89 + [10**9] for at in range(2000)]
body = io.BytesIO(b"".join(encode(Request(20_000, rows))))
assert main(body, io.BytesIO(), sys.stderr) == 0
print(*sorted({"statsforecast", "numba", "scipy", "pandas"} & set(sys.modules)))
lines = open("/proc/self/status") if sys.platform == "linux" else ()
print(next((line.split()[1] for line in lines if line.startswith("VmHWM")), 0))
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    imported, kilobytes = done.stdout.split("\n")[:2]
    assert imported == ""
    assert int(kilobytes) < 150 * 1024


@pytest.mark.slow
def test_deep_models_serve_the_largest_and_leave_the_rest():
    pytest.importorskip("statsforecast", reason="needs the extra forecast")
    rng = np.random.default_rng(4)
    week = np.array([7, 7, 7, 7, 6, 3, 3])[np.arange(98) % 7]
    noisy = (USD * week * np.exp(0.1 * rng.standard_normal((2, 98)))).astype(int).tolist()
    rows = [noisy[0], [5 * USD] * 90, [USD] * 5, noisy[1]]
    answer = run_worker(Request(20_000, rows, ahead=14, deep=3), 240)
    first, flat, short, light = answer.forecasts
    assert answer.note == ""
    assert first.method == flat.method == METHOD
    assert light.method != METHOD
    assert first.total(7).point == pytest.approx(40 * USD, rel=0.1)
    assert first.total(7).lower95 < first.total(7).point < first.total(7).upper95
    assert flat.total(14).point == 70 * USD
    assert short.total(14).point == 14 * USD


def test_a_trial_decides_what_a_deep_model_weighs():
    better, equal, failed = np.array([4.0, 1, 4]), np.zeros(3), np.array([1.0, 1, np.inf])
    assert _weights(better)[1] > 0.8
    assert _weights(equal) == pytest.approx([0.5, 0.25, 0.25])
    assert _weights(failed) == pytest.approx([2 / 3, 1 / 3, 0])


def test_the_server_imports_no_numpy():
    code = "import costmeter.analysis.forecast, sys; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_yesterdays_forecasts_are_scored():
    said = Interval(10, 8, 12, 6, 14)
    found = score([said, said, said], [12, 20, None])
    assert (found.days, found.error_ratio, found.coverage) == (2, 12 / 32, 0.5)
    assert score([said], [None]) is None
    assert score([said], [0]).error_ratio is None
    assert Intervals.of([said, said])[1] == said
