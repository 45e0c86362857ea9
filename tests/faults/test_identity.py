"""Each event once: batches, midnights, observed feeds, corrections."""

from __future__ import annotations

from pathlib import Path

import pytest

from costmeter.attribution import CATCH_ALL, Scope
from costmeter.ledger.door import Verdict
from costmeter.ledger.terms import Terms
from costmeter.model import Correction
from faults.ledgers import DAY, HOUR, Ledger, usage

ACCEPTED, DUPLICATE = Verdict.ACCEPTED, Verdict.DUPLICATE
USD = 10**9


def test_the_same_id_twice_in_a_batch_is_booked_once(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        now = ledger.clock.now_ms()
        again = usage(1, now, tokens=7)
        assert ledger.book(usage(1, now), again, usage(2, now)) == [ACCEPTED, DUPLICATE, ACCEPTED]
        assert ledger.total("llm_cost_total") == 5 * USD


@pytest.mark.parametrize("together", [True, False])
def test_a_retry_on_a_neighbouring_day_is_the_same_event(tmp_path: Path, together: bool) -> None:
    with Ledger(tmp_path) as ledger:
        noon = ledger.clock.now_ms() // DAY * DAY - 3 * DAY
        batch = [
            usage(1, noon),
            usage(1, noon - 1),  # the day before
            usage(1, noon + DAY),  # the day after
            usage(1, noon + 2 * DAY),  # two days away: another event
            usage(1, noon + 3 * DAY - 1),  # a neighbour of nothing but that one
        ]
        expected = [ACCEPTED, DUPLICATE, DUPLICATE, ACCEPTED, DUPLICATE]
        if together:
            assert ledger.book(*batch) == expected
        else:
            assert [ledger.book(event)[0] for event in batch] == expected
        assert ledger.total("llm_cost_month_to_date") == 5 * USD


def test_the_same_id_of_another_tenant_is_another_event(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        now = ledger.clock.now_ms()
        mine, theirs = usage(1, now), usage(1, now, tenant_id="other")
        assert ledger.book(mine, theirs) == [ACCEPTED, ACCEPTED]
        assert ledger.book(theirs, mine) == [DUPLICATE, DUPLICATE]


def test_a_rolled_back_batch_occupies_no_ids(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        now = ledger.clock.now_ms()

        def fail() -> None:
            ledger.booking.usages([usage(1, now), usage(2, now, tenant_id="new")])
            raise RuntimeError("the power is gone")

        with pytest.raises(RuntimeError):
            ledger.do(fail)
        assert ledger.family("llm_cost_month_to_date") == {}
        assert ledger.book(usage(1, now), usage(2, now, tenant_id="new")) == [ACCEPTED] * 2
        assert ledger.total("llm_cost_total") == 5 * USD


def test_observed_feeds_are_never_booked_and_occupy_no_id(tmp_path: Path) -> None:
    terms = Terms(
        birth_hold_ms=0,
        scopes=(Scope("api", provider="test", detail_from="gateway"), CATCH_ALL),
    )
    with Ledger(tmp_path, terms=terms) as ledger:
        now = ledger.clock.now_ms()
        seen = usage(1, now, feed="sdk")._replace(event_id="p:test:resp-1")
        booked = usage(1, now, feed="gateway")._replace(event_id="p:test:resp-1")
        assert ledger.book(seen, seen) == [Verdict.OBSERVED, DUPLICATE]
        assert ledger.family("llm_requests_total") == {}
        assert ledger.book(booked) == [ACCEPTED]
        assert ledger.book(seen, booked) == [DUPLICATE, DUPLICATE]
        assert ledger.total("llm_requests_total") == 1
        assert ledger.total("llm_cost_month_to_date") == 2_500_000_000
        elsewhere = usage(2, now, feed="sdk", provider="elsewhere")
        assert ledger.book(elsewhere) == [ACCEPTED], "another scope books every feed"


def correction(number: object, event, **changes: str) -> Correction:
    return Correction(f"c-{number}", event.labels.tenant_id, event.at_ms // DAY, event.event_id,
                      changes)  # fmt: skip


def test_a_correction_moves_the_money_once(tmp_path: Path) -> None:
    with Ledger(tmp_path, terms=Terms(birth_hold_ms=0, extra_labels=("team",))) as ledger:
        event = usage(1, ledger.clock.now_ms(), team="wrong")
        ledger.book(event)
        fix = correction(1, event, team="right")
        assert ledger.do(lambda: ledger.amendments.correct([fix, fix])) == [ACCEPTED, DUPLICATE]
        assert ledger.do(lambda: ledger.amendments.correct([fix])) == [DUPLICATE]
        assert ledger.total("llm_cost_month_to_date", "wrong") == 0
        assert ledger.total("llm_cost_month_to_date", "right") == 2_500_000_000
        # Counters only rise: the reversal is a credit.
        assert ledger.total("llm_cost_total", "wrong") == 2_500_000_000
        assert ledger.total("llm_cost_credit_total", "wrong") == 2_500_000_000
        assert ledger.total("llm_cost_total", "right") == 2_500_000_000
        assert ledger.book(event) == [DUPLICATE], "a corrected event is still known"


def test_corrections_of_quantities_status_and_back(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        event = usage(1, ledger.clock.now_ms())
        ledger.book(event)
        less = correction(1, event, status="error")._replace(quantities={"input": 400_000})
        back = correction(2, event, status="ok")._replace(quantities=event.quantities)
        assert ledger.do(lambda: ledger.amendments.correct([less])) == [ACCEPTED]
        assert ledger.total("llm_cost_month_to_date") == 1_000_000_000
        assert ledger.total("llm_requests_total", "error") == 1
        assert ledger.do(lambda: ledger.amendments.correct([back])) == [ACCEPTED]
        assert ledger.total("llm_cost_month_to_date") == 2_500_000_000
        # Requests and tokens have no credit counter, so a reversal is not shown there.
        assert ledger.total("llm_requests_total", "ok") == 1 + 1
        net = ledger.total("llm_cost_total") - ledger.total("llm_cost_credit_total")
        assert net == 2_500_000_000


def test_a_correction_of_an_unknown_event_books_nothing(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        event = usage(1, ledger.clock.now_ms())
        ledger.book(event)
        unknown = correction(1, event, team="x")._replace(event_id="f:http:nobody")
        tenant = correction(2, event, team="x")._replace(tenant_id="somebody-else")
        far = correction(3, event, team="x")._replace(day=event.at_ms // DAY + 5)
        verdicts = ledger.do(lambda: ledger.amendments.correct([unknown, tenant, far]))
        assert verdicts == [Verdict.UNKNOWN] * 3
        assert ledger.total("llm_cost_month_to_date") == 2_500_000_000
        # The id of a correction that did nothing is free.
        assert ledger.do(lambda: ledger.amendments.correct([correction(1, event, team="x")])) == [
            ACCEPTED
        ]


def test_a_correction_cannot_change_the_tenant(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        event = usage(1, ledger.clock.now_ms() - HOUR)
        ledger.book(event)
        with pytest.raises(ValueError, match="tenant_id"):
            ledger.do(lambda: ledger.amendments.correct([correction(1, event, tenant_id="thief")]))
        assert ledger.total("llm_cost_month_to_date", "acme") == 2_500_000_000
