"""Fixed costs in a real ledger: what a month adds up to, whatever happens in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from costmeter.config import load_config
from costmeter.engine.currencies import Conversion, exchange_of
from costmeter.engine.fixed_costs import FixedCosts, entries_of
from costmeter.engine.terms import scopes_of
from costmeter.ledger.accrued import CELLS_AT_ONCE, Accruals, Accruing
from costmeter.ledger.door import Unavailable
from costmeter.ledger.settle.settlements import Settlements
from costmeter.ledger.terms import Terms
from costmeter.ledger.verify import verify
from costmeter.ledger.writer import Writer
from costmeter.model import BillLine, Labels
from costmeter.pricing.accrued import Recurring, accrued
from costmeter.pricing.catalogue import NEVER_MS
from fakes.clock import FakeClock
from faults.ledgers import HOUR, Ledger

NANO = 10**9


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000


@dataclass
class Rig:
    """A ledger with its writer, and the configuration's fixed costs as the service runs them."""

    folder: Path
    clock: FakeClock
    text: str
    zone: str = "UTC"
    ledger: Ledger = field(init=False)

    def open(self) -> None:
        self.config = self._config()
        terms = Terms(birth_hold_ms=0, scopes=scopes_of(self.config), reporting_timezone=self.zone)
        self.ledger = Ledger(self.folder, self.clock, terms)
        self.ledger.open()
        self.writer = Writer(self.ledger.booking, self.ledger.tally)
        self.writer.start()
        self.exchange = exchange_of(self.config)
        self.settlements = Settlements(self.ledger.booking)
        self.conversion = Conversion(self.writer, self.settlements, self.exchange)
        self.costs = FixedCosts(self.writer, self._entries())

    def close(self) -> None:
        self.writer.close()
        differences = list(verify(self.ledger.store))
        self.ledger.close()
        assert differences == []

    def restart(self, text: str | None = None) -> None:
        self.close()
        self.text = self.text if text is None else text
        self.open()

    def reload(self, text: str) -> None:
        """As the service does."""
        self.text = text
        self.config = self._config()
        self.exchange = exchange_of(self.config)
        entries = self._entries()
        self.costs.catch_up()
        self.costs.change(entries)
        self.conversion.change(self.exchange)

    def run(self, *, days: float = 0, hours: float = 0, minutes: float = 0) -> str:
        self.clock.advance(days=days, hours=hours, minutes=minutes)
        return self.costs.run()

    def net(self, **where: str) -> int:
        """All that was booked, from the cells."""
        names = " AND ".join(f"dim.{name} = ?" for name in where) or "1"
        row = self.ledger.store.connection.execute(
            f"SELECT coalesce(sum(up - down), 0) FROM cell JOIN dim USING (dim) WHERE {names}",
            tuple(where.values()),
        ).fetchone()
        return int(row[0])

    def between(self, since: str, until: str) -> int:
        row = self.ledger.store.connection.execute(
            "SELECT coalesce(sum(up - down), 0) FROM cell WHERE hour >= ? AND hour < ?",
            (at(since), at(until)),
        ).fetchone()
        return int(row[0])

    def counter(self, name: str = "llm_cost_total") -> int:
        self.ledger.tick()
        return sum(value for _, value in self.ledger.snapshot().samples(name))

    def _config(self):  # type: ignore[no-untyped-def]
        path = self.folder / "costmeter.yml"
        path.write_text(f"ledger: {{reporting_timezone: {self.zone}}}\n{self.text}")
        return load_config(path, {})

    def _entries(self) -> Sequence[Accruing]:
        return entries_of(self.config, self.ledger.booking.prices, self.exchange)


@contextmanager
def rig(folder: Path, text: str, now: str, zone: str = "UTC") -> Iterator[Rig]:
    made = Rig(folder, FakeClock(at(now)), text, zone)
    made.open()
    try:
        yield made
    except BaseException:
        made.writer.close()
        made.ledger.close()
        raise
    made.close()


