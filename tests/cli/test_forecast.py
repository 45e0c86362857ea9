"""`costmeter forecast` and `what-if`: what they print, draw and answer to scripts."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from decimal import Decimal
from pathlib import Path

import pytest

from costmeter.cli import main
from costmeter.cli.settings import wall_ms
from costmeter.config import Config, load_config
from costmeter.engine.service import run_once
from costmeter.ledger.terms import Terms
from costmeter.model import Budget
from fakes.clock import FakeClock
from faults.ledgers import DAY, HOUR, Ledger, posting, usage

USD = 10**9
OWN_PRICES = """
prices:
  - {provider: test, model: priced, source: test, usd_per_million: {input: 2.5, output: 10}}
  - {provider: test, model: cheap, source: test, usd_per_million: {input: 0.5, output: 2}}
  - {provider: test, model: silent, source: test, usd_per_million: {output: 2}}
"""


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """40 days: 10 USD of storage for search each, and four million tokens of another team."""
    now_ms = wall_ms()
    midnight = now_ms - now_ms % DAY
    known = [Budget("month", 500 * USD), Budget("today", 50 * USD, period="hour")]
    with Ledger(tmp_path, FakeClock(now_ms), Terms(birth_hold_ms=0), known) as found:
        for back in range(40, 0, -1):
            at_ms = midnight - back * DAY + 9 * HOUR
            found.post(posting(back, at_ms, 10 * USD, team="search"))
            # Old usage is history: whoever sends it late says so.
            if back <= 6:
                found.book(usage(back, at_ms, tokens=4_000_000, team="chat"))
    return found.path


def ask(capsys: pytest.CaptureFixture[str], ledger: Path, *words: str) -> tuple[int, str, str]:
    own = ledger.parent / "costmeter.yml"
    more = ["--config.file", str(own)] if own.exists() else []
    status = main([*words, "--ledger.path", str(ledger), *more])
    said = capsys.readouterr()
    return status, said.out, said.err


def priced(ledger: Path) -> None:
    (ledger.parent / "own.yml").write_text(OWN_PRICES)
    (ledger.parent / "costmeter.yml").write_text("prices: {files: [own.yml]}\n")


def test_a_live_ledger_is_forecast_without_a_stored_one(
    ledger: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    chart = tmp_path / "all.svg"
    status, out, _ = ask(capsys, ledger, "forecast", "--chart", str(chart))
    assert status == 0
    assert "everything" in out
    assert "month_end" in out
    root = ET.fromstring(chart.read_text())
    lines = [one for one in root.iter() if one.tag.endswith("polyline")]
    bands = [one for one in root.iter() if one.tag.endswith("polygon")]
    assert (len(lines), len(bands)) == (2, 2)
    status, out, _ = ask(capsys, ledger, "forecast", "--by", "team", "--horizon", "10", "--json")
    found = {one["value"]: one for one in json.loads(out)}
    assert status == 0
    assert set(found) == {"search", "chat"}
    assert float(found["search"]["7d_mean_usd"]) == pytest.approx(70, rel=0.01)
    assert float(found["search"]["asked_mean_usd"]) == pytest.approx(100, rel=0.01)
    # The other sums of days have no interval: intervals do not add up.
    assert found["search"]["asked_lower95_usd"] is None


def test_one_value_and_a_budget(ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = ask(capsys, ledger, "forecast", "--by", "team", "--value", "chat", "--json")
    assert status == 0
    assert [one["value"] for one in json.loads(out)] == ["chat"]
    status, out, _ = ask(capsys, ledger, "forecast", "--by", "budget", "--json")
    assert [one["value"] for one in json.loads(out)] == ["month"]
    status, out, _ = ask(capsys, ledger, "forecast", "--by", "budget", "--value", "month")
    assert status == 0
    assert "month" in out


def test_a_stored_forecast_is_shown_as_it_stands(
    ledger: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    config: Config = load_config(None, {}, {"ledger.path": str(ledger)})
    assert run_once(config, FakeClock(wall_ms()), "forecast").endswith(" forecasts")
    chart = tmp_path / "team.svg"
    words = ("forecast", "--by", "team", "--value", "search", "--json", "--chart", str(chart))
    status, out, _ = ask(capsys, ledger, *words)
    (found,) = json.loads(out)
    assert status == 0
    assert float(found["30d_mean_usd"]) == pytest.approx(300, rel=0.01)
    assert "Daily cost in USD: search" in chart.read_text()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("forecast", "--by", "colour"), "there is no forecast by 'colour'"),
        (("forecast", "--value", "x"), "--value needs a dimension"),
        (("forecast", "--by", "team", "--value", "none"), "nothing was spent by team 'none'"),
        (("forecast", "--by", "budget", "--value", "none"), "nothing was spent by budget 'none'"),
        (("forecast", "--chart", "all.png"), "charts are SVG files; name it all.svg"),
        (("what-if", "--growth", "much"), "--growth 'much' is no ratio"),
        (
            (
                "what-if",
                "--growth=-200%",
            ),
            "growth is above -100 %",
        ),
        (("what-if", "--months", "0"), "1 to 120 are possible"),
        (("what-if", "--switch", "a=b"), "names no two models"),
        (("what-if", "--switch", "a/b=test/cheap"), "a/b was not used in the last 30 days"),
        (("what-if", "--switch", "test/priced=test/none"), "test/none has no price"),
        (("what-if", "--switch", "test/priced=test/silent"), "has no price for input"),
    ],
)
def test_mistakes_are_told(
    ledger: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], why: str
) -> None:
    priced(ledger)
    status, _, err = ask(capsys, ledger, *words)
    assert status == 1
    assert why in err


def test_without_numpy_it_is_said_in_plain_words(
    ledger: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = ledger.parent / "broken" / "numpy"
    broken.mkdir(parents=True)
    text = "raise ModuleNotFoundError(\"No module named 'numpy'\")"
    (broken / "__init__.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(broken.parent))
    status, _, err = ask(capsys, ledger, "forecast")
    assert status == 1
    assert "forecasts need numpy" in err
    assert "Traceback" not in err


def test_what_if_sets_a_scenario_against_the_baseline(
    ledger: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    priced(ledger)
    still = ("--growth", "0", "--efficiency", "0")
    chart = ledger.parent / "what.svg"
    words = ("what-if", *still, "--switch", "test/priced=test/cheap", "--months", "3")
    status, out, _ = ask(capsys, ledger, *words, "--json")
    found = json.loads(out)
    assert status == 0
    # 30 days of 10 USD, and six days of four million tokens: 2.5, then 0.5 USD a million.
    assert [Decimal(row["baseline_usd"]) for row in found["months"]] == [Decimal(360)] * 3
    assert [Decimal(row["scenario_usd"]) for row in found["months"]] == [Decimal(312)] * 3
    assert Decimal(found["months"][-1]["saved_so_far_usd"]) == 144
    status, out, _ = ask(capsys, ledger, *words, "--chart", str(chart))
    assert "in 3 months the scenario saves 144.00 USD" in out
    assert "60.00 -> 12.00 USD a month for the same tokens" in out
    assert "scenario" in chart.read_text()
    status, out, _ = ask(
        capsys, ledger, "what-if", *still, "--price-change=-50%", "--months", "1",
        "--where", "team=chat", "--json",
    )  # fmt: skip
    (row,) = json.loads(out)["months"]
    assert (Decimal(row["baseline_usd"]), Decimal(row["scenario_usd"])) == (60, 30)


def test_an_empty_ledger_has_no_baseline(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Ledger(tmp_path, FakeClock(wall_ms())) as found:
        pass
    status, _, err = ask(capsys, found.path, "what-if")
    assert (status, "there is no baseline" in err) == (1, True)
    status, _, err = ask(capsys, found.path, "forecast")
    assert (status, "nothing was spent" in err) == (1, True)
