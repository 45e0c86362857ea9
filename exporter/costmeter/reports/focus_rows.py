"""The ledger as FOCUS's rows: a day, a label tuple and a class of usage each.

What was metered, corrected and repriced is one row, as it stands now. What settlement added
or took away is an adjustment, and what only a bill says is a row for each of its charges. So
the costs of all rows add up to the ledger, to the nano.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import groupby
from sqlite3 import Connection
from typing import NamedTuple

import msgspec

from costmeter.ledger.settle.bills import newest_lines
from costmeter.ledger.settle.plan import BILL, SETTLE, bearer
from costmeter.ledger.settle.spread import spread
from costmeter.metrics.text import decimal_text
from costmeter.model import GPU_ENERGY, MS_PER_DAY, TOKEN_CLASSES, Labels
from costmeter.reports.focus import CHARGES, DAYS, NO_SERVICE, SERVICES, unit_of

#: Kinds of entries that events make.
METERED = frozenset({"usage", "unpriced", "correct", "reprice"})
_UNKNOWN = "unknown"
_TAGS = ("tenant_id", "team", "project", "feature", "environment", "purpose", "operation")
_TOKENS = frozenset(TOKEN_CLASSES)
_FAMILY = {"llm_api": "LLM API", "gpu_compute": "GPU compute"}

Row = dict[str, str | None]


class Charge(NamedTuple):
    """One row before it is written. Amounts are in nano-USD, the quantity in pieces."""

    day: int
    labels: Labels
    scope: str
    kind: str
    charge: str
    nano: int
    list_nano: int
    name: str = ""
    quantity: int | None = None


class Charges:
    """Reads a ledger by day; within a read transaction."""

    def __init__(self, connection: Connection, since_day: int, until_day: int) -> None:
        self._connection = connection
        self._span = (since_day, until_day)
        self._dims = {
            number: (scope, Labels(*row))
            for number, scope, *row in connection.execute(
                f"SELECT dim, scope, {', '.join(Labels._fields)} FROM dim"
            )
        }
        self._waiting = self._unpriced()
        self.unpriced_requests = 0
        """Calls without a price that no row tells of; whole after `read`."""

    def read(self) -> Iterator[Charge]:
        """Every charge of [since_day, until_day), by day."""
        rows = self._connection.execute(
            "SELECT day, dim, kind, requests, up - down, quantities, nanos FROM day_cell "
            "WHERE day >= ? AND day < ? ORDER BY day, dim, kind, status, booked",
            self._span,
        )
        for day, of_day in groupby(rows, key=lambda row: int(row[0])):
            saved = self._saved(day)
            billed = self._billed(day)
            for dim, found in groupby(of_day, key=lambda row: int(row[1])):
                yield from self._charges(day, dim, found, saved, billed)

    def _charges(
        self,
        day: int,
        dim: int,
        found: Iterator[tuple[int, int, str, int, int, str, str]],
        saved: Mapping[int, int],
        billed: Mapping[Labels, Mapping[str, int]],
    ) -> Iterator[Charge]:
        scope, labels = self._dims[dim]
        requests = 0
        quantities: dict[str, int] = {}
        nanos: dict[str, int] = {}
        posted: dict[str, int] = {}
        for _, _, kind, calls, net, pieces, costs in found:
            if kind not in METERED:
                posted[kind] = posted.get(kind, 0) + net
                continue
            requests += calls
            for sums, text in ((quantities, pieces), (nanos, costs)):
                for name, amount in msgspec.json.decode(text).items():
                    sums[name] = sums.get(name, 0) + amount
        unpriced = self._waiting.get((day, dim), 0)
        self.unpriced_requests += unpriced
        if not any(nanos.values()) and unpriced >= requests:
            quantities = {}  # none of it has a price, and a cost of 0 would say it was free
        base = Charge(day, labels, scope, "usage", "usage", 0, 0)
        yield from _metered(base, quantities, nanos, saved.get(dim, 0))
        for kind, nano in sorted(posted.items()):
            for charge, part in _split(kind, nano, billed.get(labels, {})):
                yield base._replace(kind=kind, charge=charge, nano=part, list_nano=part)

    def _saved(self, day: int) -> dict[int, int]:
        """What a day's usage would cost more at list prices, by label tuple."""
        return dict(
            self._connection.execute(
                "SELECT dim, sum(nano) FROM saving WHERE org IN (SELECT org FROM org) "
                "AND hour >= ? AND hour < ? GROUP BY dim",
                (day * MS_PER_DAY, (day + 1) * MS_PER_DAY),
            )
        )

    def _unpriced(self) -> dict[tuple[int, int], int]:
        """Calls that have no price now, by day and label tuple."""
        since_day, until_day = self._span
        return {
            (day, dim): count
            for day, dim, count in self._connection.execute(
                "SELECT e.at_ms / :day AS day, u.dim, count(*) FROM unpriced AS u "
                "JOIN usage_event AS e USING (event) "
                "WHERE e.at_ms >= :since AND e.at_ms < :until GROUP BY 1, 2",
                {
                    "day": MS_PER_DAY,
                    "since": since_day * MS_PER_DAY,
                    "until": until_day * MS_PER_DAY,
                },
            )
        }

    def _billed(self, day: int) -> dict[Labels, dict[str, int]]:
        """What the bills that settle a day say beside usage, by who bears it."""
        found: dict[Labels, dict[str, int]] = {}
        for scope, source, basis in self._connection.execute(
            "SELECT scope, source, basis FROM settlement AS s WHERE day = ? AND rev = "
            "(SELECT max(rev) FROM settlement WHERE scope = s.scope AND day = s.day) "
            "ORDER BY scope",
            (day,),
        ).fetchall():
            for line in newest_lines(self._connection, scope, day, source, basis):
                if line.charge == "usage" or not line.usd_nano:
                    continue
                sums = found.setdefault(bearer(line.labels), {})
                sums[line.charge] = sums.get(line.charge, 0) + line.usd_nano
        return found


