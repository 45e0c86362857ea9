"""`costmeter budget`: what it prints, what it answers to scripts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from costmeter.cli import main
from costmeter.cli.settings import wall_ms
from costmeter.ledger.budget_alerts import Crossing, record
from costmeter.model import Budget, Contact
from fakes.clock import FakeClock
from faults.ledgers import Ledger, posting

USD = 10**9


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    now_ms = wall_ms()
    known = [Budget("over", 10 * USD, owner="Ann"), Budget("fine", 1_000 * USD, period="year")]
    with Ledger(tmp_path, FakeClock(now_ms), budgets=known) as found:
        found.post(posting(1, now_ms - now_ms % 3_600_000, 12 * USD))
        crossing = Crossing(1, 0, "exceeded", 10 * USD, 1_000, now_ms, {"spent": 12 * USD})
        found.do(lambda: record(found.booking.connection, [crossing]))
    return found.path


def test_status_tells_where_all_budgets_stand(
    ledger: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["budget", "status", "--ledger.path", str(ledger)]) == 1
    said = capsys.readouterr().out
    assert "over_budget" in said
    assert "12.00" in said
    assert main(["budget", "status", "fine", "--json", "--ledger.path", str(ledger)]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["spent_usd"], found["level"], found["period"]) == ("12", "none", "year")


def test_status_of_one_budget_says_what_to_do(
    ledger: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["budget", "status", "over", "--ledger.path", str(ledger)]) == 1
    said = capsys.readouterr().out
    assert "2.00 USD over" in said
    assert "To ask for more: tell Ann" in said


def test_an_unknown_budget_is_told(ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["budget", "status", "none", "--ledger.path", str(ledger)]) == 1
    assert "there is no budget 'none'" in capsys.readouterr().err


def test_an_alert_is_listed_until_it_is_acknowledged(
    ledger: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = ["budget", "history", "--open", "--json", "--ledger.path", str(ledger)]
    assert main(listed) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert (entry["budget"], entry["crossed"]) == ("over", "exceeded (100 %)")
    answer = ["budget", "acknowledge", str(entry["alert"]), "--who", "ann", "--note", "seen"]
    assert main([*answer, "--ledger.path", str(ledger)]) == 0
    capsys.readouterr()
    assert main(listed) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert main(["budget", "acknowledge", "99", "--ledger.path", str(ledger)]) == 1
    assert "there is no alert 99" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("asked", "answer", "said"),
    [
        (["status", "--level", "loud"], 1, "'loud' is no level; choose from none, warning"),
        (["status", "--level", "warning, critical"], 0, "is at the level warning or critical"),
        (["status", "--tenant", "nobody"], 0, "no budget of tenant nobody has a period now"),
        (["status", "ovr"], 1, "'costmeter budget status' lists them"),
        (["history", "ovr"], 1, "there is no budget 'ovr'"),
        (["history", "--since", "soon"], 1, "'soon' is no time"),
    ],
)
def test_what_finds_nothing_says_why(
    ledger: Path, asked: list[str], answer: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["budget", *asked, "--ledger.path", str(ledger)]) == answer
    out, err = capsys.readouterr()
    assert said in out + err


def test_without_budgets_it_says_where_they_are_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Ledger(tmp_path, FakeClock(wall_ms())) as found:
        path = found.path
    assert main(["budget", "status", "--ledger.path", str(path)]) == 0
    assert "configured under 'budgets'" in capsys.readouterr().out
    assert main(["budget", "status", "--json", "--ledger.path", str(path)]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_it_names_who_is_told_at_this_level(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    now_ms = wall_ms()
    notify = (Contact("#ops", "slack", "exceeded"), Contact("cfo@example.com", "email"))
    known = [Budget("b", 10 * USD, contacts=("ann@example.com",), notify=notify)]
    with Ledger(tmp_path, FakeClock(now_ms), budgets=known) as found:
        found.post(posting(1, now_ms - now_ms % 3_600_000, 9 * USD))
    assert main(["budget", "status", "b", "--ledger.path", str(found.path)]) == 0
    assert "Told of it: ann@example.com, cfo@example.com." in capsys.readouterr().out
    assert main(["budget", "status", "b", "--json", "--ledger.path", str(found.path)]) == 0
    (one,) = json.loads(capsys.readouterr().out)
    assert one["contacts"] == "ann@example.com, #ops, cfo@example.com"
