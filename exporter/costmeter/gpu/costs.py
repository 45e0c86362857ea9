"""What GPUs cost, counted on their own machine: the estimate that its page shows.

The ledger has the exact figures; this one is there at once and needs no server. Amounts are
whole numbers of nano-USD times `UNITS`, so that the parts of a GPU add up to its price
exactly, however many pieces there were. It only ever counts upward.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple, Protocol

from costmeter.gpu.figures import (
    OTHER,
    Figures,
    GpuFigures,
    OwnerFigures,
    holder_labels,
    now_labels,
    owner_labels,
)
from costmeter.gpu.segments import Accrued
from costmeter.gpu.split import UNITS, Amount, Part, Plan
from costmeter.model import MS_PER_HOUR
from costmeter.segment import Placement

#: An owner who left is shown for this long, so that no scrape misses the last of it.
LINGER_MS = 900_000

#: More owners than this at a time are counted together, as `_other`.
MOST_SERIES = 2_000

#: How long a price is taken to hold before it is asked for again.
PRICE_HOLDS_MS = 60_000

_MJ_PER_KWH = 3_600_000_000


class Price(Protocol):
    @property
    def nano_per_gpu_hour(self) -> int: ...
    @property
    def nano_per_kwh(self) -> int | None: ...


class Prices(Protocol):
    """The price of a GPU at a time; None when nobody knows it. NodePrices is one."""

    def of(self, placement: Placement, gpu_model: str, at_ms: int) -> Price | None: ...


class Energy(NamedTuple):
    """What energy costs here. `nano_per_kwh` is the meter's tariff, None where a price says it
    or nobody does; a building draws `pue` times what its machines do."""

    nano_per_kwh: int | None = None
    pue: Decimal = Decimal(1)
    grams_co2_per_kwh: Decimal | Callable[[], Decimal | None] | None = None

    def grams(self) -> Decimal | None:
        given = self.grams_co2_per_kwh
        return given() if callable(given) else given


class Rates(NamedTuple):
    """In force in [from_ms, until_ms). `nano` is a GPU-hour's price; `charged_kwh` is part of
    it, `kwh` is what a kilowatt-hour costs in any case, `grams_nano` the CO2 of one."""

    placement: Placement
    from_ms: int
    until_ms: int
    nano: int | None
    charged_kwh: int
    kwh: int | None
    grams_nano: int | None

    def cost(self, time: int, energy: int) -> int:
        """Of time and energy in UNITS, in nano-USD times `_FINE`; 0 without a price."""
        return time * (self.nano or 0) * _FINE_OF_AN_HOUR + energy * self.charged_kwh


#: Money is kept in nano-USD times this, so that no piece of time or energy is rounded.
_FINE = _MJ_PER_KWH * UNITS
_FINE_OF_AN_HOUR = _MJ_PER_KWH // MS_PER_HOUR


@dataclass(slots=True)
class _Series:
    """One owner's counters: used, idle, unallocated; time and energy in UNITS. Money, as CO2,
    is None before there was a rate."""

    labels: tuple[str, ...]
    allocated: bool
    seen_ms: int = 0
    used: int = 0
    idle: int = 0
    energy: int | None = None
    money: list[int] | None = None
    energy_money: int | None = None
    co2: int | None = None

    def figures(self) -> OwnerFigures:
        energy, money = self.energy, self.money
        used, idle, unallocated = (
            (None, None, None) if money is None else (amount // _FINE for amount in money)
        )
        return OwnerFigures(
            self.labels,
            self.allocated,
            self.used / UNITS,
            self.idle / UNITS,
            None if energy is None else energy / UNITS,
            used,
            idle,
            unallocated,
            None if self.energy_money is None else self.energy_money // _FINE,
            None if self.co2 is None else self.co2 // (1_000 * _FINE),
        )


@dataclass(slots=True)
class _Gpu:
    labels: tuple[str, ...]
    rates: Rates | None = None
    plan: Plan | None = None
    series: list[_Series] = field(default_factory=list)
    unallocated: int = 0
    unobserved_ms: int = 0
    unobserved_money: int | None = None
    money: int | None = None
    unpriced_ms: int = 0


_NOT_SAID = Energy()


class Costs:
    """Counts along with the meter; whoever calls it holds the meter's lock.

    A GPU without a known price has no money, and its time counts as unpriced.
    """

    def __init__(
        self,
        prices: Prices | None = None,
        energy: Energy = _NOT_SAID,
        *,
        linger_ms: int = LINGER_MS,
        most_series: int = MOST_SERIES,
    ) -> None:
        self._prices = prices
        self._energy = energy
        self._linger_ms = linger_ms
        self._most_series = most_series
        self._series: dict[tuple[str, ...], _Series] = {}
        self._gpus: dict[str, _Gpu] = {}
        self._tidied_ms = 0

    def change(self, prices: Prices | None, energy: Energy) -> None:
        """From now on count by these."""
        self._prices, self._energy = prices, energy
        for gpu in self._gpus.values():
            gpu.rates = None

    def add(self, accrued: Accrued) -> None:
        """Count a piece of time."""
        reading = accrued.reading
        labels = (str(reading.index), reading.uuid, reading.model)
        gpu = self._gpus.get(reading.uuid)
        if gpu is None:
            gpu = self._gpus[reading.uuid] = _Gpu(labels)
        if gpu.labels != labels:
            gpu.labels, gpu.plan = labels, None
        rates = self._rates(gpu, accrued)
        if accrued.unobserved_ms:
            _add_unobserved(gpu, rates, accrued)
        if not accrued.amounts:
            return
        if gpu.plan is not accrued.plan:
            gpu.plan = accrued.plan
            gpu.series = [self._of(gpu, part) for part in accrued.plan.parts]
        told = reading.energy_mj is not None
        steady_ms = reading.monotonic_ms
        whole = energy = 0
        for series, amount in zip(gpu.series, accrued.amounts, strict=True):
            series.seen_ms = steady_ms
            _add(series, amount, rates, told=told)
            gpu.unallocated += amount.unallocated
            whole += amount.used + amount.idle + amount.unallocated
            energy += amount.energy_used + amount.energy_rest
        if rates.nano is None:
            gpu.unpriced_ms += whole // UNITS
        else:
            gpu.money = (gpu.money or 0) + rates.cost(whole, energy)

    def tidy(self, steady_ms: int) -> None:
        """Drop the owners who left some time ago."""
        if steady_ms - self._tidied_ms < min(PRICE_HOLDS_MS, self._linger_ms):
            return
        self._tidied_ms = steady_ms
        left = [
            key
            for key, series in self._series.items()
            if steady_ms - series.seen_ms > self._linger_ms
        ]
        for key in left:
            del self._series[key]
        if left:
            # A GPU that was lost comes back to counters that begin anew.
            for gpu in self._gpus.values():
                gpu.plan = None

    def figures(self, plans: Mapping[str, Plan | None]) -> Figures:
        """What stands now; `plans` say how each GPU is divided at this moment."""
        gpus = {}
        now: dict[tuple[str, ...], None] = {}
        for uuid, gpu in self._gpus.items():
            plan, money = plans.get(uuid), gpu.unobserved_money
            gpus[uuid] = GpuFigures(
                gpu.labels,
                holder_labels(plan and plan.holder()),
                plan.allocated_ratio() if plan else None,
                gpu.unallocated / UNITS,
                gpu.unobserved_ms,
                gpu.unpriced_ms,
                None if money is None else money // _FINE,
                None if gpu.money is None else gpu.money // _FINE,
                gpu.rates.nano if gpu.rates else None,
            )
            if plan:
                now.update((now_labels(uuid, part), None) for part in plan.parts if part.allocated)
        owners = tuple(series.figures() for series in self._series.values())
        return Figures(gpus, owners, tuple(now))

    def _of(self, gpu: _Gpu, part: Part) -> _Series:
        key = (*gpu.labels, *owner_labels(part))
        found = self._series.get(key)
        if found is None and part.allocated and len(self._series) >= self._most_series:
            key = (*gpu.labels, part.profile, *[OTHER] * 5)
            found = self._series.get(key)
        if found is None:
            found = self._series[key] = _Series(key, part.allocated)
        return found

    def _rates(self, gpu: _Gpu, accrued: Accrued) -> Rates:
        at_ms, placement, rates = accrued.start_ms, accrued.placement, gpu.rates
        if (
            rates is None
            or rates.placement is not placement
            or not rates.from_ms <= at_ms < rates.until_ms
        ):
            price = self._prices and self._prices.of(placement, gpu.labels[2], at_ms)
            charged = price.nano_per_kwh if price else None
            tariff, pue = self._energy.nano_per_kwh, self._energy.pue
            grams = self._energy.grams()
            rates = gpu.rates = Rates(
                placement,
                at_ms,
                at_ms + PRICE_HOLDS_MS,
                price.nano_per_gpu_hour if price else None,
                charged or 0,
                charged if tariff is None else round(tariff * pue),
                None if grams is None else round(grams * pue * 10**9),
            )
        return rates


def _add(series: _Series, amount: Amount, rates: Rates, *, told: bool) -> None:
    used, idle, unallocated, energy_used, energy_rest = amount
    series.used += used
    series.idle += idle
    energy = energy_used + energy_rest
    if told:
        series.energy = (series.energy or 0) + energy
        if rates.kwh is not None:
            series.energy_money = (series.energy_money or 0) + energy * rates.kwh
        if rates.grams_nano is not None:
            series.co2 = (series.co2 or 0) + energy * rates.grams_nano
    if rates.nano is None:
        return
    if series.money is None:
        series.money = [0, 0, 0]
    series.money[0] += rates.cost(used, energy_used)
    series.money[1 if series.allocated else 2] += rates.cost(idle + unallocated, energy_rest)


def _add_unobserved(gpu: _Gpu, rates: Rates, accrued: Accrued) -> None:
    gpu.unobserved_ms += accrued.unobserved_ms
    if rates.nano is None:
        gpu.unpriced_ms += accrued.unobserved_ms
        return
    cost = rates.cost(accrued.unobserved_ms * UNITS, accrued.unobserved_mj * UNITS)
    gpu.unobserved_money = (gpu.unobserved_money or 0) + cost
    gpu.money = (gpu.money or 0) + cost
