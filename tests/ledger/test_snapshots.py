"""A reader that is refreshed again and again shows what one that begins now shows."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from costmeter.ledger.admission import Limits
from costmeter.ledger.copies import back_up, restore
from costmeter.ledger.snapshot import SnapshotReader
from costmeter.ledger.terms import Terms
from costmeter.ledger.upkeep import apply_budgets, clean_up
from costmeter.model import Budget, Correction, Snapshot
from faults.ledgers import HOUR, PRICES, Ledger, posting, prices, usage

ZONES = ("UTC", "Asia/Tokyo", "America/New_York")
BUDGETS = (
    Budget("all", 10**9),
    Budget("acme", 10**9, (("tenant_id", "acme"),)),
    Budget("acme", 10**9, (("tenant_id", "t1"),)),
    Budget("a", 10**9, (("team", "a"),), timezone="Europe/Berlin"),
)
CHEAPER = PRICES.replace("2.5", "1.5")


def shown(snapshot: Snapshot, clock_ms: int) -> dict[str, dict[tuple[str, ...], int]]:
    """Every series by family; families that hold nothing are left out."""
    found = {
        family: {
            labels: value
            for chunk in chunks
            for labels, value in zip(chunk.labels, chunk.shown(clock_ms), strict=True)
        }
        for family, chunks in snapshot.families.items()
    }
    sizes = {
        family: sum(len(chunk.labels) for chunk in chunks)
        for family, chunks in snapshot.families.items()
    }
    assert sizes == {family: len(series) for family, series in found.items()}  # each series once
    return {family: series for family, series in found.items() if series}


class Readers(RuleBasedStateMachine):
    """One reader lives through the whole history; another is made at every look."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.ledger = Ledger(
            Path(self.folder.name),
            terms=Terms(limits=Limits(per_label={"tenant_id": 3}), extra_labels=("team",)),
        )
        self.ledger.open()
        self.backup: Path | None = None
        self.count = 0
        self.sent: list[tuple[str, int, str]] = []
        self.book_number = 0

    def teardown(self) -> None:
        if hasattr(self, "ledger"):
            self.ledger.close()
            self.folder.cleanup()

    @rule(
        many=st.sampled_from([1, 2, 300]),
        age_hours=st.sampled_from([0, 0, 3, 30, 900]),
        tenant=st.sampled_from(["acme", "t1", "t2", "t3", "t4"]),
        team=st.sampled_from(["a", "b"]),
        history=st.booleans(),
        flush=st.booleans(),
        spread=st.booleans(),
    )
    def book(self, many, age_hours, tenant, team, history, flush, spread) -> None:
        at_ms = self.ledger.clock.now_ms() - age_hours * HOUR
        feed = "import" if history else "http"
        batch = []
        for _ in range(many):
            self.count += 1
            where = f"e{self.count % 290}" if spread else "prod"
            batch.append(
                usage(
                    self.count, at_ms, feed=feed, tenant_id=tenant, team=team, environment=where,
                    model="priced" if self.count % 5 else "unknown",
                )
            )  # fmt: skip
        self.sent.append((tenant, at_ms // (24 * HOUR), batch[0].event_id))
        self.ledger.booking.transact(
            lambda: self.ledger.booking.usages(batch, history=history), flush=flush
        )

    @rule(nano=st.integers(-(10**10), 10**10), age_hours=st.sampled_from([0, 30, 900]))
    def bill(self, nano, age_hours) -> None:
        self.count += 1
        hour = self.ledger.clock.now_ms() // HOUR * HOUR - age_hours * HOUR
        self.ledger.post(posting(self.count, hour, nano))

    @rule(nano=st.integers(1, 10**10))
    def bill_that_is_taken_back(self, nano) -> None:
        hour = self.ledger.clock.now_ms() // HOUR * HOUR
        for amount in (nano, -nano):
            self.count += 1
            self.ledger.post(posting(self.count, hour, amount))

    @precondition(lambda self: self.sent)
    @rule(data=st.data(), team=st.sampled_from(["a", "b", "c"]))
    def correct(self, data, team) -> None:
        self.count += 1
        event = data.draw(st.sampled_from(self.sent))
        correction = Correction(f"c{self.count}", *event, {"team": team})
        self.ledger.do(lambda: self.ledger.amendments.correct([correction]))

    @rule()
    def change_prices(self) -> None:
        self.book_number = 1 - self.book_number
        self.ledger.price_text = CHEAPER if self.book_number else PRICES
        self.ledger.booking.prices = prices(self.ledger.folder, self.ledger.price_text)
        self.ledger.do(lambda: self.ledger.amendments.reprice_changed(100_000))

    @rule(chosen=st.lists(st.sampled_from(BUDGETS), max_size=3, unique_by=lambda b: b.name))
    def set_budgets(self, chosen) -> None:
        self.ledger.budgets = tuple(chosen)
        self.ledger.do(lambda: apply_budgets(self.ledger.booking, chosen))

    @rule(minutes=st.sampled_from([1, 10, 100, 1_500, 45_000]))
    def time_passes(self, minutes) -> None:
        self.ledger.clock.advance(minutes=minutes)
        self.ledger.tick()

    @rule()
    def tidy(self) -> None:
        self.ledger.do(lambda: clean_up(self.ledger.booking))

    @rule(zone=st.sampled_from(ZONES))
    def start_again(self, zone) -> None:
        """The exporter starts again; whoever reads beside it stays."""
        self.ledger.store.close()
        long_lived, self.ledger.terms = (
            self.ledger.reader,
            Terms(
                reporting_timezone=zone,
                limits=self.ledger.terms.limits,
                extra_labels=self.ledger.terms.extra_labels,
            ),
        )
        self.ledger.open()
        self.ledger.reader.close()
        self.ledger.reader = long_lived

    @rule()
    def save(self) -> None:
        self.backup = self.ledger.folder / "backup.db"
        self.backup.unlink(missing_ok=True)
        back_up(self.ledger.store, self.backup)

    @precondition(lambda self: self.backup is not None)
    @rule()
    def go_back(self) -> None:
        self.ledger.close()
        restore(self.backup, self.ledger.path)
        self.ledger.open()
        found = shown(self.ledger.snapshot(), 1 << 62)
        for family, series in found.items():
            if family.endswith("_total"):
                assert not any(series.values()), family

    @invariant()
    def the_old_reader_shows_what_a_new_one_shows(self) -> None:
        if not hasattr(self, "ledger"):
            return
        old = self.ledger.reader.refresh()
        reader = SnapshotReader(self.ledger.store.reader())
        try:
            new = reader.refresh()
        finally:
            reader.close()
        assert (old.revision, old.epoch, old.heartbeat_ms) == (
            new.revision,
            new.epoch,
            new.heartbeat_ms,
        )
        now = new.release_clock_ms
        for clock_ms in (now, now + 10 * 60_000, now + 5 * HOUR, 1 << 62):
            assert shown(old, clock_ms) == shown(new, clock_ms)


def test_a_reader_that_follows_shows_what_a_new_one_shows() -> None:
    run_state_machine_as_test(
        Readers,
        settings=settings(
            max_examples=25,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