def _metered(
    base: Charge, quantities: Mapping[str, int], nanos: Mapping[str, int], saved: int
) -> Iterator[Charge]:
    """A charge for each class; what has an amount and no quantity any more is an adjustment."""
    names = sorted(
        name for name in quantities.keys() | nanos.keys()
        # Energy without an amount of its own is in the price of the GPU's time.
        if nanos.get(name, 0) or (quantities.get(name, 0) > 0 and name != GPU_ENERGY)
    )  # fmt: skip
    if not names:
        return
    weights = [max(nanos.get(name, 0), 0) for name in names]
    if not any(weights):
        weights = [1] * len(names)
    for name, more in zip(names, spread(saved, weights), strict=True):
        nano = nanos.get(name, 0)
        pieces = quantities.get(name, 0)
        made = base._replace(name=name, nano=nano, list_nano=nano + more)
        if pieces > 0:
            yield made._replace(quantity=pieces)
        else:
            yield made._replace(charge="adjustment", list_nano=nano + more)


def _split(kind: str, nano: int, said: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    """What a posting is for. A bill's taxes, credits and so on are told from its usage."""
    if kind == SETTLE:
        parts = {"adjustment": nano}
    elif kind == BILL:
        rest = nano - sum(said.values())
        parts = {**said, "usage" if rest > 0 else "adjustment": rest}
        if "adjustment" in said and rest <= 0:
            parts["adjustment"] = said["adjustment"] + rest
    else:
        parts = {"fixed" if nano > 0 else "adjustment": nano}
    for charge, part in sorted(parts.items()):
        if part:
            yield charge, part


def row_of(charge: Charge, version: str) -> Row:
    """A charge in the columns of a version; amounts and times as text, None for null."""
    labels = charge.labels
    provider = labels.provider or _UNKNOWN
    category, frequency = CHARGES[charge.charge]
    family, inner = SERVICES.get(labels.category, NO_SERVICE)
    counted = category in ("Usage", "Purchase")
    unit = unit_of(charge.name) if charge.quantity is not None else DAYS
    pieces = 1 if charge.quantity is None else charge.quantity
    billed = charge.kind not in METERED and charge.kind != SETTLE
    service = labels.service if billed and labels.service else _service(labels, provider)
    sku = "/".join(part for part in (provider, labels.model or service, charge.name) if part)
    day = datetime.fromtimestamp(charge.day * 86_400, UTC)
    month = day.replace(day=1)
    cost = _usd(charge.nano)
    row: Row = {
        "BillingAccountId": labels.account or _UNKNOWN,
        "BillingAccountName": None,
        "BillingPeriodStart": _time(month),
        "BillingPeriodEnd": _time(_next_month(month)),
        "ChargePeriodStart": _time(day),
        "ChargePeriodEnd": _time(datetime.fromtimestamp((charge.day + 1) * 86_400, UTC)),
        "ChargeCategory": category,
        "ChargeClass": None,
        "ChargeDescription": _description(charge, service),
        "ChargeFrequency": frequency,
        "BilledCost": cost,
        "EffectiveCost": cost,
        "ListCost": _usd(charge.list_nano),
        "ContractedCost": cost,
        "BillingCurrency": "USD",
        "ConsumedQuantity": _pieces(pieces, unit.consumed_digits) if category == "Usage" else None,
        "ConsumedUnit": unit.consumed if category == "Usage" else None,
        "PricingQuantity": _pieces(pieces, unit.priced_digits) if counted else None,
        "PricingUnit": unit.priced if counted else None,
        "CommitmentDiscountStatus": None,
        "InvoiceId": None,
        "InvoiceIssuerName": provider,
        "RegionId": labels.region or None,
        "RegionName": labels.region or None,
        "ServiceCategory": family,
        "ServiceSubcategory": inner,
        "ServiceName": service,
        "SkuId": sku if counted else None,
        "SkuMeter": (charge.name or "daily charge") if counted else None,
        "SkuPriceId": sku if counted else None,
        "SkuPriceDetails": json.dumps({"x_Class": charge.name})
        if counted and charge.name
        else None,
        "Tags": _tags(labels, billed=billed),
        "x_Category": labels.category or _UNKNOWN,
        "x_Kind": charge.kind,
        "x_Model": labels.model or None,
        "x_Scope": charge.scope,
    }
    if version == "1.2":
        row |= {"ProviderName": provider, "PublisherName": provider}
    else:
        row |= {
            "ServiceProviderName": provider,
            "HostProviderName": provider,
            "InvoiceDetailId": None,
        }
    return row


def _service(labels: Labels, provider: str) -> str:
    """A metered call's own `service` is the application's: that is a tag."""
    family = _FAMILY.get(labels.category, labels.category.replace("_", " ") or "service")
    return f"{provider} {family}"


def _description(charge: Charge, service: str) -> str:
    what = charge.labels.model or service
    if charge.kind == SETTLE:
        return f"{what}: the bill less what was metered"
    if charge.name:
        unit = "tokens" if charge.name in _TOKENS else ""
        return " ".join(part for part in (f"{what}:", charge.name, unit) if part)
    return f"{what}: {charge.charge}"


def _tags(labels: Labels, *, billed: bool) -> str | None:
    names = _TAGS if billed else (*_TAGS, "service")
    tags = {name: value for name in names if (value := getattr(labels, name))}
    return json.dumps(tags, sort_keys=True, ensure_ascii=False) if tags else None


def _usd(nano: int) -> str:
    return decimal_text(nano, 9).decode()


def _pieces(count: int, digits: int) -> str:
    return decimal_text(count, digits).decode()


def _time(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _next_month(month: datetime) -> datetime:
    return month.replace(year=month.year + month.month // 12, month=month.month % 12 + 1)
