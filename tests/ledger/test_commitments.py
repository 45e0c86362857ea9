"""Commitments: a flat amount for a volume, the contract's prices after it, no dollar twice."""

from __future__ import annotations

from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from costmeter.ledger.commitments import Commitments, Used, plan
from costmeter.ledger.history import spend
from costmeter.model import UNATTRIBUTED
from costmeter.pricing import Contract, load_price_book
from costmeter.pricing.contracts import Commitment
from faults.ledgers import DAY, Ledger, labels, usage

USD = 10**9
NOBODY = labels(tenant_id=UNATTRIBUTED)


def test_what_is_covered_costs_its_part_and_the_rest_its_price() -> None:
    # 100 USD pay for 200 USD of usage; the second day goes over by 50.
    commitment = Commitment(100 * USD, 200 * USD, of_tokens=False)
    used = {
        (1, labels()): Used(150 * USD, 0),
        (2, labels()): Used(80 * USD, 0),
        (2, labels(tenant_id="beta")): Used(20 * USD, 0),
        (3, labels()): Used(7 * USD, 0),
    }
    wanted = plan(commitment, commitment.nano, commitment.covers, used, (3, NOBODY))
    assert wanted == {
        (1, labels()): -75 * USD,
        (2, labels()): -20 * USD,
        (2, labels(tenant_id="beta")): -5 * USD,
    }


def test_what_nobody_used_is_charged_when_the_month_is_over() -> None:
    commitment = Commitment(100 * USD, 1_000_000, of_tokens=True)
    used = {(1, labels()): Used(9 * USD, 250_000)}
    going_on = plan(commitment, commitment.nano, commitment.covers, used, None)
    assert going_on == {(1, labels()): 16 * USD}
    over = plan(commitment, commitment.nano, commitment.covers, used, (30, NOBODY))
    assert over == {**going_on, (30, NOBODY): 75 * USD}


rows = st.dictionaries(
    st.tuples(st.integers(0, 5), st.sampled_from([labels(team=name) for name in "abc"])),
    st.builds(Used, st.integers(0, 10**12), st.integers(0, 10**9)),
)


@settings(max_examples=200, deadline=None)
@given(used=rows, paid=st.integers(0, 10**12), covers=st.integers(1, 10**12), tokens=st.booleans())
def test_the_month_is_the_amount_and_what_is_over(
    used: dict[tuple[int, object], Used], paid: int, covers: int, tokens: bool
) -> None:
    commitment = Commitment(paid, covers, of_tokens=tokens)
    wanted = plan(commitment, paid, covers, used, (5, NOBODY))  # type: ignore[arg-type]
    total = sum(one.nano for one in used.values()) + sum(wanted.values())
    over = Fraction(0)
    left = covers
    # Independently: day by day, the part of its amount that is over the volume.
    for day in range(6):
        found = [one for (when, _), one in used.items() if when == day]
        size = sum(one.tokens if tokens else one.nano for one in found)
        taken = min(size, left)
        left -= taken
        for one in found:
            mine = one.tokens if tokens else one.nano
            over += Fraction(one.nano * (size - taken), size) if mine else one.nano
    # A row's share of a covered piece is a whole number of pieces.
    slack = sum(
        1 + (one.nano // one.tokens if tokens and one.tokens else 1) for one in used.values()
    )
    assert abs(total - paid - over) <= slack


def test_months_in_a_ledger(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        at = ledger.clock.now_ms()
        first = month_of(at)
        # The ledger knows of days before; the first month counts whole.
        ledger.book(usage(0, first * DAY - DAY, model="other"))
        deal = Contract(
            "deal", "test", "priced", from_ms=first * DAY,
            commitment=Commitment(31 * USD, 10_000_000, of_tokens=True),
        )  # fmt: skip
        path = tmp_path / "p.yml"
        path.write_text(ledger.price_text)
        ledger.booking.prices = load_price_book([path], contracts=[deal])
        commitments = Commitments(ledger.booking)
        ledger.book(usage(1, at), usage(2, at, tenant_id="beta"), usage(3, at, model="other"))
        # A million tokens each: 2.50 at the contract's prices, 3.10 of the flat amount.
        assert ledger.do(commitments.post) == 2
        assert ledger.do(commitments.post) == 0
        assert spent(ledger) == {"acme": 3_100_000_000, "beta": 3_100_000_000}
        # Nine million more: one of these eleven is over.
        ledger.book(usage(4, at, tokens=9_000_000))
        ledger.do(commitments.post)
        assert sum(spent(ledger).values()) == 31 * USD + 2_500_000_000
        # When the next month is over, nobody has used any of it.
        while month_of(month_of(ledger.clock.now_ms()) * DAY - DAY) != month_of((first + 31) * DAY):
            ledger.clock.advance(86_400)
        assert ledger.do(commitments.post) == 1
        assert spent(ledger)[UNATTRIBUTED] == 31 * USD
        whole = spent(ledger)
        ledger.restart()
        ledger.booking.prices = load_price_book([path], contracts=[deal])
        assert ledger.do(Commitments(ledger.booking).post) == 0
        assert spent(ledger) == whole
        # Without the contract all of it is taken back, and nothing is left over.
        ledger.booking.prices = load_price_book([path])
        ledger.do(Commitments(ledger.booking).post)
        assert sum(spent(ledger).values()) == 11 * 2_500_000_000
        assert ledger.do(Commitments(ledger.booking).post) == 0


def month_of(at_ms: int) -> int:
    """The first day (since 1970) of the month of an instant."""
    first = datetime.fromtimestamp(at_ms / 1000, UTC).replace(
        day=1, hour=0, minute=0, second=0, microsecond=0
    )
    return int(first.timestamp()) * 1000 // DAY


def spent(ledger: Ledger) -> dict[str, int]:
    rows = spend(ledger.store.connection, ["tenant_id"])
    return {row.group[0]: row.net for row in rows if row.net}


def test_a_month_that_the_contract_holds_for_in_part(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        start = month_of(ledger.clock.now_ms())
        days = month_of((start + 31) * DAY) - start
        ends = Contract(
            "ends", "test", "m", from_ms=start * DAY, until_ms=(start + 7) * DAY,
            commitment=Commitment(3_100 * USD, 10**9, of_tokens=True),
        )  # fmt: skip
        ledger.booking.prices = load_price_book(contracts=[ends])
        while ledger.clock.now_ms() < (start + 31) * DAY:
            ledger.clock.advance(86_400)
        ledger.do(Commitments(ledger.booking).post)
        assert spent(ledger) == {}  # nothing was metered, so nothing is known of the month
        ledger.book(usage(1, start * DAY, model="other"), history=True)
        ledger.do(Commitments(ledger.booking).post)
        assert spent(ledger) == {UNATTRIBUTED: 3_100 * USD * 7 // days}


def test_days_before_the_first_usage_are_left_out(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        start = month_of(ledger.clock.now_ms())
        days = month_of((start + 31) * DAY) - start
        deal = Contract(
            "deal", "test", "m", from_ms=(start - 90) * DAY,
            commitment=Commitment(3_100 * USD, 10**9, of_tokens=True),
        )  # fmt: skip
        ledger.booking.prices = load_price_book(contracts=[deal])
        while ledger.clock.now_ms() < (start + 31) * DAY:
            ledger.clock.advance(86_400)
        ledger.book(usage(1, (start + 10) * DAY, model="other"), history=True)
        ledger.do(Commitments(ledger.booking).post)
        assert spent(ledger) == {UNATTRIBUTED: 3_100 * USD * (days - 10) // days}
