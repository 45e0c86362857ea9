"""Random histories against a naive oracle: money is exact, whatever the order.

The oracle keeps a plain list of entries and adds them up; it shares no code with the
ledger but the price book and the half-even rounding inside it.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from datetime import datetime
from pathlib import Path
from typing import ClassVar
from zoneinfo import ZoneInfo

import pytest
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
from costmeter.ledger.amend import Amendments
from costmeter.ledger.booking import Booking
from costmeter.ledger.copies import back_up, restore
from costmeter.ledger.door import Verdict
from costmeter.ledger.history import spend
from costmeter.ledger.snapshot import SnapshotReader
from costmeter.ledger.store import open_for_writing
from costmeter.ledger.terms import Terms
from costmeter.ledger.upkeep import clean_up, start
from costmeter.ledger.verify import verify
from costmeter.model import Budget, Correction, Labels, Posting, Usage
from costmeter.pricing import load_price_book
from costmeter.tally import Tally
from fakes.clock import FakeClock

DAY = 86_400_000
HOUR = 3_600_000
ZONE = "America/New_York"
TENANTS = ("t1", "t2", "t3", "t4")
MODELS = ("priced", "later", "odd")
BUDGET = Budget("team-a", 1_000_000_000, (("team", "a"),), timezone="Europe/Berlin")

_PRICES = """
prices:
  - {{provider: test, model: priced, source: test, usd_per_million: {{input: 2.5, output: 10}}}}
  - {{provider: test, model: odd, source: test,
     usd_per_million: {{input: "0.0333", output: "{odd}"}}}}