def licence(amount: object = 1000, name: str = "a", **more: object) -> str:
    extra = "".join(f", {key}: {value}" for key, value in more.items())
    return f"{{name: {name}, kind: software_license, amount: {amount}{extra}}}"


def items(*entries: str) -> str:
    return "fixed_costs: {items: [" + ", ".join(entries) + "]}\n"


@pytest.mark.parametrize("month", ["2026-02", "2024-02", "2026-03", "2026-04", "2026-12"])
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
def test_a_month_adds_up_to_its_amount(tmp_path: Path, month: str, zone: str) -> None:
    year, number = map(int, month.split("-"))
    following = f"{year + number // 12}-{number % 12 + 1:02d}-01"
    text = items(licence("1234.567890123", start=f"{month}-01", end=following))
    with rig(tmp_path, text, f"{month}-01T00:00:00", zone) as one:
        one.clock.advance(hours=-3)
        one.restart()
        for step in (0.01, 3, 7.7, 9.123, 0, 11, 5):
            one.run(days=step)
        assert one.net() == 1_234_567_890_123
        one.run(days=40)
        assert one.net() == 1_234_567_890_123
        assert len(one.ledger.family("llm_cost_total")) == 1


def test_what_accrues_in_a_minute_is_its_share(tmp_path: Path) -> None:
    with rig(tmp_path, items(licence(720)), "2026-11-22T10:00:30") as one:
        one.run()
        assert one.net() == 0
        for _ in range(3):
            one.run(minutes=1)
        assert one.net() == 3 * 720 * NANO // (30 * 24 * 60)
        assert one.counter() == one.net()
        assert one.ledger.store.connection.execute("SELECT DISTINCT kind FROM cell").fetchall() == [
            ("fixed",)
        ]
        one.run()
        assert one.counter() == one.net()


def test_a_week_away_is_caught_up_and_released(tmp_path: Path) -> None:
    with rig(tmp_path, items(licence(720)), "2026-11-02T10:00:00") as one:
        one.run()
        one.run(hours=1)
        assert one.counter() == NANO
        one.close()
        one.clock.advance(days=7)
        one.open()
        one.run()
        assert one.net() == (1 + 7 * 24) * NANO
        shown = one.counter()
        assert shown - NANO < NANO  # nothing of a week shows at once
        one.clock.advance(days=7)
        assert abs(one.counter() - NANO - 7 * 12 * NANO) < NANO
        one.clock.advance(days=8)
        assert one.counter() == (1 + 7 * 24) * NANO


def test_what_was_before_the_first_reading_is_in_gauges_only(tmp_path: Path) -> None:
    with rig(tmp_path, items(licence(720, start="2026-11-01")), "2026-11-22T10:00:00") as one:
        one.run()
        assert one.net() == (21 * 24 + 10) * NANO
        assert one.counter() == 0
        gauge = sum(one.ledger.family("llm_cost_month_to_date").values())
        assert gauge == one.net()
        one.run(hours=1)
        assert one.counter() == NANO
        assert one.net() == (21 * 24 + 11) * NANO


def test_a_new_amount_counts_from_now_on_also_within_an_hour(tmp_path: Path) -> None:
    with rig(tmp_path, items(licence(720)), "2026-11-22T10:00:00") as one:
        one.run()
        one.run(minutes=12)
        one.clock.advance(minutes=6)
        one.reload(items(licence(7200)))
        one.run(minutes=42)
        assert one.net() == NANO * 18 // 60 + 10 * NANO * 42 // 60
        assert one.between("2026-11-22T10:00", "2026-11-22T11:00") == one.net()


def test_new_labels_count_from_now_on(tmp_path: Path) -> None:
    with rig(tmp_path, items(licence(720, team="red")), "2026-11-22T10:00:00") as one:
        one.run()
        one.run(minutes=30)
        one.reload(items(licence(720, team="blue")))
        one.run(minutes=30)
        assert one.net(team="red") == one.net(team="blue") == NANO // 2


