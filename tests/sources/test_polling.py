"""Polls on a real ledger: nothing is lost and nothing counts twice, whatever comes between."""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from costmeter.engine.pollers import Pollers
from costmeter.engine.polling import Poller
from costmeter.ledger.polled import Polled
from costmeter.model import NANO_PER_USD
from costmeter.sources.allowance import Allowance
from costmeter.sources.contract import Desk, Page, Rhythm, SourceError, Window
from fakes.clock import FakeClock
from fakes.openai_admin import OpenAIAdmin, completions, cost
from fakes.reports import Fault, serving
from sources.rig import DAY, HOUR, NOW, TODAY, Lines, Rig, running, settings

YESTERDAY = TODAY - DAY
#: nano-USD a token under the rig's prices.
INPUT, CACHED, OUTPUT = 2_000, 1_000, 8_000


@pytest.fixture
def fake() -> Iterator[OpenAIAdmin]:
    with serving(OpenAIAdmin()) as served:
        assert isinstance(served, OpenAIAdmin)
        yield served


def of(fake: OpenAIAdmin, tmp_path: Path, **changes: object) -> Iterator[Rig]:
    return running(
        tmp_path, "openai", settings(fake, path="/v1", options={"usage": "completions"}), **changes
    )  # type: ignore[return-value, arg-type]


def wanted(fake: OpenAIAdmin) -> tuple[int, int]:
    """(nano-USD metered, nano-USD billed) of all that the provider reports, recomputed."""
    metered = 0
    for _, row in fake.usage.get("completions", []):
        cached = row["input_cached_tokens"]
        metered += (row["input_tokens"] - cached) * INPUT + cached * CACHED
        metered += row["output_tokens"] * OUTPUT
    billed = 0
    for _, row in fake.costs:
        billed += round(Decimal(str(row["amount"]["value"])) * NANO_PER_USD)
    return metered, billed


def test_the_same_poll_again_changes_nothing(fake: OpenAIAdmin, tmp_path: Path) -> None:
    fake.usage["completions"] = [
        (YESTERDAY + hour * HOUR, completions(input_tokens=900 + hour, input_cached_tokens=400,
                                              output_tokens=70, model="gpt-5", project_id=project))
        for hour in range(24) for project in ("a", "b")
    ]  # fmt: skip
    fake.costs = [(YESTERDAY, cost("0.123456789")), (TODAY, cost(0.5))]
    with of(fake, tmp_path) as rig:
        assert rig.poll() == "50 new"
        assert (rig.cost(), rig.bills.nano()) == wanted(fake)
        records = rig.records()
        for _ in range(3):
            rig.ledger.clock.advance(hours=1)
            assert rig.poll() == "50 same"
        assert rig.records() == records
        assert len(rig.bills.history) == 2


@pytest.mark.parametrize("books", [True, False])
def test_a_restated_bucket_up_down_and_gone(fake: OpenAIAdmin, tmp_path: Path, books: bool) -> None:
    def restate(tokens: int, cached: int, amount: str) -> None:
        row = completions(input_tokens=tokens, input_cached_tokens=cached, output_tokens=10)
        fake.usage["completions"] = [(YESTERDAY, row)]
        fake.costs = [(YESTERDAY, cost(amount))]

    with of(fake, tmp_path, books=books) as rig:
        for tokens, cached, amount in (
            (1_000, 0, "1"), (1_500, 0, "1.5"), (700, 0, "0.7"), (700, 300, "0.7"), (701, 1, "0.9"),
        ):  # fmt: skip
            restate(tokens, cached, amount)
            rig.poll()
            metered, billed = wanted(fake)
            assert rig.cost() == (metered if books else 0)
            assert rig.booked("input") + rig.booked("cache_read") == (tokens if books else 0)
            assert rig.bills.nano() == billed
            before = rig.records(), len(rig.bills.history)
            assert rig.poll() == "2 same"
            assert (rig.records(), len(rig.bills.history)) == before
        fake.usage["completions"], fake.costs = [], []
        assert rig.poll() == "2 gone"
        assert (rig.cost(), rig.bills.nano()) == (0, 0)
        assert rig.poll() == "nothing there"
        restate(5, 0, "0.01")
        assert rig.poll() == "2 restated"
        assert rig.bills.nano() == 10_000_000
        assert rig.cost() == (wanted(fake)[0] if books else 0)


