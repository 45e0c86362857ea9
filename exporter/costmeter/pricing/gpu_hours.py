"""The price of a GPU's hour, and how a piece of one is divided among its classes."""

from __future__ import annotations

from collections.abc import Mapping

from costmeter.model import GPU_ENERGY, GPU_TIME_CLASSES, PIECES_PER_PRICED_UNIT, half_even
from costmeter.pricing.rates import GPU_MS, MILLION, Rate

_PER_TIME = MILLION * PIECES_PER_PRICED_UNIT[GPU_MS]
#: A price of energy is for so many times more pieces than one of time.
_ENERGY_PER_TIME = PIECES_PER_PRICED_UNIT[GPU_ENERGY] // PIECES_PER_PRICED_UNIT[GPU_MS]


def gpu_hour(rate: Rate, time_ms: int, energy_mj: int) -> int | None:
    """Nano-USD of a GPU's hour, or of what of it has come so far, in all its states.

    Time and energy are rounded once each. None when the rate has no price of a GPU.
    """
    if not time_ms and not energy_mj:
        return 0
    price = rate.prices.get(GPU_MS)
    if price is None:
        return None
    nano = rate.fee + half_even(time_ms * price, _PER_TIME)
    price = rate.prices.get(GPU_ENERGY)
    if price and energy_mj:
        nano += half_even(energy_mj * price, _PER_TIME * _ENERGY_PER_TIME)
    return nano


def gpu_parts(rate: Rate, quantities: Mapping[str, int], nano: int) -> dict[str, int]:
    """What a piece of a GPU's hour is booked at, by class; the parts add up to `nano`.

    A piece bears a difference of two rounded sums, which may be off its own price by a
    nano. It is divided in proportion to the classes' prices by largest remainder, so that
    the piece alone tells its parts; of equal ones the first class comes first.
    """
    time, energy = rate.prices.get(GPU_MS, 0), rate.prices.get(GPU_ENERGY, 0)
    weights = {
        name: quantities[name] * time * _ENERGY_PER_TIME
        for name in GPU_TIME_CLASSES
        if quantities.get(name)
    }
    if energy and quantities.get(GPU_ENERGY):
        weights[GPU_ENERGY] = quantities[GPU_ENERGY] * energy
    whole = sum(weights.values())
    if len(weights) < 2 or not whole:
        return {next(iter(weights), GPU_MS): nano}
    parts, lost = {}, []
    for place, (name, weight) in enumerate(weights.items()):
        parts[name], remainder = divmod(nano * weight, whole)
        lost.append((-remainder, place, name))
    for _, _, name in sorted(lost)[: nano - sum(parts.values())]:
        parts[name] += 1
    return parts
