"""The worker process answers as the function does, and says what it cannot read."""

from __future__ import annotations

import subprocess
import sys

from analysis.anomaly.spend import SETTINGS, START_MS, flat, series, usd
from costmeter.analysis.anomaly.detect import detect_many
from costmeter.analysis.anomaly.shapes import HOURLY_MS, Acknowledgement
from costmeter.analysis.anomaly.wire import read_reply, write_reply, write_request

WORKER = [sys.executable, "-m", "costmeter.analysis.anomaly.worker"]


def test_the_worker_gives_what_the_function_gives() -> None:
    amounts: list[float | None] = list(usd(flat, 1, 500))
    amounts[300], amounts[310], amounts[420] = None, 90.0, 80.0
    given = [series(amounts, late=[200]), series(amounts, "other", planned=[420])]
    said = [Acknowledgement(given[0].scope, START_MS, START_MS + HOURLY_MS)]
    middle = detect_many(given, START_MS + 400 * HOURLY_MS, SETTINGS, said)
    assert read_reply(write_reply(middle)) == middle
    now = START_MS + 500 * HOURLY_MS
    request = write_request(given, now, SETTINGS, said, middle.states)
    done = subprocess.run(WORKER, input=request, capture_output=True, check=True, timeout=60)
    found = read_reply(done.stdout)
    assert found == detect_many(given, now, SETTINGS, said, middle.states)
    assert len(found.findings) == 1
    assert len(found.readings) == 2


def test_a_request_that_cannot_be_read_is_refused_with_a_reason() -> None:
    for text, reason in ((b"{}", "no 'series' in it"), (b"nonsense", "Expecting value")):
        done = subprocess.run(WORKER, input=text, capture_output=True, check=False, timeout=60)
        assert done.returncode == 2
        assert done.stdout == b""
        assert reason in done.stderr.decode()


def test_what_the_server_imports_needs_no_numpy() -> None:
    code = (
        "import sys; import costmeter.analysis.anomaly.wire, costmeter.analysis.anomaly.explain, "
        "costmeter.analysis.anomaly.worker, costmeter.analysis.plausibility; "
        "sys.exit('numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
