"""The command line on a ledger of its own: what it prints and how it ends."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest

from costmeter.cli import main
from costmeter.ledger.store import open_for_reading

EVENTS = """\
{"request_id": "a", "timestamp": "2026-01-05T10:00:00Z", "provider": "openai",\
 "model": "gpt-4o-mini", "team": "search", "tokens": {"input": 1000000, "output": 1000000}}
{"request_id": "b", "timestamp": "2026-01-06T10:00:00Z", "provider": "openai",\
 "model": "gpt-4o", "team": "chat", "tokens": {"input": 1000000}}
{"request_id": "c", "timestamp": "2026-01-06T11:00:00Z", "provider": "openai",\
 "model": "no-such-model-9", "team": "chat", "tokens": {"input": 5}}
"""


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old.ndjson").write_text(EVENTS)
    assert main(["import", "old.ndjson", "--ledger.path", "l.db"]) == 0
    return tmp_path / "l.db"


def ask(capsys: pytest.CaptureFixture[str], *arguments: str) -> object:
    capsys.readouterr()
    assert main([*arguments, "--ledger.path", "l.db", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_cost_is_exact_and_by_dimension(ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = ask(capsys, "cost", "--by", "team", "--since", "2026-01-01")
    # gpt-4o-mini 0.15 in and 0.60 out, gpt-4o 2.50 in, USD per million tokens.
    assert [(row["team"], row["requests"], Decimal(row["net_usd"])) for row in rows] == [
        ("chat", 2, Decimal("2.5")),
        ("search", 1, Decimal("0.75")),
    ]


def test_cost_can_be_narrowed(ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = ask(capsys, "cost", "--by", "model,day", "--since", "2026-01-06", "--where", "team=chat")
    assert [(row["model"], row["day"]) for row in rows] == [
        ("gpt-4o", "2026-01-06"),
        ("no-such-model-9", "2026-01-06"),
    ]


def test_importing_twice_books_once(ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", "old.ndjson", "--ledger.path", "l.db"]) == 0
    assert "0 booked, 3 known already" in capsys.readouterr().err
    assert main(["verify", "--ledger.path", "l.db"]) == 0


def test_as_of_refuses_a_day_that_is_open(ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ledger", "as-of", "2099-01-01", "--ledger.path", "l.db"]) == 1
    assert "still open" in capsys.readouterr().err


def test_as_of_knows_nothing_before_the_import(
    ledger: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(capsys, "ledger", "as-of", "2026-02-01") == []


def test_backup_and_restore(ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["backup", "copy.db", "--ledger.path", "l.db"]) == 0
    assert main(["backup", "copy.db", "--ledger.path", "l.db"]) == 1
    assert "exists already" in capsys.readouterr().err
    assert main(["restore", "copy.db", "--ledger.path", "l.db"]) == 0
    rows = ask(capsys, "cost", "--by", "provider", "--since", "2026-01-01")
    assert [Decimal(row["net_usd"]) for row in rows] == [Decimal("3.25")]


def test_verify_says_what_differs(ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import sqlite3

    with sqlite3.connect(ledger) as connection:
        connection.execute("UPDATE cell SET up = up + 1 WHERE up = 2500000000")
    connection.close()
    assert main(["verify", "--ledger.path", "l.db"]) == 1
    out = capsys.readouterr().out
    assert "up is 2500000001, what lies under it gives 2500000000" in out


def test_run_names_the_jobs(ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "repricing", "--ledger.path", "l.db"]) == 0
    assert main(["run", "nonsense", "--ledger.path", "l.db"]) == 1
    assert "choose from" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["cost", "--by", "nonsense"], "unknown dimension 'nonsense'"),
        (["cost", "--since", "yesterday"], "is no time"),
        (["cost", "--where", "team"], "is no condition"),
        (["import", "missing.csv", "--columns", "timestamp=t"], "cannot be read"),
        (["import", "old.ndjson", "--columns", "nonsense=t"], "there is no field 'nonsense'"),
        (["replay", "old.ndjson", "--speed", "0.5"], "is no speed"),
    ],
)
def test_mistakes_are_told_in_one_line(
    ledger: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert (
        main([*arguments, "--ledger.path", "l.db"] if arguments[0] != "replay" else arguments) == 1
    )
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


def test_a_missing_ledger_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", "--ledger.path", str(tmp_path / "none.db")]) == 1
    assert "there is no ledger at" in capsys.readouterr().err


def test_check_config(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = tmp_path / "good.yml", tmp_path / "bad.yml"
    good.write_text("budgets:\n  monthly_usd: 100\n")
    bad.write_text("budgets:\n  monthly_usd: plenty\nledgr: {}\n")
    assert main(["check-config", str(good)]) == 0
    assert main(["check-config", str(bad)]) == 2
    error = capsys.readouterr().err
    assert f"{bad}:2" in error
    assert f"{bad}:3" in error


def test_token_prints_a_hash_that_fits(capsys: pytest.CaptureFixture[str]) -> None:
    import hashlib

    assert main(["token"]) == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    secret = lines[1]
    assert f"sha256: {hashlib.sha256(secret.encode()).hexdigest()}" in lines


def test_a_ledger_that_import_creates_is_prepared_as_serve_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old.ndjson").write_text(EVENTS)
    (tmp_path / "c.yml").write_text(
        "ledger:\n  path: l.db\n  reporting_timezone: Pacific/Auckland\n  extra_labels: [team]\n"
    )
    assert main(["import", "old.ndjson", "--config.file", "c.yml"]) == 0
    assert main(["verify", "--config.file", "c.yml"]) == 0
    store = open_for_reading(tmp_path / "l.db")
    rows = store.connection.execute("SELECT labels FROM period_cost").fetchall()
    assert all("search" in labels or "chat" in labels for (labels,) in rows)
    store.close()
