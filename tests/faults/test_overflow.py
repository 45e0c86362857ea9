"""More tenants than series: `_other` takes them, and no past posting ever moves."""

from __future__ import annotations

from pathlib import Path

from costmeter.ledger.admission import Limits
from costmeter.ledger.terms import Terms
from costmeter.ledger.upkeep import apply_budgets, promote
from costmeter.model import Budget
from faults.ledgers import DAY, Ledger, usage

PAID = 2_500_000_000


def terms(tenants: int = 2, *, tuples: int = 50_000, models: int = 50, **more) -> Terms:
    per_label = {"tenant_id": tenants, "model": models, "provider": 50, "environment": 50}
    return Terms(birth_hold_ms=0, limits=Limits(tuples, per_label), **more)


def tenants(ledger: Ledger, family: str = "llm_cost_total") -> dict[str, int]:
    found: dict[str, int] = {}
    place = 3 if family.startswith("llm_cost") else 2
    for labels, value in ledger.family(family).items():
        found[labels[place]] = found.get(labels[place], 0) + value
    return {tenant: value for tenant, value in found.items() if value}


def send(ledger: Ledger, *names: str) -> None:
    ledger.clock.advance(1)
    now = ledger.clock.now_ms()
    ledger.book(*(usage(f"{name}-{now}", now, tenant_id=name) for name in names))


def next_day(ledger: Ledger) -> None:
    ledger.clock.advance(days=1)
    ledger.tick()


def test_beyond_the_limit_is_other_in_counters_and_gauges(tmp_path: Path) -> None:
    with Ledger(tmp_path, terms=terms()) as ledger:
        send(ledger, "a", "b", "c", "d")
        expected = {"a": PAID, "b": PAID, "_other": 2 * PAID}
        for family in ("llm_cost_total", "llm_cost_month_to_date", "llm_cost_day_to_date"):
            assert tenants(ledger, family) == expected
        assert tenants(ledger, "llm_requests_total") == {"a": 1, "b": 1, "_other": 2}
        year = ledger.family("llm_cost_year_to_date")
        assert {labels[2]: value for labels, value in year.items()} == expected
        overflowed = ledger.tally.read()["costmeter_series_overflow_total"]
        assert overflowed == {("tenant_id",): 2}
        send(ledger, "c", "a")
        assert tenants(ledger) == {"a": 2 * PAID, "b": PAID, "_other": 3 * PAID}


def test_room_counts_from_the_next_booking_day(tmp_path: Path) -> None:
    with Ledger(tmp_path, terms=terms()) as ledger:
        send(ledger, "a", "b", "c")
        ledger.restart(terms=terms(4))
        ledger.clock.advance(60)
        send(ledger, "c", "d")
        # The day overflowed: the same posting would be mapped differently otherwise.
        assert tenants(ledger) == {"a": PAID, "b": PAID, "_other": 3 * PAID}
        next_day(ledger)
        send(ledger, "c", "d", "e")
        assert tenants(ledger) == {"a": PAID, "b": PAID, "c": PAID, "d": PAID, "_other": 4 * PAID}
        month = tenants(ledger, "llm_cost_month_to_date")
        assert month == tenants(ledger)


def test_an_operator_releases_a_value_and_its_past_stays(tmp_path: Path) -> None:
    with Ledger(tmp_path, terms=terms()) as ledger:
        send(ledger, "a", "b", "c")
        admission = ledger.booking.admission
        assert ledger.do(lambda: admission.release("tenant_id", "a", ledger.booking.booked))
        send(ledger, "a")
        assert tenants(ledger)["a"] == 2 * PAID
        next_day(ledger)
        send(ledger, "c", "a")
        assert tenants(ledger) == {"a": 2 * PAID, "b": PAID, "c": PAID, "_other": 2 * PAID}


