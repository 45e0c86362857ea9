"""A copy of a ledger in use, and the way back to it as a new epoch."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

import pytest

from costmeter.ledger.copies import back_up, restore
from costmeter.ledger.store import LedgerError, lock_for_writing, open_for_reading
from costmeter.ledger.verify import verify
from fakes.exporter import Exporter, call, wait_until
from faults.ledgers import Ledger, usage
from faults.load import PRICE_FILE, Record, Sender, Watcher, cost

CONFIG = """
ledger: {birth_hold_seconds: 0}
gpu: {enabled: false}
prices: {files: [prices.yml]}
budgets: {monthly_usd: 100}
"""
PAID = 2_500_000_000


def events(first: int, last: int) -> list[dict]:
    return [call(n, provider="test", model="even") for n in range(first, last)]


@pytest.mark.slow
def test_a_backup_under_load_is_whole_and_restores_as_a_new_epoch(tmp_path: Path) -> None:
    (tmp_path / "prices.yml").write_text(PRICE_FILE)
    record = Record()
    with Exporter(tmp_path, CONFIG) as exporter:
        exporter.start()
        exporter.send(events(0, 50))
        senders = [Sender(exporter, record, f"s{n}") for n in range(2)]
        for sender in senders:
            sender.start()
        time.sleep(1)
        saved = exporter.command("backup", "copy.db")
        assert saved.returncode == 0, saved.stderr
        again = exporter.command("backup", "copy.db")
        assert again.returncode == 1
        assert "exists already; name a new file" in again.stderr
        running = exporter.command("restore", "copy.db")
        assert running.returncode == 1
        assert "another costmeter (process" in running.stderr
        for sender in senders:
            sender.stop()
        assert record.problems == []
        wait_until(
            lambda: exporter.metrics().sum("llm_requests_total") == 50 + len(record.sure), 10, "all"
        )
        assert exporter.metrics().sum("costmeter_ledger_epoch") == 1
        exporter.kill9()

        restored = exporter.command("restore", "copy.db")
        assert restored.returncode == 0, restored.stderr
        assert exporter.ledger.with_name("ledger.db.before-restore").exists()
        exporter.start()
        page = exporter.metrics()
        assert page.sum("costmeter_ledger_epoch") == 2
        # At once, and not only once a snapshot aged: a new epoch never shows old totals.
        assert page.sum("llm_requests_total") in (0, None)
        assert page.sum("llm_cost_total") in (0, None)
        in_copy = page.sum("llm_cost_month_to_date")
        assert in_copy is not None
        assert in_copy >= 50 * 0.0045
        watcher = Watcher(exporter)
        watcher.start()
        # Whoever still has the events sends them again; each is there once afterwards.
        missing = 0
        for number in range(0, len(record.sure), 500):
            batch = [*record.sure.values()][number : number + 500]
            missing += exporter.send(batch)["accepted"]
        assert exporter.send(events(0, 50))["duplicate"] == 50
        assert 0 < missing < len(record.sure) + 1
        wait_until(
            lambda: (exporter.metrics().sum("llm_requests_total") or 0) == missing,
            10,
            "the missing",
        )
        nano = sum(map(cost, [*record.sure.values(), *events(0, 50)]))
        said = exporter.command("cost", "--by", "provider", "--since", "2d", "--json")
        [row] = json.loads(said.stdout)
        assert row["requests"] == 50 + len(record.sure)
        assert round(float(row["net_usd"]) * 10**9) == nano
        watcher.stop()
        assert watcher.falls == []
        exporter.kill9()
        exporter.start()
        assert exporter.metrics().sum("costmeter_ledger_epoch") == 2, "one restore, one epoch"
        assert exporter.metrics().sum("llm_requests_total") == missing
        assert exporter.terminate() == 0
    verified = exporter.command("verify")
    assert verified.returncode == 0, verified.stdout


@pytest.mark.slow
def test_a_backup_ends_beside_a_writer_that_never_rests(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        now = ledger.clock.now_ms()
        for part in range(20):
            batch = [usage(f"{part}-{n}", now) for n in range(2_000)]
            ledger.book(*(event._replace(detail="x" * 400) for event in batch))
        stop, numbers = threading.Event(), iter(range(10**9))

        def write() -> None:
            while not stop.is_set():
                ledger.book(usage(f"w{next(numbers)}", now))

        writer = threading.Thread(target=write)
        writer.start()
        done: list[int] = []
        try:
            source = open_for_reading(ledger.path)
            back_up(source, tmp_path / "copy.db", lambda pages, _: done.append(pages))
            source.close()
        finally:
            stop.set()
            writer.join()
        assert len(done) > 1, "the ledger is too small for this test"
        assert done == sorted(done), "the copy began again"
        copy = open_for_reading(tmp_path / "copy.db")
        assert [*verify(copy)] == []
        copy.close()


def test_verify_beside_a_writer_sees_one_state(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        now = ledger.clock.now_ms()
        stop, numbers = threading.Event(), iter(range(10**9))

        def write() -> None:
            while not stop.is_set():
                ledger.book(usage(next(numbers), now, tenant_id=f"t{next(numbers) % 9}"))

        writer = threading.Thread(target=write)
        writer.start()
        try:
            for _ in range(8):
                time.sleep(0.1)
                reader = open_for_reading(ledger.path)
                assert [*verify(reader)] == []
                reader.close()
        finally:
            stop.set()
            writer.join()


def test_a_damaged_backup_is_refused_and_the_ledger_stays(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.book(*(usage(n, ledger.clock.now_ms(), tenant_id=f"t{n}") for n in range(500)))
        back_up(ledger.store, tmp_path / "copy.db")
        ledger.close()
        whole = (tmp_path / "copy.db").read_bytes()
        middle = len(whole) // 2
        kinds = {
            "damaged": whole[:middle] + os.urandom(20_000) + whole[middle + 20_000 :],
            "not a ledger's backup": b"some notes of mine\n" * 5_000,
        }
        for said, data in kinds.items():
            (tmp_path / "bad.db").write_bytes(data)
            with pytest.raises(LedgerError, match=said):
                restore(tmp_path / "bad.db", ledger.path)
        (tmp_path / "bad.db").write_bytes(whole[: middle // 4096 * 4096])
        with pytest.raises(LedgerError, match=r"damaged|not a ledger's backup"):
            restore(tmp_path / "bad.db", ledger.path)
        with pytest.raises(LedgerError, match="there is no backup"):
            restore(tmp_path / "nowhere.db", ledger.path)
        ledger.open()
        assert ledger.total("llm_cost_total") == 500 * PAID
        assert ledger.snapshot().epoch == 1


def test_restoring_twice_keeps_the_newest_ledger_aside_whole(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        now = ledger.clock.now_ms()
        ledger.book(usage(1, now))
        back_up(ledger.store, tmp_path / "copy.db")
        ledger.close()
        aside = tmp_path / "ledger.db.before-restore"
        # What a kill leaves: a database and its log.
        (tmp_path / "ledger.db-wal").write_bytes(b"a log of another time")
        restore(tmp_path / "copy.db", ledger.path)
        assert aside.with_name(aside.name + "-wal").exists()
        ledger.open()
        ledger.book(usage(2, now))
        ledger.close()
        restore(tmp_path / "copy.db", ledger.path)
        assert not aside.with_name(aside.name + "-wal").exists()
        kept = open_for_reading(aside)
        assert kept.connection.execute("SELECT count(*) FROM usage_event").fetchone() == (2,)
        kept.close()
        ledger.open()
        assert ledger.total("llm_cost_month_to_date") == PAID
        assert ledger.snapshot().epoch == 2


def test_a_ledger_that_cannot_be_opened_can_be_replaced_unless_it_is_held(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.book(usage(1, ledger.clock.now_ms()))
        back_up(ledger.store, tmp_path / "copy.db")
        with pytest.raises(LedgerError, match="another costmeter"):
            restore(tmp_path / "copy.db", ledger.path)
        ledger.booking.connection.execute("PRAGMA user_version = 99")
        ledger.close()
        lock = lock_for_writing(ledger.path)
        with pytest.raises(LedgerError, match="another costmeter"):
            restore(tmp_path / "copy.db", ledger.path)
        lock.close()
        restore(tmp_path / "copy.db", ledger.path)
        ledger.open()
        assert ledger.total("llm_cost_month_to_date") == PAID


def test_counters_of_a_new_epoch_rise_from_zero(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        now = ledger.clock.now_ms()
        ledger.book(usage(1, now))
        back_up(ledger.store, tmp_path / "copy.db")
        ledger.book(usage(2, now))
        ledger.close()
        restore(tmp_path / "copy.db", ledger.path)
        ledger.open()
        assert not any(ledger.family("llm_cost_total").values())
        assert ledger.total("llm_cost_month_to_date") == PAID
        ledger.book(usage(1, now), usage(2, now))
        assert ledger.total("llm_cost_total") == PAID
        assert ledger.total("llm_cost_month_to_date") == 2 * PAID