def test_time_that_nobody_watched_belongs_to_the_terms_after_it(tmp_path: Path) -> None:
    with rig(tmp_path, items(licence(720)), "2026-11-22T10:00:00") as one:
        one.run()
        one.run(hours=1)
        one.close()
        one.clock.advance(hours=2)
        one.text = items(licence(7200))
        one.open()
        one.run()
        assert one.net() == NANO + 20 * NANO


def test_dates_speak_about_the_past(tmp_path: Path) -> None:
    with rig(tmp_path, items(licence(720, start="2026-11-10")), "2026-11-20T00:00:00") as one:
        one.run()
        one.run(days=2)
        assert one.net() == 12 * 24 * NANO
        # It began later and has ended already.
        one.reload(items(licence(720, start="2026-11-12", end="2026-11-21")))
        one.run()
        assert one.net() == 9 * 24 * NANO
        assert one.between("2026-11-12", "2026-11-21") == one.net()
        # It began earlier, and goes on.
        one.reload(items(licence(720, start="2026-11-01")))
        one.run()
        assert one.net() == 21 * 24 * NANO
        shown = [one.counter(name) for name in ("llm_cost_total", "llm_cost_credit_total")]
        assert all(value >= 0 for value in shown)
        one.clock.advance(days=20)
        credit = one.counter("llm_cost_credit_total")
        assert one.counter() - credit == 2 * 24 * NANO
        assert credit == 24 * NANO  # what counters had got was taken back from them


def test_an_entry_that_covers_nothing_is_taken_back_whole(tmp_path: Path) -> None:
    with rig(tmp_path, items(licence(720, start="2026-11-10")), "2026-11-20T00:00:00") as one:
        one.run(hours=5)
        one.reload(items(licence(720, start="2026-11-10", end="2026-11-10")))
        one.run()
        assert one.net() == 0


def test_a_removed_entry_costs_nothing_more_and_its_past_stays(tmp_path: Path) -> None:
    with rig(tmp_path, items(licence(720)), "2026-11-22T10:00:00") as one:
        one.run()
        one.run(hours=1)
        one.reload("")
        one.run(hours=5)
        assert one.net() == NANO
        one.restart(items(licence(720)))
        one.run()
        one.run(hours=1)
        assert one.net() == 2 * NANO  # the time without it is not made up for
        one.reload("")
        one.run(hours=1)
        one.reload(items(licence(720, start="2026-11-22")))
        one.run()
        assert one.net() == 18 * NANO  # its date says that it was there


def test_a_payment_made_once_always_adds_up(tmp_path: Path) -> None:
    def once(amount: object, months: int, start: str) -> str:
        return items(licence(amount, per="once", months=months, start=start))

    with rig(tmp_path, once(3600, 36, "2026-01-15"), "2026-01-15T00:00:00") as one:
        one.run()
        one.run(days=31)
        assert one.net() == 100 * NANO
        # What it cost, for how long and since when: each restates it whole.
        one.reload(once(4000, 36, "2026-01-15"))
        one.run()
        assert one.net() == 4000 * NANO // 36
        one.reload(once(24, 2, "2026-01-10"))
        one.run()
        assert 12 * NANO < one.net() < 24 * NANO
        one.run(days=60)
        assert one.net() == 24 * NANO