"""
_LATER = (
    "  - {provider: test, model: later, source: test, usd_per_million: {input: 1, output: 3}}\n"
)


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("prices")
    made = []
    for number, text in enumerate(
        (_PRICES.format(odd="0.777"), _PRICES.format(odd="0.555") + _LATER)
    ):
        path = folder / f"{number}.yml"
        path.write_text(text)
        made.append(load_price_book([path]))
    return made


def usage(number: int, at_ms: int, tenant: str, model: str, team: str, tokens: tuple[int, int]):
    labels = Labels(
        tenant,
        "llm_api",
        "inference",
        "test",
        "",
        "",
        model,
        "prod",
        team,
        "",
        "",
        "",
        "generation",
    )
    counts = {"input": tokens[0], "output": tokens[1]}
    quantities = {name: count for name, count in counts.items() if count}
    return Usage(f"f:http:{number}", at_ms, "http", labels, quantities)


class Oracle:
    """Everything that was booked, as a list."""

    def __init__(self) -> None:
        self.entries: list[dict] = []
        self.events: dict[tuple[str, int, str], dict] = {}
        self.tenants_admitted: dict[str, int] = {}
        self.full_on: set[int] = set()
        self.totals: dict[tuple, int] = defaultdict(int)
        self.releases: dict[tuple, list] = defaultdict(list)
        self.as_of: dict[int, dict] = {}

    def exported(self, labels: Labels, booked: int, limit: int) -> tuple:
        tenant = labels.tenant_id
        since = self.tenants_admitted.get(tenant)
        if since is None:
            if len(self.tenants_admitted) < limit and booked not in self.full_on:
                self.tenants_admitted[tenant] = booked
            else:
                self.full_on.add(booked)
                tenant = "_other"
        return (labels.category, labels.provider, labels.model, tenant, labels.environment, "", "")


class Histories(RuleBasedStateMachine):
    books: ClassVar[list] = []
    limit = 3

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "ledger.db"
        self.clock = FakeClock()
        self.book_number = 0
        self.oracle = Oracle()
        self.shown: dict[tuple, int] = {}
        self.epoch = 0
        self.posting_number = 0
        self.correction_number = 0
        self.backup = None
        self.open()

    def open(self) -> None:
        self.store = open_for_writing(self.path)
        terms = Terms(
            reporting_timezone=ZONE,
            limits=Limits(per_label={"tenant_id": self.limit, "model": 50, "provider": 50}),
        )
        self.booking = Booking(self.store, terms, self.books[self.book_number], self.clock, Tally())
        # So that a few events are added up between flushes, and some wait for one.
        self.booking.carry_at = 4
        self.amendments = Amendments(self.booking)
        start(self.booking, [BUDGET])
        self.reader = SnapshotReader(self.store.reader())

    def teardown(self) -> None:
        if hasattr(self, "store"):
            try:
                self.check_everything()
            finally:
                self.reader.close()
                self.store.close()
                self.folder.cleanup()

    # -- what happens -------------------------------------------------------------

    @rule(
        numbers=st.lists(st.integers(1, 12), min_size=1, max_size=6),
        age_hours=st.sampled_from([0, 0, 0.5, 2, 20, 26, 50]),
        tenant=st.sampled_from(TENANTS),
        model=st.sampled_from(MODELS),
        team=st.sampled_from(["a", "b"]),
        tokens=st.tuples(
            st.integers(0, 3) | st.integers(0, 99_999), st.integers(0, 3) | st.integers(0, 9_999)
        ),
        history=st.sampled_from([False, False, False, True]),
        flush=st.booleans(),
    )
    def send(self, numbers, age_hours, tenant, model, team, tokens, history, flush) -> None:
        at_ms = self.clock.now_ms() - round(age_hours * HOUR)
        batch = [
            usage(number, at_ms, tenant, model, team, tokens if number % 3 else (tokens[0], 0))
            for number in numbers
        ]
        if history:
            batch = [event._replace(feed="import") for event in batch]
        verdicts = self.booking.transact(
            lambda: self.booking.usages(batch, history=history), flush=flush
        )
        entries = []
        for event, verdict in zip(batch, verdicts, strict=True):
            day = event.at_ms // DAY
            known = any(
                (tenant, near, event.event_id) in self.oracle.events
                for near in (day - 1, day, day + 1)
            )
            assert verdict == (Verdict.DUPLICATE if known else Verdict.ACCEPTED)
            if known:
                continue
            costs = self.costs(event.labels, event.at_ms, event.quantities)
            self.oracle.events[(tenant, day, event.event_id)] = {
                "usage": event,
                "labels": event.labels,
                "costs": costs,
                "history": history,
            }
            entries.append(self.entry(event, event.labels, 1, costs, history))
        self.book(entries)

    @precondition(lambda self: self.oracle.events)
    @rule(data=st.data(), team=st.sampled_from(["a", "b"]), model=st.sampled_from(MODELS))
    def correct(self, data, team, model) -> None:
        key = data.draw(st.sampled_from(sorted(self.oracle.events)))
        tenant, day, event_id = key
        self.correction_number += 1
        correction = Correction(
            f"c{self.correction_number}", tenant, day, event_id, {"team": team, "model": model}
        )
        for expected in (Verdict.ACCEPTED, Verdict.DUPLICATE):
            verdicts = self.booking.transact(lambda: self.amendments.correct([correction]))
            assert verdicts == [expected]
        known = self.oracle.events[key]
        event, history = known["usage"], known["history"]
        labels = known["labels"]._replace(team=team, model=model)
        costs = self.costs(labels, event.at_ms, event.quantities)
        entries = [
            self.entry(event, known["labels"], -1, known["costs"], history),
            self.entry(event, labels, 1, costs, history, corrected=costs is not None),
        ]
        known["labels"], known["costs"] = labels, costs
        self.book(entries)

    @rule()
    def change_prices(self) -> None:
        self.book_number = 1 - self.book_number
        self.booking.prices = self.books[self.book_number]
        self.booking.transact(lambda: self.amendments.reprice_unpriced(0, 10_000))
        self.booking.transact(lambda: self.amendments.reprice_changed(10_000))
        for known in self.oracle.events.values():
            event = known["usage"]
            costs = self.costs(known["labels"], event.at_ms, event.quantities)
            if costs is None:
                continue
            before = known["costs"] or 0
            if costs != before or known["costs"] is None:
                entry = self.entry(event, known["labels"], 0, costs - before, known["history"])
                self.book([entry])
            known["costs"] = costs

    @rule(
        nano=st.integers(-5_000_000_000, 5_000_000_000),
        age_hours=st.sampled_from([0, 30, 200]),
        tenant=st.sampled_from(TENANTS),
    )
    def late_bill(self, nano, age_hours, tenant) -> None:
        self.posting_number += 1
        now = self.clock.now_ms()
        hour = (now - age_hours * HOUR) // HOUR * HOUR
        labels = usage(0, hour, tenant, "bill", "a", (0, 0)).labels._replace(category="storage")
        since = now - 2 * age_hours * HOUR if age_hours else None
        posting = Posting(f"b{self.posting_number}", hour, "bill", labels, nano, since)
        for expected in (Verdict.ACCEPTED, Verdict.DUPLICATE):
            assert self.booking.transact(lambda: self.booking.post([posting])) == [expected]
        late = since is not None and now - hour > HOUR
        self.book(
            [{
                "labels": labels, "hour": hour, "nano": nano, "requests": 0, "tokens": {},
                "span": min(2 * (now - since), 14 * DAY) if late else 0, "history": False,
            }]
        )  # fmt: skip

    @rule(minutes=st.sampled_from([1, 7, 45, 180, 700, 2_000]))
    def time_passes(self, minutes) -> None:
        self.booking.transact(lambda: None)  # what the release clock does every second
        self.close_days(self.clock.now_ms() + minutes * 60_000)
        self.clock.advance(minutes=minutes)
        self.booking.transact(lambda: None)

    @rule()
    def fail(self) -> None:
        """A transaction that fails takes nothing with it, flushed or not."""

        def work() -> None:
            event = usage(99, self.clock.now_ms(), "t1", "priced", "a", (5, 5))
            self.booking.usages([event])
            raise RuntimeError("no")

        with pytest.raises(RuntimeError):
            self.booking.transact(work)

    @rule()
    def tidy(self) -> None:
        self.booking.transact(lambda: clean_up(self.booking))

    @rule()
    def restart(self) -> None:
        self.reader.close()
        self.store.close()
        self.open()

    @rule()
    def save(self) -> None:
        target = Path(self.folder.name) / "backup.db"
        target.unlink(missing_ok=True)
        self.booking.transact(lambda: None)
        back_up(self.store, target)
        self.backup = (target, self.snapshot_of_oracle(), self.book_number)

    @precondition(lambda self: self.backup is not None)
    @rule()
    def go_back(self) -> None:
        target, oracle, self.book_number = self.backup
        self.reader.close()
        self.store.close()
        restore(target, self.path)
        self.oracle = self.copy_oracle(oracle)
        self.oracle.totals.clear()
        self.oracle.releases.clear()
        self.shown.clear()
        self.open()
        self.backup = None

    # -- the oracle ---------------------------------------------------------------

    def costs(self, labels, at_ms, quantities):
        rate = self.books[self.book_number].rate(labels, at_ms, "standard", quantities)
        return None if rate is None else rate.cost(quantities)

    def entry(self, event, labels, sign, costs, history, corrected=False):
        late = self.clock.now_ms() - event.at_ms
        return {
            "labels": labels,
            "hour": event.at_ms // HOUR * HOUR,
            "nano": (costs or 0) * (sign or 1),
            "requests": sign,
            "unpriced": sign == 1 and costs is None,
            "tokens": {name: sign * n for name, n in event.quantities.items()},
            "span": min(2 * late, 14 * DAY) if late > HOUR else 0,
            "history": history,
        }

    def book(self, entries) -> None:
        """What one transaction adds to each counter: net by release, upwards only."""
        now = self.clock.now_ms()
        booked = now // DAY
        deltas: dict[tuple, int] = defaultdict(int)
        for entry in entries:
            exported = self.oracle.exported(entry["labels"], booked, self.limit)
            self.oracle.entries.append({**entry, "booked": booked, "exported": exported})
            if entry["history"]:
                continue
            until = now + entry["span"] if entry["span"] else 0
            until += -until % 900_000
            nano = entry["nano"]
            family = "llm_cost_total" if nano > 0 else "llm_cost_credit_total"
            deltas[(family, exported, until)] += abs(nano)
            if entry["labels"].team == "a":
                deltas[("llm_budget_cost_total", BUDGET.series_labels, until)] += nano
            if entry["labels"].category == "llm_api":
                call = exported[1:5]
                deltas[("llm_requests_total", (*call, "ok"), until)] += entry["requests"]
                for name, amount in entry["tokens"].items():
                    deltas[("llm_tokens_total", (*call, name), until)] += amount
                if entry.get("unpriced"):
                    deltas[("llm_unpriced_requests_total", call[:2], until)] += 1
        for (family, labels, until), amount in deltas.items():
            if amount > 0:
                self.oracle.totals[(family, labels)] += amount
                if until > now:
                    self.oracle.releases[(family, labels)].append((amount, now, until))

    def close_days(self, until_ms: int) -> None:
        """Remember what was believed at the end of each day that ends now."""
        today = self.clock.now_ms() // DAY
        if until_ms // DAY > today:
            self.booking.transact(lambda: None)
            self.oracle.as_of[today] = self.believed(today)

    def believed(self, booked: int) -> dict:
        rows = spend(self.store.connection, ["tenant_id", "model", "team"], booked_until=booked)
        return {row.group: (row.requests, row.up, row.down) for row in rows}

    def snapshot_of_oracle(self) -> Oracle:
        return self.copy_oracle(self.oracle)

    @staticmethod
    def copy_oracle(oracle: Oracle) -> Oracle:
        new = Oracle()
        new.entries = list(oracle.entries)
        new.events = {key: dict(known) for key, known in oracle.events.items()}
        new.tenants_admitted = dict(oracle.tenants_admitted)
        new.full_on = set(oracle.full_on)
        new.totals.update(oracle.totals)
        for key, releases in oracle.releases.items():
            new.releases[key] = list(releases)
        new.as_of = dict(oracle.as_of)
        return new

    # -- what must hold -----------------------------------------------------------

    @invariant()
    def counters_never_fall(self) -> None:
        if not hasattr(self, "reader"):
            return
        snapshot = self.reader.refresh()
        for family in snapshot.families:
            if not family.endswith("_total"):
                continue
            for labels, value in snapshot.samples(family):
                before = self.shown.get((family, labels), 0)
                assert value >= before, (family, labels, before, value)
                self.shown[(family, labels)] = value

    def check_everything(self) -> None:
        self.booking.transact(lambda: None)
        differences = [str(item) for item in verify(self.store)]
        assert differences == [], differences
        self.check_gauges()
        for booked, believed in self.oracle.as_of.items():
            assert self.believed(booked) == believed
        self.check_counters()
        self.booking.transact(lambda: None)
        self.close_days(self.clock.now_ms() + 30 * DAY)
        self.clock.advance(days=30)
        self.booking.transact(lambda: None)
        self.check_counters()

    def check_counters(self) -> None:
        """Each counter between its total less what is pending, and its total."""
        snapshot = self.reader.refresh()
        now = snapshot.release_clock_ms
        shown = {
            (family, labels): value
            for family in snapshot.families if family.endswith("_total")
            for labels, value in snapshot.samples(family)
        }  # fmt: skip
        for key, total in self.oracle.totals.items():
            held = shown.pop(key)
            pending = 0
            for amount, start_ms, end_ms in self.oracle.releases[key]:
                if now < end_ms:
                    pending += amount * (end_ms - now) / (end_ms - start_ms)
            veiled = any(
                veil.hold_until_ms > now
                for chunk in snapshot.families[key[0]] for veil in chunk.veils
                if chunk.labels[veil.position] == key[1]
            )  # fmt: skip
            if veiled:
                assert held == 0
            else:
                # A release may begin up to a minute early, on the full minute.
                slack = 1 + len(self.oracle.releases[key]) + pending * 0.01
                assert abs(held - (total - pending)) <= slack, (key, held, total)
            if now >= max((r[2] for r in self.oracle.releases[key]), default=0) and not veiled:
                assert held == total, key
        assert not any(shown.values()), shown

    def check_gauges(self) -> None:
        snapshot = self.reader.refresh()
        zone = ZoneInfo(ZONE)

        def local(ms: int) -> datetime:
            return datetime.fromtimestamp(ms / 1000, zone)

        now = local(snapshot.release_clock_ms)
        tests = {
            "llm_cost_month_to_date": lambda t: (t.year, t.month) == (now.year, now.month),
            "llm_cost_day_to_date": lambda t: t.date() == now.date(),
        }
        for family, test in tests.items():
            expected: dict[tuple, int] = defaultdict(int)
            for entry in self.oracle.entries:
                if test(local(entry["hour"])):
                    expected[entry["exported"]] += entry["nano"]
            found = dict(snapshot.samples(family))
            for labels, nano in expected.items():
                assert found.pop(labels, 0) == nano, (family, labels)
            assert not any(found.values()), found
        yearly: dict[tuple, int] = defaultdict(int)
        for entry in self.oracle.entries:
            if local(entry["hour"]).year == now.year:
                exported = entry["exported"]
                yearly[(exported[0], exported[1], exported[3])] += entry["nano"]
        found = dict(snapshot.samples("llm_cost_year_to_date"))
        for labels, nano in yearly.items():
            assert found.pop(labels, 0) == nano
        assert not any(found.values())


def test_random_histories(books) -> None:
    Histories.books = books
    run_state_machine_as_test(
        Histories,
        settings=settings(
            max_examples=60,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.slow
def test_many_random_histories(books) -> None:
    Histories.books = books
    run_state_machine_as_test(
        Histories,
        settings=settings(
            max_examples=200,
            stateful_step_count=60,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
