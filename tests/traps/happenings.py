"""What traps are made of: an ordinary platform, a bill, and the things that happen to them.

Everything happens on Wednesday, 21 October 2026, from 10:00 in Berlin on, unless the trap is about
the calendar; the month around it is that of an ordinary platform, so that an alert which comes days
later is seen, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from costmeter.model import MS_PER_DAY, MS_PER_HOUR
from fakes.openai_admin import OpenAIAdmin
from fakes.openai_admin import cost as openai_cost
from fakes.reports import Fault, serving
from traps.ledgers import MINUTE, Span, Spend, World, at, between, local

#: Monday to Tuesday: thirty days with an end of summer time and a new month.
MONTH = between("2026-10-05T00:00", "2026-11-04T00:00")
EVENT = between("2026-10-21T09:00", "2026-10-21T13:00")
NEW_MONTH = between("2026-11-01T00:00", "2026-11-01T03:00")
#: Every minute of these is evaluated for every trap.
LOOK = (EVENT, NEW_MONTH)
SECOND = "b:9952"
NOW = at("2026-10-21T10:00")

Moments = Sequence[tuple[int, Callable[[World], None]]]


@dataclass(frozen=True)
class Trap:
    """`expected` says of each alert in which times it fires: it must, and nothing else may.

    A time is "21T10-21T15": it begins in the 10th hour of the 21st and ends in the 15th of the
    21st, local time. The 1st to the 4th are those of November. Alerts of one name count together:
    whichever budget, tenant or window. "21T10-" goes on to the end.
    """

    name: str
    what: str
    spend: Spend
    expected: Mapping[str, Sequence[str]] = field(default_factory=dict)
    moments: Moments = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    fine: Sequence[Span] = ()
    start_ms: int = MONTH.from_ms
    end_ms: int = MONTH.to_ms
    look: Sequence[Span] = LOOK
    prepare: Callable[[World], None] | None = None
    every_step: Callable[[World], None] | None = None

    def world(self) -> World:
        return World(
            job=f"costmeter-{self.name}",
            spend=self.spend,
            start_ms=self.start_ms,
            end_ms=self.end_ms,
            look=self.look,
            fine=self.fine,
            settings={**ORDINARY, **self.settings},
            moments=self.moments,
            prepare=self.prepare,
            every_step=self.every_step,
        )


def budgets(*items: Mapping[str, Any], monthly_usd: int = 16_000) -> dict[str, Any]:
    found: dict[str, Any] = {"items": [dict(item) for item in items]}
    if monthly_usd:
        found["monthly_usd"] = monthly_usd
    return {"budgets": found}


def tenant(name: str, limit_usd: int, period: str = "month", **more: Any) -> dict[str, Any]:
    return {"name": f"{name}-{period}", "tenant_id": name, "limit_usd": limit_usd,
            "period": period, **more}  # fmt: skip


#: About three quarters of each budget are spent in the end.
ORDINARY: Mapping[str, Any] = {
    **budgets(
        tenant("acme", 9_000), tenant("acme", 1_700, "week"),
        tenant("bolt", 8_000), tenant("bolt", 260, "day"),
    )
}  # fmt: skip
ORDINARY["budgets"]["categories"] = [{"category": "llm_api", "warning_usd": 14_000}]


def ordinary(at_ms: int) -> dict[str, float]:
    """Acme works in office hours, Bolt serves around the clock: 28 USD an hour at most."""
    return {"acme": 20.0 if office(at_ms) else 3.0, "bolt": 8.0}


def office(at_ms: int) -> bool:
    moment = local(at_ms)
    return moment.weekday() < 5 and 9 <= moment.hour < 18


def with_more(span: Span, more: Mapping[str, float]) -> Spend:
    """The ordinary platform, and so much more in a time."""

    def spend(at_ms: int) -> dict[str, float]:
        found = ordinary(at_ms)
        if at_ms in span:
            for name, usd in more.items():
                found[name] = found.get(name, 0.0) + usd
        return found

    return spend


def nightly(at_ms: int) -> dict[str, float]:
    return {"bolt": 2.0, "batch": 120.0 if local(at_ms).hour == 2 else 0.0}


def office_only(at_ms: int) -> dict[str, float]:
    return {"acme": 40.0 if office(at_ms) else 0.0}


def three_times(at_ms: int) -> dict[str, float]:
    factor = 3.0 if at_ms in between("2026-10-21T10:00", "2026-10-21T15:00") else 1.0
    return {name: factor * usd for name, usd in ordinary(at_ms).items()}


def gone(at_ms: int) -> dict[str, float]:
    return {**ordinary(at_ms), "bolt": 0.0 if at_ms >= NOW else 8.0}


def stop(world: World) -> None:
    world.end(world.writing)


def start(world: World) -> None:
    world.begin(world.writing)


def backlog(hours: int) -> Callable[[World], None]:
    """Senders bring what they could not while nobody answered."""

    def send(world: World) -> None:
        now_ms = world.clock.now_ms()
        steps = range(now_ms - hours * MS_PER_HOUR, now_ms, 10 * MINUTE)
        world.book(
            [
                world.usage(name, usd / 6, at_ms)
                for at_ms in steps
                for name, usd in ordinary(at_ms).items()
            ]
        )

    return send


def backup(world: World) -> None:
    world.back_up("copy.db")


def restored(world: World) -> None:
    world.restore("copy.db")


def second(world: World) -> None:
    """A replica that only reads, on the same ledger."""
    world.replica(SECOND)


def second_leaves(world: World) -> None:
    world.end(SECOND)


def second_takes_over(world: World) -> None:
    world.end(SECOND)
    world.begin(SECOND)


_NEVER = Span(0, 0)


class Bill:
    """OpenAI's bill of the platform's own account, which nobody meters, on a loopback port.

    `days` says what a day (counted from 1970, UTC) costs as the bill shows it at an instant; None
    is a day that is not on it yet.
    """

    def __init__(self, days: Callable[[int, int], float | None], fails: Span = _NEVER) -> None:
        self._days = days
        self._fails = fails
        self._api = OpenAIAdmin()

    def prepare(self, world: World) -> None:
        api = self._api
        world.stack.enter_context(serving(api))
        key = world.folder / "openai.key"
        key.write_text(api.key, "utf-8")
        world.config["scopes"] = [
            {"name": "openai", "match": {"provider": "openai", "account": "proj_a"},
             "detail_from": "none", "amount_from": "openai-bill"},
            {"name": "rest"},
        ]  # fmt: skip
        world.config["sources"] = [
            {"name": "openai-bill", "kind": "openai", "key_file": str(key),
             "base_url": f"{api.url}/v1", "every_seconds": 7_200, "calls_per_day": 200,
             "lookback_days": 1, "options": ["usage=none", "final_after_days=5"]},
        ]  # fmt: skip

    def step(self, world: World) -> None:
        now_ms = world.clock.now_ms()
        api = self._api
        today = now_ms // MS_PER_DAY
        found = [(day, self._days(day, now_ms)) for day in range(today - 30, today)]
        api.costs[:] = [
            (day * MS_PER_DAY // 1000, openai_cost(usd, "gpt-5, input"))
            for day, usd in found
            if usd is not None
        ]
        if now_ms in self._fails:
            api.faults.extend([Fault(500)] * (20 - len(api.faults)))
        else:
            api.faults.clear()