def test_everything_anew_by_hand(tmp_path: Path) -> None:
    with rig(tmp_path, items(licence(720), licence(5, "b")), "2026-11-01T00:00:00") as one:
        one.run()
        one.run(days=3)
        before = one.net(service="b")
        one.reload(items(licence(7200, team="blue"), licence(5, "b")))
        one.run()
        assert one.net(service="a") == 72 * NANO
        assert "booked" in one.costs.restate()
        assert one.net(service="a", team="") == 0
        assert one.net(service="a", team="blue") == 720 * NANO
        assert one.net(service="b") == before
        assert one.costs.restate() == ""
        one.clock.advance(days=14)
        assert one.counter() - one.counter("llm_cost_credit_total") >= 720 * NANO


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["run", "restart", "reload", "remove", "fail"]),
            st.integers(1, 400_000),
            st.integers(1, 10**6),
        ),
        min_size=1,
        max_size=12,
    ),
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York"]),
)
def test_whatever_happens_each_second_is_charged_once(
    steps: Sequence[tuple[str, int, int]], zone: str
) -> None:
    """An oracle that keeps the stretches itself says what there must be in the end."""
    with TemporaryDirectory() as folder:
        amount, there = 5, True
        with rig(Path(folder), items(licence(amount)), "2026-02-24T21:17:33", zone) as one:
            one.run()
            since, exact = one.clock.now_ms(), 0
            counted = 0
            for what, seconds, new in steps:
                one.clock.advance(seconds)
                now = one.clock.now_ms()
                if what == "restart":
                    one.restart()
                if what == "fail":
                    fails(one)
                if there:
                    exact += accrued(Recurring(amount * NANO, zone=zone), since, now)
                since = now
                if what == "reload":
                    amount, there = new, True
                    one.reload(items(licence(amount)))
                elif what == "remove":
                    there = False
                    one.reload("")
                one.costs.run()
                assert one.net() == exact
                shown = one.counter()
                assert counted <= shown <= exact
                counted = shown
            one.clock.advance(days=15)
            assert one.counter() == exact
            assert one.counter("llm_cost_credit_total") == 0


def fails(one: Rig) -> None:
    """A commit that does not come about: booked in full, and then rolled back."""
    book = one.costs._advance

    def break_off() -> None:
        book(restate=False)
        raise OSError("no space left on device")

    with pytest.raises(Unavailable):
        one.writer.run(break_off).result()
    one.costs._accruals.forget()
    one.costs._begun = None


def test_years_are_caught_up_in_short_transactions(tmp_path: Path) -> None:
    text = items(licence(1000, start="2024-01-01", per="year"), licence(1, "b", start="2025-01-01"))
    with rig(tmp_path, text, "2026-01-01T00:00:00") as one:
        commits = one.ledger.booking.revision
        one.run()
        # 26,304 hours of cells in pieces, between which others are served.
        assert one.ledger.booking.revision - commits == 26_304 // CELLS_AT_ONCE + 1
        assert one.net(service="a") == 2_000 * NANO
        assert one.net(service="b") == 12 * NANO


def test_people_and_hours(tmp_path: Path) -> None:
    text = """
fixed_costs:
  personnel:
    - {name: team, salary: 120000, headcount: 3, allocation_percent: 40, role: operations,
       start: 2026-01-01, end: 2027-01-01, team: platform}
    - {name: on-call, hours_per_month: 7.5, start: 2026-01-01, end: 2026-02-01}
    - {name: intern, salary: 1000.10, per: month, benefits_factor: 1, headcount: 0.5,
       start: 2026-01-01, end: 2026-02-01}
"""
    with rig(tmp_path, text, "2026-12-31T00:00:00") as one:
        one.run(days=2)
        # Salary x benefits x people x share, each of them once.
        assert (
            one.net(service="team")
            == Fraction(120_000) * Fraction("1.3") * 3 * Fraction("0.4") * NANO
        )
        assert one.net(service="on-call") == Fraction("7.5") * 150 * NANO
        assert one.net(service="intern") == 500_050_000_000
        labels = one.ledger.store.connection.execute(
            "SELECT category, operation, provider, tenant_id, team FROM dim WHERE service = 'team'"
        ).fetchall()
        assert labels == [("personnel", "operations", "internal", "unattributed", "platform")]


