"""Commitments: what is paid each month whether it is used or not, laid over its usage.

The meters book usage at the contract's prices. In a calendar month (UTC), in the order of
its days, the usage that a commitment covers costs its part of the flat amount instead, and
what is over keeps its price. When the month is over, what nobody used of the amount is a
charge of its own. What is posted is wanted - posted, so that late usage moves it and doing
it again posts nothing.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from sqlite3 import Connection
from typing import NamedTuple

import msgspec

from costmeter.ledger.booking import Booking
from costmeter.ledger.history import METERED_KINDS
from costmeter.ledger.settle.meters import settlement_hour
from costmeter.ledger.settle.spread import spread
from costmeter.model import (
    MS_PER_DAY,
    TOKEN_CLASSES,
    UNATTRIBUTED,
    Labels,
    Posting,
    half_even,
)
from costmeter.pricing import Contract
from costmeter.pricing.contracts import Commitment

KIND = "commit"
#: What is left of a commitment is posted under this operation.
UNUSED = "unused_commitment"
_TOKENS = frozenset(TOKEN_CLASSES)
_METERED = f"kind IN ({', '.join(repr(kind) for kind in METERED_KINDS)})"
_DAYS = (
    "SELECT day, dim, up - down, quantities FROM day_cell "
    f"WHERE org IN (SELECT org FROM org) AND day >= ? AND day < ? AND {_METERED}"
)
#: The first day of which anything is known. Each organization by itself: so cells are sorted.
_FIRST_DAY = (
    "SELECT min((SELECT day FROM day_cell WHERE day_cell.org = org.org "
    f"AND {_METERED} ORDER BY day LIMIT 1)) FROM org"
)


class Used(NamedTuple):
    """What one label tuple used of a contract on a day: nano-USD, and tokens."""

    nano: int
    tokens: int


#: (day, labels) -> what was used, and -> nano-USD to be posted beside it.
Usage = Mapping[tuple[int, Labels], Used]
Wanted = dict[tuple[int, Labels], int]


def plan(
    commitment: Commitment, paid: int, covers: int, used: Usage, closing: tuple[int, Labels] | None
) -> Wanted:
    """What a month's commitment makes of its usage. Pure.

    `paid` and `covers` are the amount and the volume of this month. `closing` is the day and
    the labels under which an unused rest is charged, None while the month goes on.
    """
    wanted: Wanted = {}
    taken = charged = 0
    by_day: dict[int, list[tuple[Labels, Used]]] = {}
    for (day, labels), one in used.items():
        by_day.setdefault(day, []).append((labels, one))
    for day in sorted(by_day):
        rows = sorted(by_day[day])
        sizes = [max(one.tokens if commitment.of_tokens else one.nano, 0) for _, one in rows]
        covered = min(sum(sizes), covers - taken)
        if covered <= 0:
            continue
        taken += covered
        # By the sum so far, so that the days add up to the whole amount.
        share = half_even(paid * taken, covers) - charged
        charged += share
        parts = spread(covered, sizes)
        borne = spread(share, parts)
        for (labels, one), size, part, nano in zip(rows, sizes, parts, borne, strict=True):
            if size:
                change = nano - half_even(one.nano * part, size)
                wanted[day, labels] = wanted.get((day, labels), 0) + change
    if closing is not None and charged != paid:
        wanted[closing] = wanted.get(closing, 0) + paid - charged
    return {key: nano for key, nano in wanted.items() if nano}


class Commitments:
    """Posts what commitments want. Used inside the write transaction only."""

    def __init__(self, booking: Booking) -> None:
        self._booking = booking
        self._connection: Connection = booking.connection

    def post(self, back: int | None = None) -> int:
        """Bring this month and the two before it to what they are worth; the postings made.

        With `back` only the month so long ago (0, 1 or 2): a large ledger's months are better
        done one by one. Late usage of an older month stays at the contract's prices. Days
        before anything was metered are left out: what they used of an amount, nobody knows.
        """
        contracts = self._booking.prices.contracts()
        committed = [one for one in contracts if one.commitment is not None]
        if not committed and not self._posted_since(0):
            return 0
        count = 0
        today = self._booking.now_ms // MS_PER_DAY
        months = _months(today)
        for first, end in months if back is None else months[-1 - back : len(months) - back]:
            wanted = self._wanted(committed, first, end, over=end <= today)
            posted = self._posted(first, end)
            count += self._settle(wanted, posted, first)
        return count

    def _wanted(
        self, committed: Sequence[Contract], first: int, end: int, *, over: bool
    ) -> dict[tuple[str, int, Labels], int]:
        (began,) = self._connection.execute(_FIRST_DAY).fetchone()
        if began is None:
            return {}
        used: dict[str, dict[tuple[int, Labels], Used]] = {one.name: {} for one in committed}
        contracts = self._booking.prices.contracts()
        edges = sorted({edge for one in contracts for edge in (one.from_ms, one.until_ms)})
        found_for: dict[tuple[int, int], Contract | None] = {}
        for day, dim, nano, text in self._connection.execute(_DAYS, (first, end)).fetchall():
            labels = self._booking.dims.numbered(dim).labels
            # Between two dates of contracts a tuple has the same one: to ask takes long.
            stretch = (dim, bisect_right(edges, day * MS_PER_DAY))
            if stretch not in found_for:
                found_for[stretch] = self._booking.prices.contract(labels, day * MS_PER_DAY)
            contract = found_for[stretch]
            if contract is None or contract.name not in used:
                continue
            tokens = sum(n for name, n in msgspec.json.decode(text).items() if name in _TOKENS)
            found = used[contract.name]
            before = found.get((day, labels), Used(0, 0))
            found[day, labels] = Used(before.nano + nano, before.tokens + tokens)
        wanted: dict[tuple[str, int, Labels], int] = {}
        for one in committed:
            if one.commitment is None:
                continue
            days = [day for day in _days_in_force(one, first, end) if day >= began]
            if not days:
                continue
            paid = one.commitment.nano * len(days) // (end - first)
            covers = one.commitment.covers * len(days) // (end - first)
            closing = (days[-1], _unused_labels(one)) if over else None
            for (day, labels), nano in plan(
                one.commitment, paid, covers, used[one.name], closing
            ).items():
                wanted[one.name, day, labels] = nano
        return wanted

    def _posted_since(self, first: int) -> bool:
        row = self._connection.execute(
            f"SELECT 1 FROM posting WHERE kind = '{KIND}' AND hour >= ? LIMIT 1",
            (first * MS_PER_DAY,),
        ).fetchone()
        return row is not None

    def _posted(self, first: int, end: int) -> dict[tuple[str, int, Labels], int]:
        found: dict[tuple[str, int, Labels], int] = {}
        for name, hour, dim, nano in self._connection.execute(
            f"SELECT id, hour, dim, nano FROM posting WHERE kind = '{KIND}' "
            "AND hour >= ? AND hour < ?",
            (first * MS_PER_DAY, end * MS_PER_DAY),
        ).fetchall():
            labels = self._booking.dims.numbered(dim).labels
            key = (name.split(":")[1], hour // MS_PER_DAY, labels)
            found[key] = found.get(key, 0) + nano
        return found

    def _settle(
        self,
        wanted: Mapping[tuple[str, int, Labels], int],
        posted: Mapping[tuple[str, int, Labels], int],
        first: int,
    ) -> int:
        number = self._count(first)
        postings: list[Posting] = []
        for key in sorted(wanted.keys() | posted.keys()):
            change = wanted.get(key, 0) - posted.get(key, 0)
            if change:
                name, day, labels = key
                hour = settlement_hour(day)
                postings.append(
                    Posting(
                        f"commit:{name}:{first}:{number + len(postings)}",
                        hour - hour % self._booking.cell_ms,
                        KIND,
                        labels,
                        change,
                        hour,
                    )
                )
        self._booking.post(postings)
        return len(postings)

    def _count(self, first: int) -> int:
        """A number that no posting of the month has had."""
        row = self._connection.execute(
            f"SELECT count(*) FROM posting WHERE kind = '{KIND}' AND hour >= ?",
            (first * MS_PER_DAY,),
        ).fetchone()
        return int(row[0])


def _unused_labels(contract: Contract) -> Labels:
    """Nobody's: which tenant did not use it cannot be told."""
    nothing = dict.fromkeys(Labels._fields, "")
    known = {
        name: value
        for name in ("provider", "account", "region")
        if not set(value := str(getattr(contract, name))) & set("*?[")
    }
    return Labels(
        **{
            **nothing,
            **known,
            "tenant_id": UNATTRIBUTED,
            "category": "llm_api",
            "operation": UNUSED,
        }
    )


def _days_in_force(contract: Contract, first: int, end: int) -> list[int]:
    return [day for day in range(first, end) if contract.active(day * MS_PER_DAY)]


def _months(today: int) -> list[tuple[int, int]]:
    """[first day, first day of the next) of the two last months and this one, UTC."""
    now = datetime.fromtimestamp(today * MS_PER_DAY / 1000, UTC)
    end = (now.replace(day=1) + timedelta(days=32)).replace(day=1)
    found = []
    for _ in range(3):
        first = (end - timedelta(days=1)).replace(day=1)
        found.append((_day(first), _day(end)))
        end = first
    return found[::-1]


def _day(at: datetime) -> int:
    return int(at.timestamp()) * 1000 // MS_PER_DAY
