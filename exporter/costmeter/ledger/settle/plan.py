"""What a scope's day is worth, and who bears it: pure, from its bill and its meters.

The value is the metered sum until every line of the bill is final, and then the bill.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from costmeter.attribution import Scope
from costmeter.ledger.settle.match import Charge, Group, Meter, match
from costmeter.ledger.settle.spread import spread
from costmeter.model import UNATTRIBUTED, BillLine, Labels

#: Postings of a settlement: the difference between a share and what was metered, and
#: what the bill says alone. Nothing else posts under these kinds.
SETTLE, BILL = "settle", "bill"
KINDS = (SETTLE, BILL)

#: Until the bill is complete the meters hold; where there are none, its latest figures do.
METERED, PROVISIONAL, FINAL = "metered", "provisional", "final"

#: (kind, labels) -> nano-USD that are to be posted beside the meters.
Wanted = Mapping[tuple[str, Labels], int]


class Share(NamedTuple):
    """A group with what each of its meters bears and each of its lines leaves over."""

    group: Group
    borne: tuple[int, ...]
    left: tuple[int, ...]


class Plan(NamedTuple):
    """`metered` and `billed` in nano-USD; `usage_billed` without taxes, credits and so on."""

    status: str
    metered: int
    billed: int
    usage_billed: int
    shares: tuple[Share, ...]
    unbilled: tuple[Meter, ...]
    others: tuple[Charge, ...]
    wanted: Wanted

    @property
    def value(self) -> int:
        return self.metered + sum(self.wanted.values())

    @property
    def unattributed(self) -> int:
        """The part of the value that no tenant bears."""
        meters = (*self.unbilled, *(meter for share in self.shares for meter in share.group.meters))
        return sum(m.nano for m in meters if m.labels.tenant_id == UNATTRIBUTED) + sum(
            nano for (_, labels), nano in self.wanted.items() if labels.tenant_id == UNATTRIBUTED
        )


def plan(scope: Scope, lines: Sequence[BillLine], meters: Sequence[Meter]) -> Plan:
    """Settle one day of a scope. `lines` are the newest of its source, on its basis."""
    charges = sorted(
        Charge(line.line, line.charge, line.labels, line.usd_nano)
        for line in lines
        if line.usd_nano is not None
    )
    metered = sum(meter.nano for meter in meters)
    billed = sum(charge.nano for charge in charges)
    usage = [charge for charge in charges if charge.charge == "usage"]
    others = tuple(charge for charge in charges if charge.charge != "usage")
    usage_billed = sum(charge.nano for charge in usage)
    status = status_of(scope, lines)
    if status == METERED:
        return Plan(status, metered, billed, usage_billed, (), tuple(meters), others, {})
    matched = match(usage, meters, scope.match_keys)
    shares = tuple(_share(group, scope.spread_up_permille) for group in matched.groups)
    wanted: dict[tuple[str, Labels], int] = {}
    for share in shares:
        for meter, borne in zip(share.group.meters, share.borne, strict=True):
            _add(wanted, SETTLE, meter.labels, borne - meter.nano)
        for charge, left in zip(share.group.charges, share.left, strict=True):
            _add(wanted, BILL, bearer(charge.labels), left)
    for meter in matched.unbilled:
        _add(wanted, SETTLE, meter.labels, -meter.nano)
    for charge in others:
        _add(wanted, BILL, bearer(charge.labels), charge.nano)
    kept = {key: nano for key, nano in wanted.items() if nano}
    return Plan(status, metered, billed, usage_billed, shares, matched.unbilled, others, kept)


def status_of(scope: Scope, lines: Sequence[BillLine]) -> str:
    """Final when every line is, and is known in USD: part of a bill is no amount."""
    if lines and all(line.maturity == FINAL and line.usd_nano is not None for line in lines):
        return FINAL
    return PROVISIONAL if lines and scope.only_billed else METERED


def bearer(labels: Labels) -> Labels:
    """Who bears what no meter explains: the tenant that the source names, or nobody."""
    return labels if labels.tenant_id else labels._replace(tenant_id=UNATTRIBUTED)


def _share(group: Group, up_permille: int) -> Share:
    amount = sum(charge.nano for charge in group.charges)
    borne = _bear(amount, group.meters, up_permille)
    over = amount - sum(borne)
    left = [0] * len(group.charges)
    if over and over == amount:
        left = [charge.nano for charge in group.charges]
    elif over:
        # Only lines that ask for money can be too much for the meters.
        left = spread(over, [max(charge.nano, 0) for charge in group.charges])
    return Share(group, tuple(borne), tuple(left))


def _bear(amount: int, meters: Sequence[Meter], up_permille: int) -> list[int]:
    """What each meter bears of the amount; the rest of it is nobody's.

    In proportion to what was metered, at most `up_permille` above it, and down without
    limit. Where some meters wait for a price, those that have one bear no more than it,
    and the others the rest, by their tokens. Where none has one, tokens decide alone.
    """
    priced = [max(meter.nano, 0) for meter in meters]
    total = sum(priced)
    if not total:
        counts = _counts(meters, ("tokens", "pieces", "requests"))
        return spread(amount, counts) if any(counts) else [0] * len(meters)
    waiting = [meter.unpriced and meter.nano <= 0 for meter in meters]
    counts = [
        count if waits else 0
        for count, waits in zip(_counts(meters, ("tokens", "pieces")), waiting, strict=True)
    ]
    if not any(counts):
        return spread(min(amount, total + total * up_permille // 1000), priced)
    known = min(amount, total)
    rest = spread(amount - known, counts)
    return [part + more for part, more in zip(spread(known, priced), rest, strict=True)]


def _counts(meters: Sequence[Meter], measures: Sequence[str]) -> list[int]:
    """The first measure that one of the meters has at all."""
    counts = [0] * len(meters)
    for measure in measures:
        counts = [max(getattr(meter, measure), 0) for meter in meters]
        if any(counts):
            break
    return counts


def _add(wanted: dict[tuple[str, Labels], int], kind: str, labels: Labels, nano: int) -> None:
    wanted[kind, labels] = wanted.get((kind, labels), 0) + nano