INVENTORY = """
inventory:
  compute:
    - {name: web, provider: hetzner, instance_type: ccx33, count: 3, price_per_hour: 0.11, DATES}
    - {name: reserved, provider: aws, on_demand_per_hour: 1, purchase: reserved, DATES}
    - {name: spot, provider: aws, on_demand_per_hour: 1, purchase: spot, count: 2, DATES}
    - {name: deal, provider: aws, on_demand_per_hour: 1, discount_percent: 25, DATES,
       hours_per_month: 100}
    - {name: cards, provider: aws, region: us-east-1, gpu: A100-40GB, count: 8,
       instance_type: p4d.24xlarge, purchase: reserved, DATES}
    - {name: listed-spot, provider: gcp, region: us-central1, gpu: H100-80GB, count: 8,
       instance_type: a3-highgpu-8g, purchase: spot, DATES}
  storage:
    - {name: disk, provider: aws, kind: gp3, gb: 500, price_per_gb_month: 0.08, iops: 3000,
       price_per_iops_month: 0.005, DATES}
  network:
    - {name: out, provider: aws, transfer: internet_egress, gb_per_month: 900, price_per_gb: 0.09,
       DATES}
  services:
    - {name: vectors, provider: qdrant, amount: 95.5, DATES}
"""


def test_inventory_of_a_month(tmp_path: Path) -> None:
    text = INVENTORY.replace("DATES", "start: 2026-11-01, end: 2026-12-01")
    with rig(tmp_path, text, "2026-11-10T00:00:00") as one:
        one.run(days=25)
        expected = {
            "ccx33": Fraction("0.11") * 3 * 730,
            "reserved": Fraction("0.6") * 730,
            "spot": Fraction("0.3") * 2 * 730,
            "deal": Fraction("0.75") * 100,
            "p4d.24xlarge": Fraction("21.957642") * 730 * Fraction("0.6"),
            "a3-highgpu-8g": Fraction("53.09") * 730,
            "disk": Fraction(40 + 15),
            "out": Fraction(81),
            "vectors": Fraction("95.5"),
        }
        found = dict(
            one.ledger.store.connection.execute(
                "SELECT dim.service, sum(up - down) FROM cell JOIN dim USING (dim) GROUP BY 1"
            ).fetchall()
        )
        assert found.keys() == expected.keys()
        for service, usd in expected.items():
            assert abs(found[service] - usd * NANO) < 1, service
        categories = dict(
            one.ledger.store.connection.execute("SELECT service, category FROM dim").fetchall()
        )
        assert categories["p4d.24xlarge"] == "gpu_compute"
        assert categories["ccx33"] == "cpu_compute"
        assert [categories[name] for name in ("disk", "out", "vectors")] == [
            "storage", "network", "managed_services",
        ]  # fmt: skip


def test_a_card_without_a_price_is_refused(tmp_path: Path) -> None:
    text = "inventory: {compute: [{name: x, provider: nowhere, gpu: A100-80GB}]}"
    rig = Rig(tmp_path, FakeClock(), text)
    with pytest.raises(ValueError, match=r"inventory.compute 'x': gpu: .* write price_per_hour"):
        rig.open()
    rig.close()


def test_inventory_stands_back_where_something_else_is_booked(tmp_path: Path) -> None:
    text = """
inventory:
  services:
    - {name: vectors, provider: qdrant, amount: 720}
    - {name: cloud, provider: aws, amount: 720}
    - {name: cluster, provider: k8s, amount: 720}
scopes:
  - {name: aws, match: {provider: aws}, detail_from: none, amount_from: aws-bill}
  - {name: k8s, match: {provider: k8s}, detail_from: opencost}
"""
    with rig(tmp_path, text, "2026-11-22T10:00:00") as one:
        one.run()
        one.run(hours=1)
        assert one.net() == one.net(provider="qdrant") == NANO
        assert [warning.text for warning in one.config.warnings] == [
            "'cloud' is not booked: aws-bill says what the scope 'aws' costs",
            "'cluster' is not booked: opencost says what the scope 'k8s' costs",
        ]


