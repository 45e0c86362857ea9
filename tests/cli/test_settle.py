"""`costmeter settle`: what a person reads about a bill."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from costmeter.attribution import Scope
from costmeter.cli import main
from ledger.settle.parts import BILLED, DAY, Bench, line, price_book

CONFIG = """
scopes:
  - name: test
    match: {provider: test}
    amount_from: bill
"""


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path, price_book(tmp_path), BILLED, Scope("default"))
    (tmp_path / "costmeter.yml").write_text(CONFIG)
    made.use("acme", 1_000)
    made.use("beta", 3_000)
    made.use("acme", 100, "dear")
    made.take(
        line(made.today, "cheap", 5_000_000),
        line(made.today, "rogue", 500_000, revision=2),
        line(made.today, "vat", 200_000, charge="tax"),
    )
    yield made
    made.close()


def ask(bench: Bench, *words: str) -> int:
    config = str(bench.path.parent / "costmeter.yml")
    return main(["settle", *words, "--config.file", config, "--ledger.path", str(bench.path)])


def day_of(bench: Bench) -> str:
    return datetime.fromtimestamp(bench.today * DAY / 1000, UTC).date().isoformat()


def test_every_step_of_a_day_adds_up_to_its_bill(bench, capsys) -> None:
    assert ask(bench, "--explain", "test", day_of(bench), "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["status"] == "final"
    assert (found["metered_usd"], found["billed_usd"]) == ("0.005", "0.0057")
    assert found["value_usd"] == found["billed_usd"]
    ends = [
        step for step in found["steps"]
        if step["what"] in ("  bears", "  left", "meter") or step["because"] == "tax"
    ]  # fmt: skip
    assert sum(round(float(step["amount_usd"]) * 1e9) for step in ends) == 5_700_000
    # `rogue` has no meter of its own and takes what is left: the `dear` calls.
    bears = {(s["name"], s["who"]): s["amount_usd"] for s in ends if s["what"] == "  bears"}
    assert bears == {
        ("cheap", "acme/prod"): "0.0011",
        ("cheap", "beta/prod"): "0.0033",
        ("dear", "acme/prod"): "0.0005",
    }


def test_what_a_person_reads(bench, capsys) -> None:
    assert ask(bench, "--explain", "test", day_of(bench)) == 0
    said = capsys.readouterr().out
    assert "final: every line is final" in said
    assert "same model" in said
    assert "above what meters may bear" in said
    assert "= 0.0057 USD; the bill says 0.0057; unattributed 0.0008" in said


def test_a_day_whose_meters_moved_since_is_said_to_be_open(bench, capsys) -> None:
    bench.use("acme", 10_000)
    assert ask(bench, "--explain", "test", day_of(bench)) == 1
    assert "the next settling posts it" in capsys.readouterr().out


def test_the_list_of_days(bench, capsys) -> None:
    assert ask(bench, "--since", "2025-01-01", "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["scope"], row["status"], row["settled"]) == ("test", "final", "0.0057")
    assert ask(bench, "--since", "2099-01-01") == 0
    assert "no bill has come" in capsys.readouterr().out


def test_a_scope_without_a_bill_is_told_which_have_one(bench, capsys) -> None:
    assert ask(bench, "--explain", "default", day_of(bench)) == 1
    assert "scopes with one: test" in capsys.readouterr().err