def test_what_is_observed_is_kept_and_replaced(fake: OpenAIAdmin, tmp_path: Path) -> None:
    def observed(rig: Rig) -> list[str]:
        rows = rig.ledger.store.connection.execute("SELECT quantities FROM observed_event")
        return [row[0] for row in rows]

    with of(fake, tmp_path, books=False) as rig:
        fake.usage["completions"] = [(YESTERDAY, completions(input_tokens=10))]
        rig.poll()
        assert observed(rig) == ['{"input":10,"requests":1}']
        fake.usage["completions"] = [(YESTERDAY, completions(input_tokens=8, output_tokens=1))]
        rig.poll()
        assert observed(rig) == ['{"input":8,"output":1,"requests":1}']
        fake.usage["completions"] = []
        rig.poll()
        assert observed(rig) == []


@pytest.mark.parametrize("books", [True, False])
def test_another_owner_between_polls(fake: OpenAIAdmin, tmp_path: Path, books: bool) -> None:
    """What is booked keeps its owner, however it is restated; what is observed follows."""
    clock, bills = FakeClock(NOW * 1000), Lines()
    tenants = []
    for number, (tenant, tokens) in enumerate([("a", 100), ("b", 150), ("c", 40), ("c", 0)]):
        chosen = settings(fake, path="/v1", tenant_id=tenant, options={"usage": "completions"})
        fake.usage["completions"] = [(YESTERDAY, completions(input_tokens=tokens))]
        with running(tmp_path, "openai", chosen, books=books, clock=clock, bills=bills) as rig:
            assert "failed" not in rig.poll()
            assert rig.cost() == (tokens * INPUT if books else 0)
            rows = rig.ledger.store.connection.execute(
                "SELECT tenant_id FROM usage_event JOIN org USING (org) WHERE ? UNION ALL "
                "SELECT tenant_id FROM observed_event JOIN org USING (org)", (books,)
            )  # fmt: skip
            tenants = [row[0] for row in rows]
            assert tenants == (["a", "a"][: number + 1] if books else [tenant][: bool(tokens)])


def test_a_scope_that_begins_to_book_a_source(fake: OpenAIAdmin, tmp_path: Path) -> None:
    clock = FakeClock(NOW * 1000)
    fake.usage["completions"] = [(YESTERDAY, completions(input_tokens=100))]
    for books, cost_now in ((False, 0), (True, 100 * INPUT), (False, 100 * INPUT)):
        with of(fake, tmp_path, books=books, clock=clock) as rig:
            rig.poll()
            assert rig.cost() == cost_now
            held = rig.ledger.store.connection.execute("SELECT count(*) FROM observed_event")
            assert held.fetchone() == (int(not cost_now),)


class Crash(BaseException):
    """The process is gone."""


@pytest.mark.parametrize("before", [1, 2, 3, 4])
def test_a_crash_between_fetch_and_commit(fake: OpenAIAdmin, tmp_path: Path, before: int) -> None:
    """The `before`th answer is read and never committed; another process goes on."""
    fake.page_size = 40
    fake.usage["completions"] = [
        (TODAY - 3 * DAY + hour * HOUR, completions(input_tokens=100 + hour)) for hour in range(72)
    ]
    fake.costs = [(TODAY - DAY * day, cost(f"0.{day}1")) for day in range(4)]
    bills = Lines()
    clock = FakeClock(NOW * 1000)
    with of(fake, tmp_path, bills=bills, clock=clock) as rig:
        seen = 0
        fetch = rig.source.fetch

        def dying(window: Window, desk: Desk) -> Iterator[Page]:
            nonlocal seen
            for page in fetch(window, desk):
                seen += bool(page.usages or page.lines)
                if seen == before:
                    raise Crash
                yield page

        rig.source.fetch = dying  # type: ignore[method-assign]
        with pytest.raises(Crash):
            rig.poll()
    with of(fake, tmp_path, bills=bills, clock=clock) as rig:
        rig.poll()
        assert (rig.cost(), bills.nano()) == wanted(fake)


def test_a_failed_commit_leaves_no_trace(fake: OpenAIAdmin, tmp_path: Path) -> None:
    fake.usage["completions"] = [(YESTERDAY, completions(input_tokens=100))]
    with of(fake, tmp_path) as rig:
        rig.poll()
        fake.usage["completions"] = [(YESTERDAY, completions(input_tokens=60))]
        fake.costs = [(YESTERDAY, cost("3"))]
        rig.bills.error = sqlite3.OperationalError("disk I/O error")
        assert rig.poll().startswith("failed: ledger")
        rig.bills.error = None
        rig.poll()
        assert (rig.cost(), rig.bills.nano()) == wanted(fake)


