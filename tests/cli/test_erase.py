"""`costmeter erase-user`: beside a running exporter and without one."""

from __future__ import annotations

import contextlib
import io
import json
import sqlite3
from pathlib import Path

import pytest

from costmeter.cli import main
from costmeter.ingest.pseudonym import PREFIX
from fakes.exporter import Exporter, call, wait_until

WHO = "erika.mustermann@example.org"


def event(number: int, who: str = WHO, tenant: str = "acme") -> str:
    return json.dumps(
        {
            "request_id": f"r-{number}", "timestamp": "2026-01-05T10:00:00Z", "provider": "openai",
            "model": "gpt-4o-mini", "tenant_id": tenant, "user_id": who, "session_id": f"of {who}",
            "tags": {"mail": who}, "tokens": {"input": 1000},
        }
    )  # fmt: skip


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rows = [event(1), event(2), event(3, "other"), event(4, "twin"), event(5, "twin", "globex")]
    Path("old.ndjson").write_text("\n".join(rows))
    assert main(["import", "old.ndjson", "--ledger.path", "l.db"]) == 0
    Path("old.ndjson").unlink()
    return tmp_path / "l.db"


def cost(capsys: pytest.CaptureFixture[str]) -> object:
    capsys.readouterr()
    asked = ["cost", "--by", "tenant_id,day", "--since", "2026-01-01", "--ledger.path", "l.db"]
    assert main([*asked, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def holds(folder: Path, text: str) -> list[str]:
    return [path.name for path in sorted(folder.iterdir()) if text.encode() in path.read_bytes()]


def test_without_yes_it_only_says_what_it_meets(
    ledger: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["erase-user", WHO, "--ledger.path", "l.db", "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out) == [{"tenant_id": "acme", "events": 2}]
    assert "--yes" in said.err
    assert holds(ledger.parent, WHO) == ["l.db"]


def test_it_erases_without_an_exporter(ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = cost(capsys)
    assert main(["erase-user", WHO, "--yes", "--ledger.path", "l.db", "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out) == {"users": 1, "events": 2, "days": 1, "left": ""}
    assert "backups" in said.err
    assert holds(ledger.parent, WHO) == []
    assert cost(capsys) == before
    assert main(["verify", "--ledger.path", "l.db"]) == 0


def test_the_id_may_come_on_standard_input(
    ledger: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{WHO}\n"))
    assert main(["erase-user", "-", "--yes", "--ledger.path", "l.db"]) == 0
    assert "1 erased: 2 events" in capsys.readouterr().out


def test_one_id_of_two_tenants_has_to_be_told_apart(
    ledger: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["erase-user", "twin", "--yes", "--ledger.path", "l.db"]) == 1
    assert "acme, globex" in capsys.readouterr().err
    flags = ["--tenant", "globex", "--yes", "--ledger.path", "l.db"]
    assert main(["erase-user", "twin", *flags]) == 0
    with contextlib.closing(sqlite3.connect("l.db")) as connection:
        rows = connection.execute("SELECT user_id FROM usage_event WHERE user_id = 'twin'")
        assert len(rows.fetchall()) == 1
    assert main(["erase-user", "twin", "--all-tenants", "--yes", "--ledger.path", "l.db"]) == 0


def test_nobody_is_an_error(ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["erase-user", "nobody", "--yes", "--ledger.path", "l.db"]) == 1
    assert "no stored event names this user" in capsys.readouterr().err
    flags = ["--tenant", "globex", "--yes", "--ledger.path", "l.db"]
    assert main(["erase-user", WHO, *flags]) == 1
    assert "of globex" in capsys.readouterr().err


def test_a_ledger_that_a_restore_put_aside_is_named(
    ledger: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["backup", "copy.db", "--ledger.path", "l.db"]) == 0
    assert main(["restore", "copy.db", "--ledger.path", "l.db"]) == 0
    assert main(["erase-user", WHO, "--yes", "--ledger.path", "l.db"]) == 0
    assert "l.db.before-restore" in capsys.readouterr().err
    assert holds(ledger.parent, WHO) == ["copy.db", "l.db.before-restore"]


def test_without_a_rebuild_the_end_is_no_good_one(
    ledger: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--yes", "--skip-rebuild", "--ledger.path", "l.db"]
    assert main(["erase-user", WHO, *flags]) == 1
    assert "not rebuilt" in capsys.readouterr().err
    assert main(["verify", "--ledger.path", "l.db"]) == 0


def test_users_under_a_key_are_stored_and_found_by_their_pseudonym(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("user.key").write_text("k" * 44)
    Path("user.key").chmod(0o600)
    Path("c.yml").write_text("ledger: {path: l.db}\ningest: {pseudonym_key_file: user.key}\n")
    plain = json.dumps({**json.loads(event(1)), "session_id": "s", "tags": {}})
    Path("old.ndjson").write_text(plain)
    assert main(["import", "old.ndjson", "--config.file", "c.yml"]) == 0
    Path("old.ndjson").unlink()
    assert holds(tmp_path, WHO) == []
    assert holds(tmp_path, PREFIX) == ["l.db"]
    assert main(["erase-user", WHO, "--yes", "--ledger.path", "l.db"]) == 1
    assert "pseudonym_key_file" in capsys.readouterr().err
    assert main(["erase-user", WHO, "--yes", "--config.file", "c.yml"]) == 0
    assert holds(tmp_path, PREFIX) == []


def test_a_key_that_could_be_guessed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("user.key").write_text("secret\n")
    Path("c.yml").write_text("ingest: {pseudonym_key_file: user.key}\n")
    assert main(["check-config", "c.yml"]) == 1
    error = capsys.readouterr().err
    assert "fewer than 22 characters" in error
    assert "secret" not in error


@pytest.mark.slow
def test_a_running_exporter_erases_a_user(tmp_path: Path) -> None:
    folder = tmp_path / "here"
    with Exporter(folder, "series: {}\n") as exporter:
        exporter.start()
        exporter.send([call(number, user_id=WHO, tags={"mail": WHO}) for number in range(5)])
        wait_until(lambda: "ledger.db-wal" in holds(folder, WHO), 5, "the id is in the log")
        done = exporter.command("erase-user", WHO, "--yes", "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["events"] == 5
        assert holds(folder, WHO) == []
        exporter.send([call(9, user_id="somebody")])
        assert exporter.command("verify").returncode == 0
        assert exporter.command("erase-user", WHO, "--yes").returncode == 1
        assert WHO not in exporter.log
        # From here on under a key: the id never reaches the disk.
        exporter.terminate()
        (folder / "user.key").write_text("k" * 44)
        exporter.configure("ingest: {pseudonym_key_file: user.key}\n")
        exporter.start()
        exporter.send([call(number, user_id=WHO) for number in range(20, 23)])
        wait_until(lambda: holds(folder, PREFIX), 5, "the pseudonym is stored")
        assert holds(folder, WHO) == []
        found = exporter.command("erase-user", WHO, "--json")
        assert json.loads(found.stdout) == [{"tenant_id": "default", "events": 3}]
        assert exporter.command("erase-user", WHO, "--yes").returncode == 0
        assert holds(folder, PREFIX) == []


def test_a_budget_of_the_user_keeps_its_sum_and_is_named(
    ledger: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("c.yml").write_text(
        f"budgets: {{items: [{{name: own, limit_usd: 5, period: year, user_id: {WHO}}}]}}\n"
    )
    where = ["--config.file", "c.yml", "--ledger.path", "l.db"]
    capsys.readouterr()
    assert main(["erase-user", WHO, "--yes", *where]) == 0
    assert "budgets of this user (own): take them out" in capsys.readouterr().err
    assert holds(ledger.parent, WHO) == ["c.yml"]
    assert main(["verify", *where]) == 0
    with contextlib.closing(sqlite3.connect(ledger)) as connection:
        (net,) = connection.execute("SELECT sum(net) FROM budget_net").fetchone()
    assert net == 300_000
