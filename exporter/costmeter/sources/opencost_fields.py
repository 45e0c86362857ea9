"""Which fields of an OpenCost allocation are which cost and which usage."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from costmeter.model import MS_PER_HOUR
from costmeter.sources.reading import Row, amount, malformed

_MIB = 1 << 20
#: OpenCost computes in doubles. What lies below is noise, and no figure is longer.
_FINEST = Decimal("1e-18")
_MOST_PIECES = 10**17

TOTAL = "totalCost"
#: A kind of cost: its category, and the fields that add up to it.
COSTS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "cpu": ("cpu_compute", ("cpuCost", "cpuCostAdjustment")),
    "memory": ("memory", ("ramCost", "ramCostAdjustment")),
    "storage": ("storage", ("pvCost", "pvCostAdjustment")),
    "network": (
        "network",
        (
            "networkCost",
            "networkCostAdjustment",
            "loadBalancerCost",
            "loadBalancerCostAdjustment",
        ),
    ),
    "gpu": ("gpu_compute", ("gpuCost", "gpuCostAdjustment")),
    "shared": ("managed_services", ("sharedCost",)),
    "external": ("managed_services", ("externalCost",)),
}


class Meter(NamedTuple):
    """A field of usage: what it is called in prices, and how many pieces one of it has."""

    field: str
    quantity: str
    model: str
    category: str
    pieces: Fraction


USAGE: Mapping[str, Meter] = {
    "cpu": Meter("cpuCoreHours", "cpu_core_ms", "cpu", "cpu_compute", Fraction(MS_PER_HOUR)),
    "memory": Meter(
        "ramByteHours", "memory_mib_ms", "memory", "memory", Fraction(MS_PER_HOUR, _MIB)
    ),
    "storage": Meter(
        "pvByteHours", "storage_mib_ms", "storage", "storage", Fraction(MS_PER_HOUR, _MIB)
    ),
    "network": Meter("networkTransferBytes", "network_bytes", "network", "network", Fraction(1)),
    "gpu": Meter("gpuHours", "gpu_ms", "gpu", "gpu_compute", Fraction(MS_PER_HOUR)),
}


def figure(row: Row, name: str) -> Decimal:
    """A number as it is written, to 18 places; absent and null are 0."""
    found = row.get(name)
    if found is None:
        return Decimal()
    if isinstance(found, Decimal) and found.is_finite() and abs(found) < _FINEST / 2:
        # A double may have an exponent down to -324.
        return Decimal()
    return amount(found, name).quantize(_FINEST)


def pieces(row: Row, meter: Meter) -> int:
    """Whole pieces, rounded half to even; absent and null are 0."""
    found = row.get(meter.field)
    if found is None:
        return 0
    if isinstance(found, bool) or not isinstance(found, int | Decimal):
        raise malformed(meter.field, "expected a number")
    if isinstance(found, Decimal) and (not found.is_finite() or found.adjusted() > 30):
        raise malformed(meter.field, "expected a number of sensible size")
    if isinstance(found, Decimal) and found.adjusted() < -18:
        return 0
    count = round(Fraction(found) * meter.pieces)
    if not 0 <= count <= _MOST_PIECES:
        raise malformed(meter.field, "expected 0 or more, and nothing beyond all reason")
    return count
