"""What the demonstration plays: its days, its budgets, and the agent that runs away."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

from costmeter.demo.costs import Budget, Priced, priced, spent_since
from costmeter.demo.trace import RUNAWAY, Call, history, runaway, stamp
from costmeter.model import MS_PER_DAY, NANO_PER_USD
from costmeter.pricing import PriceBook

#: Three whole days are what the rules ask for before they compare a tenant's day.
HISTORY_MS = 3 * MS_PER_DAY
#: A trace to keep begins here, so that it is the same whenever it is written.
_TRACE_START_MS = int(datetime(2026, 11, 2, tzinfo=UTC).timestamp()) * 1_000
#: In it the agent runs for the last minute.
_TRACE_RUNAWAY_MS = 60_000
#: A call of the agent each so often: some 2 USD a second.
RUNAWAY_EVERY_MS = 500
#: So much is left of the tight budget when the demonstration starts, at least.
_LEFT_NANO = 15 * NANO_PER_USD
_TIDY_NANO = 10 * NANO_PER_USD
#: Three days' spend times this is a budget that lasts: a month has ten times as much.
_AMPLE = 15


class Scene(NamedTuple):
    """The past and the limits of one demonstration. `zone` decides where months begin."""

    start_ms: int
    end_ms: int
    zone: str
    calls: Sequence[Priced]
    budgets: Sequence[Budget]
    spent_nano: int
    """This month's spend against the tight budget, before anything happens."""

    @property
    def tight(self) -> Budget:
        """The budget that is going to be crossed."""
        return self.budgets[0]

    @property
    def past_nano(self) -> int:
        """What the whole past cost."""
        return spent_since(self.calls, self.start_ms)


def scene(
    now_ms: int,
    book: PriceBook,
    watched: Callable[[Iterable[Call]], Iterable[Call]] = iter,
) -> Scene:
    """The scene whose past ends now. It takes a second or two; `watched` may break it off."""
    start_ms = now_ms - HISTORY_MS
    calls = list(priced(watched(history(start_ms, now_ms)), book))
    zone = _quiet_zone(now_ms)
    month = datetime.fromtimestamp(now_ms / 1_000, ZoneInfo(zone)).replace(
        day=1, hour=0, minute=0, second=0, microsecond=0
    )
    month_ms = int(month.timestamp()) * 1_000
    tenant = RUNAWAY.tenant_id
    spent = spent_since(calls, month_ms, tenant)
    budgets = [Budget(tenant, tenant, _tidy(spent + _LEFT_NANO))]
    for other in ("bolt", "cobalt", ""):
        limit = _tidy(_AMPLE * spent_since(calls, start_ms, other))
        budgets.append(Budget(other or "organization", other, limit))
    return Scene(start_ms, now_ms, zone, calls, budgets, spent)


def config(play: Scene, birth_hold_seconds: int) -> str:
    """The exporter's configuration, as YAML (JSON is YAML)."""
    items = [
        {"name": budget.name, "tenant_id": budget.tenant_id, "limit_usd": _usd(budget.limit_nano)}
        for budget in play.budgets
        if budget.tenant_id
    ]
    monthly = next(budget for budget in play.budgets if not budget.tenant_id)
    return json.dumps(
        {
            "ledger": {
                "birth_hold_seconds": birth_hold_seconds,
                "reporting_timezone": play.zone,
            },
            "gpu": {"enabled": False},
            "jobs": {"budgets_seconds": 1},
            "budgets": {"monthly_usd": _usd(monthly.limit_nano), "items": items},
        },
        indent=1,
    )


def write_trace(path: Path, calls: Sequence[Call]) -> None:
    """Events as NDJSON for `costmeter import` and `costmeter replay`, which give them ids."""
    with path.open("w", encoding="utf-8") as handle:
        for call in calls:
            handle.write(json.dumps({"timestamp": stamp(call.at_ms), **call.event}) + "\n")


def trace_to_keep() -> list[Call]:
    """Three days and, in their last minute, the agent in a loop. Always the same."""
    end_ms = _TRACE_START_MS + HISTORY_MS
    calls = list(history(_TRACE_START_MS, end_ms))
    times = range(end_ms - _TRACE_RUNAWAY_MS, end_ms, RUNAWAY_EVERY_MS)
    calls += [Call(at_ms, event) for at_ms, event in zip(times, runaway(), strict=False)]
    return sorted(calls, key=lambda call: call.at_ms)


def _quiet_zone(now_ms: int) -> str:
    """UTC, unless its midnight is near: a month that ends would empty the budgets."""
    hour = datetime.fromtimestamp(now_ms / 1_000, UTC).hour
    return "UTC" if hour < 22 else "Etc/GMT-6"


def _tidy(nano: int) -> int:
    return -(-nano // _TIDY_NANO) * _TIDY_NANO


def _usd(nano: int) -> int:
    return nano // NANO_PER_USD