def test_a_bill_settles_inventory_and_later_replaces_it(tmp_path: Path) -> None:
    text = """
inventory: {services: [{name: cloud, provider: aws, amount: 720, tenant_id: acme}]}
scopes: [{name: aws, match: {provider: aws}, amount_from: aws-bill}]
"""
    with rig(tmp_path, text, "2026-11-20T00:00:00") as one:
        one.run()
        one.run(days=2)
        assert one.net() == 48 * NANO
        day = at("2026-11-20") // 86_400_000
        take(one, [bill("20", "USD", day)])
        assert one.net() == (20 + 24) * NANO  # the bill is the amount of its day
        one.restart(text.replace("amount_from", "detail_from: none, amount_from"))
        one.run(days=1)
        assert one.net() == (20 + 24) * NANO


def bill(amount: str, currency: str, day: int, name: str = "a") -> BillLine:
    found = Labels(*[""] * 13)._replace(tenant_id="acme", provider="aws", category="storage")
    return BillLine("", day, name, 1, amount, currency, None, found, maturity="final")


AWS = """
scopes: [{name: aws, match: {provider: aws}, detail_from: none, amount_from: aws-bill}]
"""


def rates(*found: tuple[str, str], **more: object) -> str:
    listed = ", ".join(f"{{date: {day}, currency: EUR, rate: {rate}}}" for day, rate in found)
    extra = "".join(f", {key}: {value}" for key, value in more.items())
    return f"currencies: {{rates: [{listed}]{extra}}}\n"


def test_a_line_waits_for_its_rate_and_gets_it(tmp_path: Path) -> None:
    day = at("2026-11-20") // 86_400_000
    with rig(tmp_path, AWS + rates(("2026-11-01", "9")), "2026-11-22T10:00:00") as one:
        lines = [bill("10", "EUR", day), bill("1", "GBP", day - 1, "b"), bill("4", "USD", day - 2)]
        take(one, lines)
        one.conversion.run()
        assert one.net() == 4 * NANO
        assert unconverted(one) == {("aws", "EUR"): 1, ("aws", "GBP"): 1}
        text = AWS + rates(("2026-11-01", "9"), ("2026-11-18", "1.0843"))
        one.reload(text)
        assert one.conversion.run() == "1 lines of bills converted to USD"
        one.writer.run(one.settlements.settle_due).result()
        assert one.net() == 14_843_000_000
        assert unconverted(one) == {("aws", "GBP"): 1}
        assert one.conversion.run() == ""
        row = one.ledger.store.connection.execute(
            "SELECT amount, currency, fx_rate, fx_day, usd_nano FROM bill WHERE currency = 'EUR'"
        ).fetchall()
        assert row == [("10", "EUR", "1.0843", day - 2, 10_843_000_000)]
        # The same bill again, and what is new of it, with the rate at hand.
        take(one, [bill("10", "EUR", day), bill("2", "EUR", day, "c")])
        assert one.net() == 14_843_000_000 + 2_168_600_000
        outcomes = one.ledger.tally.read()["costmeter_bill_lines_total"]
        assert outcomes[("aws", "converted")] == 1


def take(one: Rig, lines: Sequence[BillLine]) -> None:
    one.writer.run(
        lambda: one.settlements.take(lines, one.clock.now_ms(), source="aws-bill")
    ).result()


def unconverted(one: Rig) -> Mapping[tuple[str, ...], int]:
    return dict(one.ledger.snapshot().samples("llm_cost_unconverted_lines"))


