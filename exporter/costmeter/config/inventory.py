"""Inventory: infrastructure that no bill is connected for, by its list."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated

from msgspec import Struct

from costmeter.config.currencies import MONEY, OPTIONAL_MONEY, OptionalExact
from costmeter.config.fixed_costs import Entry
from costmeter.config.kinds import Choice, Exact, Kind
from costmeter.config.records import Records
from costmeter.config.spec import Setting
from costmeter.config.values import LABEL, OPTIONAL_LABEL

#: The feed that inventory counts as in scopes.
FEED = "inventory"
ON_DEMAND, RESERVED, SPOT = "on_demand", "reserved", "spot"
#: What is taken off the price on demand where no other price is known.
DISCOUNTS = {ON_DEMAND: Decimal(0), RESERVED: Decimal(40), SPOT: Decimal(70)}
TRANSFERS = (
    "internet_egress", "inter_region", "inter_zone", "nat", "load_balancer", "private_link", "cdn",
    "vpn", "other",
)  # fmt: skip
_NUMBER: Kind[Decimal] = Exact("a number", "a number such as 3 or 0.5", 10**9)
_OPTIONAL_NUMBER: Kind[Decimal] = OptionalExact("a number", "a number such as 3000", 10**9)
_DISCOUNT: Kind[Decimal] = OptionalExact(
    "a percentage", "a number over 0 and up to 100, such as 40", 100
)


class Placed(Entry, frozen=True):
    """Something that a provider charges for."""

    provider: Annotated[str, Setting(LABEL, "The provider, such as aws.", required=True)] = ""
    account: Annotated[str, Setting(OPTIONAL_LABEL, "The provider's account, for scopes.")] = ""
    region: Annotated[str, Setting(OPTIONAL_LABEL, "The region.")] = ""


class Compute(Placed, frozen=True):
    """Machines or GPUs by the hour."""

    instance_type: Annotated[str, Setting(OPTIONAL_LABEL, "The machine, such as m7i.xlarge.")] = ""
    gpu: Annotated[
        str,
        Setting(
            OPTIONAL_LABEL,
            "The card, such as A100-80GB: `count` counts cards, and without a price here the "
            "price list says what one costs.",
        ),
    ] = ""
    count: Annotated[Decimal, Setting(_NUMBER, "How many machines, or cards with `gpu`.")] = (
        Decimal(1)
    )
    purchase: Annotated[str, Setting(Choice(ON_DEMAND, RESERVED, SPOT), "How they are bought.")] = (
        ON_DEMAND
    )
    hours_per_month: Annotated[
        Decimal,
        Setting(Exact("a number of hours", "a number up to 744, such as 730", 744),
                "Hours that each runs in a month."),
    ] = Decimal(730)  # fmt: skip
    price_per_hour: Annotated[
        int | None,
        Setting(OPTIONAL_MONEY, "What an hour of one costs as bought; nothing is taken off it."),
    ] = None
    on_demand_per_hour: Annotated[
        int | None,
        Setting(OPTIONAL_MONEY, "What an hour of one costs on demand, before the discount."),
    ] = None
    discount_percent: Annotated[
        Decimal | None,
        Setting(
            _DISCOUNT,
            "What is taken off the price on demand. Empty: 40 for reserved, 70 for spot.",
            unit="percent",
        ),
    ] = None

    @property
    def discount(self) -> Decimal:
        return DISCOUNTS[self.purchase] if self.discount_percent is None else self.discount_percent

    def mistakes(self) -> Iterator[tuple[str, str]]:
        yield from Entry.mistakes(self)
        if self.price_per_hour is None and self.on_demand_per_hour is None and not self.gpu:
            yield "price_per_hour", "is missing; write it, or on_demand_per_hour, or gpu"
        if self.price_per_hour is not None:
            for key in ("on_demand_per_hour", "discount_percent"):
                if getattr(self, key) is not None:
                    yield key, "stands beside price_per_hour, which is final; keep one of them"
        listed = self.price_per_hour is None and self.on_demand_per_hour is None
        if listed and self.currency != "USD":
            yield "currency", "the price list is in USD; write a price, or remove the currency"


class Storage(Placed, frozen=True):
    kind: Annotated[str, Setting(OPTIONAL_LABEL, "The class of storage, such as gp3.")] = ""
    gb: Annotated[Decimal, Setting(_NUMBER, "How many GB.", required=True)] = Decimal(1)
    price_per_gb_month: Annotated[
        int, Setting(MONEY, "What a GB costs a month.", required=True)
    ] = 1
    iops: Annotated[
        Decimal | None, Setting(_OPTIONAL_NUMBER, "Provisioned IOPS that are paid for.")
    ] = None
    price_per_iops_month: Annotated[
        int | None, Setting(OPTIONAL_MONEY, "What one of them costs a month.")
    ] = None

    def mistakes(self) -> Iterator[tuple[str, str]]:
        yield from Entry.mistakes(self)
        if self.iops is not None and self.price_per_iops_month is None:
            yield "price_per_iops_month", "is missing; write it, or remove iops"
        if self.iops is None and self.price_per_iops_month is not None:
            yield "iops", "is missing; write it, or remove price_per_iops_month"


class Network(Placed, frozen=True):
    transfer: Annotated[str, Setting(Choice(*TRANSFERS), "Where the data goes.", required=True)] = (
        "other"
    )
    gb_per_month: Annotated[Decimal, Setting(_NUMBER, "How many GB a month.", required=True)] = (
        Decimal(1)
    )
    price_per_gb: Annotated[int, Setting(MONEY, "What a GB costs.", required=True)] = 1


class Managed(Placed, frozen=True):
    service: Annotated[
        str, Setting(OPTIONAL_LABEL, "The service, as scopes match it. Empty: the name.")
    ] = ""
    amount: Annotated[int, Setting(MONEY, "What it costs a month.", required=True)] = 1


class Inventory(Struct, frozen=True):
    compute: Annotated[
        tuple[Compute, ...], Setting(Records(Compute), "Machines and GPUs by the hour.")
    ] = ()
    storage: Annotated[
        tuple[Storage, ...], Setting(Records(Storage), "Storage by the GB-month, with IOPS.")
    ] = ()
    network: Annotated[tuple[Network, ...], Setting(Records(Network), "Traffic by the GB.")] = ()
    services: Annotated[
        tuple[Managed, ...], Setting(Records(Managed), "Managed services by the month.")
    ] = ()