def test_configured_and_budgeted_values_come_first(tmp_path: Path) -> None:
    budget = Budget("b", 10**12, (("tenant_id", "budgeted"),))
    with Ledger(
        tmp_path, terms=terms(2, admit={"tenant_id": ("known",)}), budgets=[budget]
    ) as ledger:
        send(ledger, "first", "budgeted", "known", "second")
        assert tenants(ledger) == {"budgeted": PAID, "known": PAID, "_other": 2 * PAID}
        late = Budget("late", 10**12, (("tenant_id", "first"),))
        ledger.do(lambda: apply_budgets(ledger.booking, [budget, late]))
        send(ledger, "first")
        assert tenants(ledger)["_other"] == 3 * PAID, "its day begins tomorrow"
        next_day(ledger)
        send(ledger, "first")
        assert tenants(ledger)["first"] == PAID


def test_what_grows_in_other_is_promoted_from_tomorrow_on(tmp_path: Path) -> None:
    with Ledger(tmp_path, terms=terms()) as ledger:
        send(ledger, "a", "b", "big", "small")
        for _ in range(3):
            ledger.clock.advance(1)
            send(ledger, "big")
        small = usage("tiny", ledger.clock.now_ms(), tokens=1_000, tenant_id="tiny")
        ledger.book(small)
        found = ledger.do(lambda: promote(ledger.booking))
        assert set(found) == {("tenant_id", "big"), ("tenant_id", "small")}
        assert ledger.do(lambda: promote(ledger.booking)) == []
        ledger.clock.advance(1)
        send(ledger, "big")
        assert "big" not in tenants(ledger)
        next_day(ledger)
        send(ledger, "big", "tiny")
        assert tenants(ledger)["big"] == PAID
        assert "tiny" not in tenants(ledger)


def test_a_promoted_value_waits_for_its_day_even_where_there_is_room(tmp_path: Path) -> None:
    with Ledger(tmp_path, terms=terms()) as ledger:
        send(ledger, "a", "b", "big")
        next_day(ledger)
        ledger.restart(terms=terms(9))
        assert ledger.do(lambda: promote(ledger.booking)) == [("tenant_id", "big")]
        send(ledger, "big")
        assert tenants(ledger) == {"a": PAID, "b": PAID, "_other": 2 * PAID}
        next_day(ledger)
        send(ledger, "big")
        assert tenants(ledger)["big"] == PAID


def test_promotion_leaves_labels_alone_that_no_series_carries(tmp_path: Path) -> None:
    with Ledger(tmp_path, terms=Terms(birth_hold_ms=0)) as ledger:
        ledger.book(usage(1, ledger.clock.now_ms(), team="search"))
        assert ledger.do(lambda: promote(ledger.booking)) == []


def test_too_many_tuples_take_the_tenant_and_then_the_model(tmp_path: Path) -> None:
    with Ledger(tmp_path, terms=terms(100, tuples=3)) as ledger:
        now = ledger.clock.now_ms()
        for number, (tenant, model) in enumerate(
            [("a", "m1"), ("b", "m1"), ("c", "m1"), ("d", "m2"), ("e", "m1"), ("a", "m1")]
        ):
            ledger.book(usage(number, now, tenant_id=tenant, model=model))
        found = {labels[1:3]: int(value) for labels, value in
                 ledger.family("llm_requests_total").items()}  # fmt: skip
        assert found == {("m1", "a"): 2, ("m1", "b"): 1, ("m1", "c"): 1, ("_other", "_other"): 2}


def test_a_restart_and_another_day_change_no_mapping_of_the_past(tmp_path: Path) -> None:
    with Ledger(tmp_path, terms=terms()) as ledger:
        old = ledger.clock.now_ms()
        send(ledger, "a", "b", "c")
        for _ in range(3):
            next_day(ledger)
            ledger.restart(terms=terms(10))
            send(ledger, "c")
        # An old event that arrives today is booked today.
        ledger.book(usage("old", old, tenant_id="c"))
        assert tenants(ledger, "llm_cost_month_to_date") == {
            "a": PAID, "b": PAID, "c": 4 * PAID, "_other": PAID,
        }  # fmt: skip
        assert old // DAY + 3 == ledger.booking.booked