def test_a_week_away_leaves_no_gap(fake: OpenAIAdmin, tmp_path: Path) -> None:
    clock, bills = FakeClock(NOW * 1000), Lines()
    with of(fake, tmp_path, clock=clock, bills=bills) as rig:
        fake.costs = [(YESTERDAY, cost("1"))]
        rig.poll()
        first = clock.now_ms()
    for day in range(-1, 20):
        fake.costs.append((TODAY + day * DAY, cost(f"0.00{day + 2:02}")))
        fake.usage.setdefault("completions", []).append(
            (TODAY + day * DAY + 5 * HOUR, completions(input_tokens=1_000 + day))
        )
    clock.advance(days=20)
    with of(fake, tmp_path, clock=clock, bills=bills) as rig:
        # Three weeks are read in steps, and each step is kept.
        fake.faults.extend([None] * 4 + [Fault(401)])
        assert rig.poll().startswith("failed: credentials")
        reached = rig.polled.progress("bill").watermark_ms
        assert reached is not None
        assert first < reached < clock.now_ms()
        asked = len(fake.asked)
        rig.poll()
        days = {int(one.query["start_time"][0]) // DAY for one in fake.asked[asked:]}
        assert min(days) >= reached // (DAY * 1000) - 5
        assert (rig.cost(), bills.nano()) == wanted(fake)
        assert bills.watermarks[0] is None
        assert bills.watermarks[-1] is not None


def test_two_polls_at_once(fake: OpenAIAdmin, tmp_path: Path) -> None:
    """Of two polls the later one counts: the older one's figures are not taken any more."""
    gate = threading.Event()
    with of(fake, tmp_path) as rig:
        row = completions(input_tokens=100)
        fake.usage["completions"], fake.costs = [(YESTERDAY, row)], [(YESTERDAY, cost("1"))]
        fake.faults.extend([None] * 9 + [Fault(gate=gate)])  # the last answer of the first poll
        said: list[str] = []
        slow = threading.Thread(target=lambda: said.append(rig.poll()))
        slow.start()
        while len(fake.asked) < 10:
            time.sleep(0.01)
        assert rig.poll() == "it is being asked already"
        fake.usage["completions"] = [(YESTERDAY, completions(input_tokens=130))]
        fake.costs = [(YESTERDAY, cost("1.25"))]
        rig.another().poll()
        gate.set()
        slow.join(10)
        assert said == ["another poll of bill has taken over"]
        assert (rig.cost(), rig.bills.nano()) == wanted(fake)


def test_days_and_months_are_utc(fake: OpenAIAdmin, tmp_path: Path) -> None:
    """The last hour of a month, and one that is still open; costs of today are estimates."""
    at = NOW + 8 * DAY + 14 * HOUR  # 2026-12-01T00:30Z
    midnight = at - at % DAY
    fake.usage["completions"] = [
        (midnight - HOUR, completions(input_tokens=1)), (midnight, completions(input_tokens=5)),
    ]  # fmt: skip
    fake.costs = [(midnight + n * DAY, cost("1")) for n in (-5, -4, -3, -1, 0)]
    with of(fake, tmp_path, clock=FakeClock(at * 1000)) as rig:
        rig.poll()
        assert rig.booked("input") == 1
        assert [line.maturity for line in rig.bills.history] == [
            "final", "final", "provisional", "provisional", "estimated",
        ]  # fmt: skip
        rig.ledger.clock.advance(hours=1)
        rig.poll()
        assert rig.booked("input") == 6
        days = {row[0] for row in rig.ledger.store.connection.execute("SELECT day FROM day_cell")}
        assert days == {midnight // DAY - 1, midnight // DAY}
        rig.ledger.clock.advance(days=4)
        rig.poll()
        assert {line.maturity for line in rig.bills.standing.values()} == {"final"}


def test_before_the_source_was_set_up_only_gauges_know(fake: OpenAIAdmin, tmp_path: Path) -> None:
    fake.usage["completions"] = [
        (TODAY - 9 * DAY, completions(input_tokens=1_000)), (TODAY, completions(input_tokens=10)),
    ]  # fmt: skip
    with of(fake, tmp_path) as rig:
        rig.poll()
        rig.ledger.clock.advance(days=1)
        rig.ledger.tick()
        assert rig.ledger.total("llm_cost_total") == 10 * INPUT
        assert rig.ledger.total("llm_cost_month_to_date") == 1_010 * INPUT


def test_random_restatements_end_at_what_the_provider_says(
    fake: OpenAIAdmin, tmp_path: Path
) -> None:
    chance = random.Random(4)
    with of(fake, tmp_path) as rig:
        shown = 0
        for step in range(25):
            hours = chance.sample(range(48), 12)
            fake.usage["completions"] = [
                (YESTERDAY - DAY + hour * HOUR,
                 completions(input_tokens=chance.randrange(500, 900), input_cached_tokens=
                             chance.randrange(400), output_tokens=chance.randrange(50),
                             project_id=chance.choice("ab")))
                for hour in hours
            ]  # fmt: skip
            fake.costs = [
                (YESTERDAY, cost(f"{chance.randrange(10**12)}e-9", f"m{n}, input"))
                for n in range(3)
            ]
            if step % 4 == 0:
                fake.faults.extend([None, Fault(500), Fault(429, {"Retry-After": "1"})])
            rig.poll()
            rig.ledger.clock.advance(minutes=7)
            assert (rig.cost(), rig.bills.nano()) == wanted(fake)
            now_shown = rig.ledger.total("llm_cost_total")
            assert now_shown >= shown
            shown = now_shown


def test_budgets_of_calls_and_money_hold_across_a_restart(
    fake: OpenAIAdmin, tmp_path: Path
) -> None:
    clock = FakeClock(NOW * 1000)
    with of(fake, tmp_path, allowance=Allowance(12), clock=clock) as rig:
        assert "failed" not in rig.poll()
        assert len(fake.asked) == 10  # 31 days in five steps, usage and costs
        assert "failed" not in rig.poll()
        assert rig.poll().startswith("failed: budget: all 12 calls of today are made")
    with of(fake, tmp_path, allowance=Allowance(12), clock=clock) as rig:
        assert rig.poll().startswith("failed: budget")
        assert len(fake.asked) == 12
        assert not rig.poller.due()
        assert rig.tally("costmeter_source_call_budget_used_ratio") == {("bill",): 1.0}
        clock.advance(hours=13.6)
        assert "failed" not in rig.poll()


class Hanging:
    """A source that waits for ever, and one that breaks."""

    def __init__(self, name: str, gate: threading.Event | None) -> None:
        self.name, self.gate, self.asked = name, gate, threading.Event()
        self.rhythm = Rhythm(every_seconds=1)

    def fetch(self, window: Window, desk: Desk) -> Iterator[Page]:
        self.asked.set()
        if self.gate is None:
            raise RuntimeError("broken for good")
        self.gate.wait(30)
        raise SourceError("server", "too late")
        yield  # pragma: no cover


def test_one_source_never_blocks_another_or_a_shutdown(fake: OpenAIAdmin, tmp_path: Path) -> None:
    fake.costs = [(YESTERDAY, cost("1"))]
    gate, stopping = threading.Event(), threading.Event()
    with of(fake, tmp_path) as rig:
        sources = [Hanging("hanging", gate), Hanging("broken", None), rig.source]
        polled = Polled(rig.ledger.booking, rig.bills)
        pollers = Pollers(
            [
                Poller(source, polled, rig.writer, rig.ledger.clock, rig.ledger.tally,
                       stopping=stopping)
                for source in sources
            ],
            stopping,
        )  # fmt: skip
        pollers.start()
        until = time.monotonic() + 10
        told = {("broken",): 0, ("bill",): 1}
        while rig.tally("costmeter_source_up") != told and time.monotonic() < until:
            rig.ledger.clock.advance(1)
            time.sleep(0.02)
        assert rig.bills.nano() == NANO_PER_USD
        assert rig.tally("costmeter_source_up") == told
        assert str(pollers.run_named("source:hanging")).startswith("source hanging is asked now")
        said = str(pollers.run_named("source:x"))
        assert said.startswith("there is no source 'x'; choose from hanging")
        assert pollers.run_named("settlement") is None
        began = time.monotonic()
        pollers.stop()
        assert time.monotonic() - began < 5
        gate.set()
