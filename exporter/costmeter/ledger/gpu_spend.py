"""GPU time, energy and what they cost by state: used, idle, allocated to nobody, not observed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from sqlite3 import Connection
from typing import NamedTuple

from costmeter.ledger.history import amounts, spend
from costmeter.model import GPU_ENERGY, GPU_TIME_CLASSES

CATEGORY = "gpu_compute"
_CLASSES = (*GPU_TIME_CLASSES, GPU_ENERGY)


class GpuSpend(NamedTuple):
    """One group. `pieces` are milliseconds and millijoules by class, `nanos` nano-USD.

    `other` is the rest of `net`: what bills, commitments and fixed costs make of it, and
    usage of other classes under the same category.
    """

    group: tuple[str, ...]
    pieces: Mapping[str, int]
    nanos: Mapping[str, int]
    net: int

    @property
    def other(self) -> int:
        return self.net - sum(self.nanos.values())


def gpu_spend(
    connection: Connection,
    by: Sequence[str],
    *,
    since_ms: int = 0,
    until_ms: int = 1 << 62,
    where: Sequence[tuple[str, str]] = (),
) -> list[GpuSpend]:
    """GPUs by usage time in [since_ms, until_ms), largest net first.

    Its nets are those of `spend` for the category. Raises ValueError for a dimension that is
    not in `DIMENSIONS`.
    """
    where = [*where, ("category", CATEGORY)]
    nets = spend(connection, by, since_ms=since_ms, until_ms=until_ms, where=where)
    span = {"since_ms": since_ms, "until_ms": until_ms}
    pieces = amounts(connection, "quantities", by, **span, where=where)
    nanos = amounts(connection, "nanos", by, **span, where=where)
    return [
        GpuSpend(
            one.group,
            {name: pieces.get((*one.group, name), 0) for name in _CLASSES},
            {name: nanos.get((*one.group, name), 0) for name in _CLASSES},
            one.net,
        )
        for one in nets
    ]
