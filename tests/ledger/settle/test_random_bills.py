"""Random schedules of metering, bills, restatements, credits and restarts against an oracle.

The oracle keeps usage and lines as plain lists and settles with fractions; it shares no
code with the ledger but the prices.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from costmeter.attribution import Scope
from costmeter.ledger.history import spend
from costmeter.model import UNATTRIBUTED
from ledger.settle.parts import DAY, HOUR, Bench, labels, line, price_book

SCOPES = (
    Scope("test", provider="test", amount_from="bill"),
    Scope("rent", provider="cloud", amount_from="bill", detail_from="none"),
    Scope("default"),
)
PRICES = {"cheap": 1_000, "dear": 10_000}
NANOS = st.integers(0, 9) | st.integers(0, 5_000_000) | st.integers(-1_000_000, 0)


class Said(NamedTuple):
    """A line of a bill as it stands."""

    revision: int
    nano: int | None
    maturity: str
    charge: str
    model: str


class Bills(RuleBasedStateMachine):
    @initialize(zone=st.sampled_from(["UTC", "America/New_York", "Asia/Tokyo"]))
    def begin(self, zone: str) -> None:
        self.folder = tempfile.TemporaryDirectory()
        path = Path(self.folder.name)
        self.bench = Bench(path, price_book(path), *SCOPES, zone=zone)
        self.used: list[tuple[int, str, str, int]] = []
        self.said: dict[tuple[str, int, str], Said] = {}
        self.watermark_ms: int | None = None
        self.shown: dict[tuple, int] = {}
        self.believed: dict[int, list] = {}

    def teardown(self) -> None:
        if hasattr(self, "bench"):
            try:
                self.check()
            finally:
                self.bench.close()
                self.folder.cleanup()

    # -- what happens ---------------------------------------------------------------

    @rule(
        tenant=st.sampled_from(["a", "b", "c"]),
        model=st.sampled_from(["cheap", "dear", "unknown"]),
        tokens=st.integers(1, 7) | st.integers(1, 900),
        age_hours=st.sampled_from([0, 0, 5, 30, 80]),
    )
    def use(self, tenant, model, tokens, age_hours) -> None:
        at_ms = self.bench.clock.now_ms() - age_hours * HOUR
        self.bench.use(tenant, tokens, model, at_ms=at_ms)
        self.used.append((at_ms // DAY, tenant, model, tokens))

    @rule(
        age=st.integers(0, 6),
        scope=st.sampled_from(["test", "test", "rent"]),
        name=st.sampled_from(["cheap", "dear", "unmetered", "fee"]),
        nano=NANOS | st.none(),
        maturity=st.sampled_from(["final", "final", "final", "provisional"]),
        charge=st.sampled_from(["usage", "usage", "usage", "tax", "credit"]),
        newer=st.integers(-1, 2),
    )
    def bill(self, age, scope, name, nano, maturity, charge, newer) -> None:
        """A line, new or restated; older revisions and repeated ones change nothing."""
        bench = self.bench
        day = bench.today - age
        key = (scope, day, name)
        old = self.said.get(key)
        revision = max((old.revision if old else 0) + newer, 0)
        sent = line(
            day, name, nano, revision=revision, maturity=maturity, charge=charge,
            line=f"{scope}:{name}",
            labels=labels("", name, provider="test" if scope == "test" else "cloud"),
        )  # fmt: skip
        for _ in range(2):
            bench.take(sent, watermark_ms=self.watermark_ms)
        self.watermark_ms = bench.clock.now_ms()
        if old is None or revision > old.revision:
            self.said[key] = Said(revision, nano, maturity, charge, name)
        elif revision == old.revision and old.nano is None and nano is not None:
            # Its amount stands as text, so a rate alone may come later: not another amount.
            assert sent.amount != "None"

    @rule(age=st.integers(0, 4))
    def finish(self, age) -> None:
        """The provider closes a day: every line of it is final and has a rate."""
        day = self.bench.today - age
        sent = []
        for (scope, at, name), old in sorted(self.said.items()):
            if at != day:
                continue
            new = old._replace(revision=old.revision + 1, nano=old.nano or 0, maturity="final")
            self.said[scope, at, name] = new
            provider = "test" if scope == "test" else "cloud"
            sent.append(
                line(
                    day, name, new.nano, revision=new.revision, charge=new.charge,
                    line=f"{scope}:{name}", labels=labels("", name, provider=provider),
                )
            )  # fmt: skip
        self.bench.take(*sent, watermark_ms=self.watermark_ms)

    @rule(age=st.integers(0, 4), nano=NANOS)
    def another_source(self, age, nano) -> None:
        """A second feed of the same dollars is kept beside, never booked."""
        self.bench.take(line(self.bench.today - age, "cheap", nano), source="invoices")

    @rule(age=st.integers(0, 4), nano=NANOS)
    def another_basis(self, age, nano) -> None:
        self.bench.take(line(self.bench.today - age, "cheap", nano, basis="billed"))

    @rule(minutes=st.sampled_from([5, 70, 600, 1_500, 5_000]))
    def time_passes(self, minutes) -> None:
        bench = self.bench
        bench.booking.transact(lambda: None)
        today = bench.today
        if (bench.clock.now_ms() + minutes * 60_000) // DAY > today:
            self.believed[today] = self.as_of(today)
        bench.clock.advance(minutes=minutes)
        bench.booking.transact(lambda: None)

    @rule()
    def settle_again(self) -> None:
        self.bench.booking.transact(lambda: self.bench.settlements.settle_due(1_000))

    @rule()
    def restart(self) -> None:
        self.bench.again()

    @rule(age=st.integers(0, 3))
    def fail(self, age) -> None:
        """A crash between fetch and commit takes nothing with it."""
        bench = self.bench
        sent = line(bench.today - age, "cheap", 77, revision=99)

        def work() -> None:
            bench.settlements.take([sent], None, source="bill")
            raise RuntimeError("no")

        with pytest.raises(RuntimeError):
            bench.booking.transact(work)

    # -- what must hold ---------------------------------------------------------------

    @invariant()
    def counters_never_fall(self) -> None:
        if not hasattr(self, "bench"):
            return
        snapshot = self.bench.reader.refresh()
        for family in snapshot.families:
            if family.endswith("_total"):
                for found, value in snapshot.samples(family):
                    assert value >= self.shown.get((family, found), 0)
                    self.shown[family, found] = value

    def as_of(self, booked: int) -> list:
        return sorted(spend(self.bench.store.connection, ["scope", "day"], booked_until=booked))

    def check(self) -> None:
        bench = self.bench
        bench.booking.transact(lambda: bench.settlements.settle_due(1_000))
        assert bench.differences() == []
        days = {day for day, *_ in self.used} | {day for _, day, _ in self.said}
        for day in sorted(days):
            for scope in ("test", "rent"):
                assert self.found(scope, day, "") == self.expected_sum(scope, day), (scope, day)
            self.check_shares(day)
        for booked, believed in self.believed.items():
            assert self.as_of(booked) == believed
        count = self.postings()
        for day in sorted(days):
            for scope in ("test", "rent"):
                assert bench.settle(day, scope) == 0
        assert self.postings() == count
        self.check_counters()

    def check_counters(self) -> None:
        """Once everything is released, net counter less opening is what the cells hold."""
        bench = self.bench
        bench.booking.transact(lambda: None)
        bench.clock.advance(days=30)
        bench.booking.transact(lambda: None)
        self.counters_never_fall()
        snapshot = bench.reader.refresh()
        shown = {
            family: sum(value for _, value in snapshot.samples(family))
            for family in ("llm_cost_total", "llm_cost_credit_total")
        }
        opening = dict(
            bench.store.connection.execute("SELECT family, sum(opening) FROM series GROUP BY 1")
        )
        cost, credit = (
            shown[family] - opening.get(family, 0)
            for family in ("llm_cost_total", "llm_cost_credit_total")
        )
        assert cost - credit == sum(bench.net("scope").values())

    def postings(self) -> int:
        connection = self.bench.store.connection
        return connection.execute("SELECT count(*) FROM posting").fetchone()[0]

    def found(self, scope: str, day: int, tenant: str) -> int:
        where = [("scope", scope)] + ([("tenant_id", tenant)] if tenant else [])
        rows = spend(
            self.bench.store.connection, [], since_ms=day * DAY, until_ms=(day + 1) * DAY,
            where=where,
        )  # fmt: skip
        return sum(row.net for row in rows)

    # -- the oracle -------------------------------------------------------------------

    def lines(self, scope: str, day: int) -> list[Said]:
        return [said for (s, d, _), said in self.said.items() if (s, d) == (scope, day)]

    def expected_sum(self, scope: str, day: int) -> int:
        lines = self.lines(scope, day)
        known = sum(said.nano or 0 for said in lines)
        complete = lines and all(s.maturity == "final" and s.nano is not None for s in lines)
        if complete or scope == "rent":
            return known
        return sum(n * PRICES.get(m, 0) for d, _, m, n in self.used if d == day)

    def check_shares(self, day: int) -> None:
        """Each tenant bears its share of each group, exact to a nano a group."""
        lines = self.lines("test", day)
        if not lines or not all(s.maturity == "final" and s.nano is not None for s in lines):
            return
        used: dict[tuple[str, str], int] = defaultdict(int)
        for at, tenant, model, tokens in self.used:
            if at == day:
                used[model, tenant] += tokens
        wanted: dict[str, Fraction] = defaultdict(Fraction)
        wanted[UNATTRIBUTED] += sum(s.nano or 0 for s in lines if s.charge != "usage")
        bills: dict[str, int] = defaultdict(int)
        for said in lines:
            if said.charge == "usage":
                bills[said.model] += said.nano or 0
        models = {model for model, _ in used}
        groups = [({model}, bills[model]) for model in bills if model in models]
        rest_lines = {model for model in bills if model not in models}
        rest_models = {model for model in models if model not in bills}
        groups.append((rest_models, sum(bills[model] for model in rest_lines)))
        for members, amount in groups:
            if members or amount:
                self.share(amount, {k: n for k, n in used.items() if k[0] in members}, wanted)
        for tenant in ("a", "b", "c", UNATTRIBUTED):
            assert abs(self.found("test", day, tenant) - wanted[tenant]) <= 3, tenant

    @staticmethod
    def share(amount: int, used: dict[tuple[str, str], int], wanted: dict) -> None:
        costs = {key: tokens * PRICES.get(key[0], 0) for key, tokens in used.items()}
        total = sum(costs.values())
        waiting = {key: n for key, n in used.items() if key[0] not in PRICES}
        if total:
            most = total if waiting else total + total // 10
            borne = min(amount, most)
            for (_, tenant), cost in costs.items():
                wanted[tenant] += Fraction(borne * cost, total)
            amount -= borne
        if waiting:
            for (_, tenant), tokens in waiting.items():
                wanted[tenant] += Fraction(amount * tokens, sum(waiting.values()))
        else:
            wanted[UNATTRIBUTED] += amount


def run(examples: int, steps: int) -> None:
    run_state_machine_as_test(
        Bills,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_random_bills() -> None:
    run(30, 25)


@pytest.mark.slow
def test_many_random_bills() -> None:
    run(100, 60)
