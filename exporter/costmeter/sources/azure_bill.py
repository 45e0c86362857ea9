"""Answers of Azure's cost management as lines of a bill.

Azure groups by two things at a time. So usage is asked for by service and owner, some
services once more by meter, and everything that is no usage by its type. A row that another
question speaks of in detail is left out: together they are the whole bill.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from costmeter.model import Labels
from costmeter.sources.azure_meters import charge_of, model_of, service_of
from costmeter.sources.azure_query import Sum
from costmeter.sources.categories import category_of
from costmeter.sources.contract import SourceError
from costmeter.sources.gather import Charges
from costmeter.sources.owners import Owners, line_name
from costmeter.sources.reading import malformed
from costmeter.sources.tags import TagKeys

#: What usage is grouped by beside the service, and the name of that dimension.
GROUPS: Mapping[str, str] = {
    "resource_group": "ResourceGroupName",
    "subscription": "SubscriptionId",
    "location": "ResourceLocation",
    "none": "",
}
#: Which categories of services are read by meter, by the word of the option `meters`.
METERS: Mapping[str, tuple[str, ...]] = {
    "ai": ("llm_api",),
    "compute": ("cpu_compute", "gpu_compute"),
}
_DIMENSION = "Dimension"
_USAGE = ("ChargeType", ("Usage",))
#: Sums are added up in floating point over there, and not always in the same order.
_TOLERANCE = Decimal("0.01")

#: Asks for sums by (kind, name) pairs, where dimensions have the values that are named.
Asked = Callable[[Sequence[tuple[str, str]], Sequence[tuple[str, Sequence[str]]]], Iterator[Sum]]


@dataclass(frozen=True, slots=True)
class Naming:
    """Whose a line is: by `group`, one of `GROUPS`, or by the one tag of `tags`."""

    owners: Owners
    account: str
    group: str
    tags: TagKeys
    by_meter: tuple[str, ...]
    """Categories."""

    @property
    def owner(self) -> tuple[str, str] | None:
        """What the owner is asked for as."""
        if self.tags.asked:
            return "TagKey", self.tags.asked[0]
        return (_DIMENSION, GROUPS[self.group]) if GROUPS[self.group] else None

    def labels(
        self, service: str, subscription: str, said: str = "", part: str = "", meter: str = ""
    ) -> Labels:
        """`said` is the owner, as Azure says it; `part` and `meter` where they are known."""
        group = "tag" if self.tags.asked else self.group
        category = category_of(service)
        if category == "llm_api":
            model, name = model_of(meter, part), service_of(service, part, meter)
        else:
            # What a machine has inside, only its meter says.
            category, model, name = category_of(service, f"{part} {meter}"), "", service
        labels = self.owners.labels(
            model,
            project=said if group in ("resource_group", "subscription") else "",
            region=said if group == "location" else "",
            service=name,
            operation="",
        )
        account = (said if group == "subscription" else "") or self.account or subscription
        labels = labels._replace(
            account=account, category=category, purpose="inference" if category == "llm_api" else ""
        )
        return self.tags.labels(labels, {self.tags.asked[0]: said}) if group == "tag" else labels

    def detailed(self, service: str) -> bool:
        """Whether a service is read by meter."""
        return category_of(service) in self.by_meter


class Reading:
    """Reads one scope on one basis into charges."""

    def __init__(self, naming: Naming, subscription: str, charges: Charges, asked: Asked) -> None:
        self._naming = naming
        self._subscription = subscription
        self._charges = charges
        self._asked = asked
        self._usage = Decimal(0)

    def read(self) -> None:
        """Raises SourceError."""
        for service, total in self._by_owner().items():
            self._by_meter(service, total)
        self._others()

    def _by_owner(self) -> Mapping[str, Decimal]:
        """Usage by service and owner; services that are read by meter are left out: they are
        returned with what they are charged."""
        owner = self._naming.owner
        column = "" if owner is None else "TagValue" if owner[0] == "TagKey" else owner[1]
        left_out: dict[str, Decimal] = {}
        groups = [(_DIMENSION, "ServiceName"), *([owner] if owner else [])]
        for row in self._asked(groups, [_USAGE]):
            service = _said(row, "ServiceName")
            self._usage += row.amount
            if self._naming.detailed(service):
                left_out[service] = left_out.get(service, Decimal(0)) + row.amount
                continue
            said = _said(row, column) if column else ""
            labels = self._naming.labels(service, self._subscription, said)
            self._add(row, line_name(service, said), labels, charge_of("Usage", service))
        return left_out

    def _by_meter(self, service: str, total: Decimal) -> None:
        groups = [(_DIMENSION, "MeterSubCategory"), (_DIMENSION, "Meter")]
        for row in self._asked(groups, [_USAGE, ("ServiceName", (service,))]):
            part, meter = _said(row, "MeterSubCategory"), _said(row, "Meter")
            labels = self._naming.labels(service, self._subscription, part=part, meter=meter)
            self._add(row, line_name(service, part, meter), labels, charge_of("Usage", service))
            total -= row.amount
        _agree(total, f"the sum of {service} by meter")

    def _others(self) -> None:
        usage = self._usage
        for row in self._asked([(_DIMENSION, "ChargeType"), (_DIMENSION, "ServiceName")], []):
            kind, service = _said(row, "ChargeType"), _said(row, "ServiceName")
            if kind.lower() == "usage":
                usage -= row.amount
                continue
            labels = self._naming.labels(service, self._subscription)
            self._add(row, line_name(kind, service), labels, charge_of(kind, service))
        _agree(usage, "the sum of all usage")

    def _add(self, row: Sum, name: str, labels: Labels, charge: str) -> None:
        # Most free groups are noise; those that a meter may speak of say that it was free.
        if row.amount or labels.category in ("llm_api", "gpu_compute"):
            self._charges.add(row.start_ms, name, labels, row.amount, row.currency, charge)


def _agree(difference: Decimal, what: str) -> None:
    """Two questions about the same must give the same, or a part of it would be lost."""
    if abs(difference) > _TOLERANCE:
        text = f"{what} differs by {difference:f} from what Azure said a moment ago"
        raise SourceError("server", text)


def _said(row: Sum, column: str) -> str:
    found = row.values.get(column.lower())
    if found is None:
        raise malformed("columns", f"{column} is missing")
    return found
