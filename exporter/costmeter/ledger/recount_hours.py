"""Recomputes resources' hours: what their events hold of them, and what that is worth.

Written apart from the booking on purpose: an error in one shows against the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from sqlite3 import Connection

from costmeter.ledger.differences import Difference, Sums, compare
from costmeter.model import GPU_ENERGY, GPU_TIME_CLASSES, MS_PER_HOUR, PIECES_PER_PRICED_UNIT
from costmeter.pricing.rates import FEE, Rate

_PRICED_UNITS = 1_000_000
_ENERGY_UNIT = PIECES_PER_PRICED_UNIT[GPU_ENERGY]


class Hours:
    """`take` every event of a resource as it stands, then ask for the `differences`."""

    def __init__(self, connection: Connection, rates: Mapping[int, Rate]) -> None:
        self._connection = connection
        self._rates = rates
        self._held: dict[tuple[str, int], _Held] = {}

    def take(
        self, resource: str, at_ms: int, rate: int | None, quantities: Mapping[str, int],
        nano: int | None,
    ) -> None:  # fmt: skip
        """One event; `rate` and `nano` are None where it has no price."""
        held = self._held.setdefault((resource, at_ms - at_ms % MS_PER_HOUR), _Held({}))
        time_ms, energy_mj = held.parts.get(rate or 0, (0, 0))
        time_ms += sum(quantities.get(name, 0) for name in GPU_TIME_CLASSES)
        held.parts[rate or 0] = (time_ms, energy_mj + quantities.get(GPU_ENERGY, 0))
        held.nano += nano or 0

    def differences(self) -> Iterator[Difference]:
        """What each hour holds by rate, that its nano is the price of that, and that its events
        together bear it, but for what the hour still owes."""
        stored: Sums = {}
        computed: Sums = {}
        worth: dict[tuple[str, int], int] = {}
        owed: dict[tuple[str, int], int] = {}
        for resource, hour, rate, time_ms, energy_mj, nano in self._connection.execute(
            "SELECT resource, hour, rate, quantity, energy_mj, nano FROM accrual"
        ):
            stored[(resource, hour, rate)] = {"time_ms": time_ms, "energy_mj": energy_mj}
            if not rate:
                owed[resource, hour] = nano
                continue
            whole = _worth(self._rates[rate].prices, time_ms, energy_mj)
            if whole != nano:
                yield Difference("accrual", f"{resource} {hour}", "nano", nano, whole)
            worth[resource, hour] = worth.get((resource, hour), 0) + whole
        for (resource, hour), held in self._held.items():
            for rate, (time_ms, energy_mj) in held.parts.items():
                computed[(resource, hour, rate)] = {"time_ms": time_ms, "energy_mj": energy_mj}
        for key in sorted(self._held.keys() | worth.keys() | owed.keys()):
            borne = owed.get(key, 0) + (self._held[key].nano if key in self._held else 0)
            whole = worth.get(key, 0)
            if borne != whole:
                yield Difference("accrual", f"{key[0]} {key[1]}", "events' nano", borne, whole)
        yield from compare("accrual", stored, computed)


@dataclass(slots=True)
class _Held:
    """What the events of an hour hold: by rate (0: none) time and energy; and what they bear."""

    parts: dict[int, tuple[int, int]]
    nano: int = 0


def _worth(prices: Mapping[str, int], time_ms: int, energy_mj: int) -> int:
    """The price of so much of a GPU's hour: time and energy, each rounded half to even once."""
    if not time_ms and not energy_mj:
        return 0
    worth = round(_exact(prices, "gpu_ms", time_ms)) + round(_exact(prices, GPU_ENERGY, energy_mj))
    return worth + round(Fraction(prices.get(FEE, 0), _PRICED_UNITS))


def parts_of_piece(
    prices: Mapping[str, int], quantities: Mapping[str, int], nano: int
) -> dict[str, int]:
    """A piece's nano by class: in proportion to their prices, by largest remainder."""
    per_hour, per_kwh = prices.get("gpu_ms", 0), prices.get(GPU_ENERGY, 0)
    worth = [(name, per_hour * _ENERGY_UNIT * quantities.get(name, 0)) for name in GPU_TIME_CLASSES]
    if per_kwh:
        worth.append((GPU_ENERGY, per_kwh * MS_PER_HOUR * quantities.get(GPU_ENERGY, 0)))
    worth = [one for one in worth if quantities.get(one[0])]
    whole = sum(amount for _, amount in worth)
    if len(worth) <= 1 or not whole:
        return {worth[0][0] if worth else "gpu_ms": nano}
    parts = {name: nano * amount // whole for name, amount in worth}
    missing = nano - sum(parts.values())
    by_loss = sorted(worth, key=lambda one: nano * one[1] % whole, reverse=True)
    for name, _ in by_loss[:missing]:
        parts[name] += 1
    return parts


def _exact(prices: Mapping[str, int], name: str, pieces: int) -> Fraction:
    return Fraction(
        pieces * prices.get(name, 0), _PRICED_UNITS * PIECES_PER_PRICED_UNIT.get(name, 1)
    )
