"""Tokens of a self-hosted model beside the time and the cost of the GPUs that it runs on."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from sqlite3 import Connection
from typing import NamedTuple

from costmeter.ledger.gpu_spend import CATEGORY, gpu_spend
from costmeter.ledger.history import amounts, spend
from costmeter.model import GPU_ENERGY, MS_PER_HOUR, TOKEN_CLASSES

_LLM = "llm_api"
_MILLION = 10**6


class Served(NamedTuple):
    """Of a span of time. Costs are nano-USD as they are booked, bills included; `priced` says
    whether all of the GPUs' time has a price. `energy_mj` is 0 where nothing tells it."""

    tokens: int
    requests: int
    used_ms: int
    held_ms: int
    used_nano: int
    held_nano: int
    energy_mj: int
    priced: bool

    def nano_per_million(self, nano: int) -> int | None:
        """None without tokens, without GPU time, or where some of it has no price."""
        if not self.tokens or not self.held_ms or not self.priced:
            return None
        return nano * _MILLION // self.tokens

    @property
    def joules_per_token(self) -> float | None:
        return self.energy_mj / 1000 / self.tokens if self.tokens and self.energy_mj else None

    @property
    def requests_per_gpu_hour(self) -> float | None:
        return self.requests * MS_PER_HOUR / self.held_ms if self.held_ms else None


def served(
    connection: Connection,
    calls: Sequence[tuple[str, str]],
    gpus: Sequence[tuple[str, str]],
    since_ms: int,
    until_ms: int,
) -> Served:
    """`calls` and `gpus` say whose tokens and whose GPU time, as dimensions with values.

    Energy has its cost in both figures: by state it is not told apart. What bills make of the
    time is spread over it evenly.
    """
    span = {"since_ms": since_ms, "until_ms": until_ms}
    calls = [*calls, ("category", _LLM)]
    pieces = amounts(connection, "quantities", [], **span, where=calls)
    counted = spend(connection, [], **span, where=calls)
    found = gpu_spend(connection, [], **span, where=gpus)
    tokens = sum(pieces.get((name,), 0) for name in TOKEN_CLASSES)
    requests = counted[0].requests if counted else 0
    if not found or not found[0].pieces:
        return Served(tokens, requests, 0, 0, 0, 0, 0, priced=False)
    time, nanos = found[0].pieces, found[0].nanos
    used_ms, idle_ms = time["gpu_ms"], time["gpu_idle_ms"]
    metered = sum(nanos.values())
    billed = Fraction(found[0].net, metered) if metered else Fraction(1)
    used = nanos["gpu_ms"] + nanos[GPU_ENERGY]
    return Served(
        tokens,
        requests,
        used_ms,
        used_ms + idle_ms,
        int(used * billed),
        int((used + nanos["gpu_idle_ms"]) * billed),
        time[GPU_ENERGY],
        priced=bool(metered) and not _unpriced(connection, gpus, since_ms, until_ms),
    )


def _unpriced(
    connection: Connection, gpus: Sequence[tuple[str, str]], since_ms: int, until_ms: int
) -> bool:
    """Whether some of that GPU time waits for a price; the dimensions were checked before."""
    conditions = " AND ".join(f"dim.{name} = ?" for name, _ in [*gpus, ("category", "")])
    row = connection.execute(
        "SELECT 1 FROM unpriced CROSS JOIN dim USING (dim) CROSS JOIN usage_event AS e "
        f"ON e.event = unpriced.event WHERE {conditions} AND e.at_ms >= ? AND e.at_ms < ? LIMIT 1",
        [*(value for _, value in gpus), CATEGORY, since_ms, until_ms],
    ).fetchone()
    return row is not None