def test_a_fixed_cost_in_another_currency_has_each_days_rate(tmp_path: Path) -> None:
    text = items(licence(720, currency="EUR", start="2026-11-20"))
    table = rates(("2026-11-20", "1"), ("2026-11-21", "2"), max_age_days=1)
    with rig(tmp_path, text + table, "2026-11-20T00:00:00") as one:
        one.run()
        one.run(days=1)
        assert one.net() == 24 * NANO
        one.run(days=1)
        one.run(days=1)
        assert one.net() == (24 + 48 + 48) * NANO
        # No rate any more: nothing is booked, neither as 0 nor as USD, until there is one.
        assert one.run(hours=5) == "no amount in USD is known now for items/a"
        assert one.ledger.tally.read()["costmeter_fixed_costs_waiting"] == {(): 1}
        assert one.run(hours=1) == ""
        assert one.net() == (24 + 48 + 48) * NANO
        one.reload(text + rates(("2026-11-20", "1"), ("2026-11-21", "2"), ("2026-11-23", "3")))
        assert one.run() == "every entry has an amount in USD again"
        assert one.net() == (24 + 48 + 48 + 6 * 3) * NANO


def test_what_was_paid_once_has_the_rate_of_its_day(tmp_path: Path) -> None:
    paid = licence(36, per="once", months=1, currency="EUR", start="2026-11-20")
    text = items(paid) + rates(("2026-11-20", "1.5"), ("2026-11-21", "2"))
    with rig(tmp_path, text, "2026-11-20T00:00:00") as one:
        one.run()
        one.run(days=50)
        assert one.net() == 54 * NANO


def test_verify_names_an_hour_that_is_not_its_terms(tmp_path: Path) -> None:
    with rig(tmp_path, items(licence(720)), "2026-11-22T10:00:00") as one:
        one.run()
        one.run(hours=2)
        change: Callable[[], object] = lambda: one.ledger.store.connection.execute(  # noqa: E731
            "UPDATE state SET value = replace(value, '720000000000', '720000000') "
            "WHERE kind = 'fixed:covered'"
        )
        one.writer.run(change).result()
        found = [str(difference) for difference in verify(one.ledger.store)]
        assert len(found) == 2
        assert "items/a hour" in found[0]
        back: Callable[[], object] = lambda: one.ledger.store.connection.execute(  # noqa: E731
            "UPDATE state SET value = replace(value, '720000000', '720000000000') "
            "WHERE kind = 'fixed:covered'"
        )
        one.writer.run(back).result()


def test_an_hour_is_one_posting_a_day(tmp_path: Path) -> None:
    with rig(tmp_path, items(licence(720)), "2026-11-22T22:30:00") as one:
        for _ in range(120):
            one.run(minutes=1)
        rows = one.ledger.store.connection.execute("SELECT hour, nano FROM posting").fetchall()
        # The last minute before midnight is booked on the next day.
        first = at("2026-11-22T22:00")
        assert [hour for hour, _ in rows] == [first, first + HOUR, first + HOUR, first + 2 * HOUR]
        assert sum(nano for _, nano in rows) == one.net()


def test_a_transaction_that_fails_is_booked_by_the_next_one(tmp_path: Path) -> None:
    def price(_: int) -> tuple[Recurring | None, int]:
        return Recurring(1_000 * NANO), NEVER_MS

    labels = Labels(*("acme", "support", *[""] * (len(Labels._fields) - 2)))
    entries = [Accruing("items/x", labels, None, None, price)]
    with Ledger(tmp_path) as ledger:
        accruals = Accruals(ledger.booking)
        ledger.do(lambda: accruals.begin(entries))
        began = ledger.clock.now_ms()

        def failing() -> None:
            accruals.advance(entries)
            raise OSError("no space left")

        for work in (lambda: accruals.advance(entries), failing):
            ledger.clock.advance(3_600)
            with suppress(OSError):
                ledger.do(work)
        ledger.do(lambda: None)  # others come first
        ledger.clock.advance(3_600)
        ledger.do(lambda: accruals.advance(entries))
        wanted = accrued(Recurring(1_000 * NANO), began, began + 3 * HOUR)
        assert ledger.total("llm_cost_month_to_date") == wanted
        assert not list(verify(ledger.store))
