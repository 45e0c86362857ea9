"""What goes into a detection and what comes out of it.

Standard library only: the server reads these, and the worker alone needs numpy. Amounts are
integer nano-USD, instants integer Unix milliseconds (UTC), period ends exclusive.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from msgspec import Struct, field

from costmeter.model import MS_PER_DAY, MS_PER_HOUR

#: (label, value) pairs, e.g. `(("provider", "openai"),)`; empty for the whole ledger.
Scope = tuple[tuple[str, str], ...]
Kind = Literal["point", "level-shift", "slow-drift"]
Direction = Literal["up", "down"]
Status = Literal["open", "closed", "acknowledged"]
Severity = Literal["info", "warning", "critical"]

HOURLY_MS = MS_PER_HOUR
DAILY_MS = MS_PER_DAY


class Series(Struct, frozen=True):
    """Net spend of one scope, by hour or by day (UTC), without holes.

    `nano[i]` is the spend of the step that begins at `start_ms + i * step_ms`, None where it
    is not known (a stale source); zeros before the first amount are taken for "not born yet".
    Steps that end after `final_until_ms` are not looked at before they are final. The positions
    in `late` hold amounts that were booked late: they are learned from and never alarm.
    Those in `planned` are declared spend: neither tested nor learned from.
    """

    scope: Scope
    start_ms: int
    nano: Sequence[int | None]
    final_until_ms: int
    step_ms: int = HOURLY_MS
    late: frozenset[int] = frozenset()
    planned: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        if self.step_ms not in (HOURLY_MS, DAILY_MS):
            raise ValueError(f"step_ms is {self.step_ms}: a series goes by hour or by day")
        if self.start_ms % MS_PER_DAY:
            raise ValueError(f"start_ms {self.start_ms} is no start of a day (UTC)")


class Acknowledgement(Struct, frozen=True):
    """Somebody knows the change of `scope` at `at_ms`: it is the new level.

    It counts from `known_ms`, when it was said. Only the tests of series with the same scope
    read it.
    """

    scope: Scope
    at_ms: int
    known_ms: int


class Settings(Struct, frozen=True):
    """How to look. `timezone` decides what hour of the week an hour is.

    `sensitivity_sigma` is what a month of one series may do by chance: 2 means that all tests
    of a month together have the odds of one 2-sigma test (4.6 %). `floor_nano` is the least
    difference that anybody is told of. A series is silent for its first `minimum_days`. A
    level that lasts for `learn_days` is the new level.
    """

    timezone: str = "UTC"
    lookback_days: int = 30
    minimum_days: int = 7
    sensitivity_sigma: float = 2.0
    floor_nano: int = 1_000_000_000
    learn_days: int = 7

    def __post_init__(self) -> None:
        if not 1.0 <= self.sensitivity_sigma <= 6.0:
            raise ValueError(
                f"sensitivity_sigma is {self.sensitivity_sigma}: write a number from 1 to 6"
            )
        if not 3 <= self.minimum_days <= self.lookback_days <= 90:
            raise ValueError(
                f"minimum_days {self.minimum_days} and lookback_days {self.lookback_days}: "
                "write 3 <= minimum_days <= lookback_days <= 90"
            )
        if self.floor_nano < 0 or self.learn_days < 1:
            raise ValueError("floor_nano is below 0, or learn_days below 1")


class Baseline(Struct, frozen=True):
    """What the lookback of a series looked like: nano-USD a step, and how many were known."""

    steps: int
    mean: int
    deviation: int
    p95: int
    p99: int


class Share(Struct, frozen=True):
    """What one value of one dimension adds to a difference; see `explain`."""

    dimension: str
    value: str
    expected: int
    actual: int

    @property
    def difference(self) -> int:
        return self.actual - self.expected


class Finding(Struct, frozen=True):
    """One incident of one series, as known at the step that was looked at last.

    `detected_ms` is the step that raised it: with the scope and step it is its identity and
    never changes. `first_seen_ms` is where it began (before `detected_ms` for a shift that
    took a day to show), `last_seen_ms` the last step that was out of line. `expected`, `actual` and
    `size` (actual - expected) are sums from the first to the last of them. `score` is
    the largest seen, in units in which the setting's `sensitivity_sigma` is the alarm.
    `ended` says why it is over: "" while open, "back", "learned" or "acknowledged".
    """

    scope: Scope
    step_ms: int
    kind: Kind
    direction: Direction
    status: Status
    severity: Severity
    score: float
    expected: int
    actual: int
    detected_ms: int
    first_seen_ms: int
    last_seen_ms: int
    baseline: Baseline
    ended: str = ""
    explanation: tuple[Share, ...] = ()

    @property
    def size(self) -> int:
        return self.actual - self.expected

    @property
    def key(self) -> tuple[Scope, int, int]:
        return (self.scope, self.step_ms, self.detected_ms)

    @property
    def text(self) -> str:
        """One line for a page: what, how much, since when is said beside it."""
        name = ", ".join(f"{label} {value}" for label, value in self.scope) or "all spend"
        way = "above" if self.direction == "up" else "below"
        usd = abs(self.size) / 1e9
        if self.expected > 0:
            return f"{name}: {usd:,.2f} USD {way} the {self.expected / 1e9:,.2f} USD expected"
        return f"{name}: {usd:,.2f} USD {way} what was expected"


class Reading(Struct, frozen=True):
    """Where a series stands at its last step that was tested; None where none was.

    `score` is signed (below 0: less than expected), `size` is actual - expected of that step.
    """

    scope: Scope
    step_ms: int
    at_ms: int
    score: float
    expected: int
    actual: int
    baseline: Baseline

    @property
    def size(self) -> int:
        return self.actual - self.expected


#: What a series' next run needs to know; JSON, opaque, a few hundred bytes.
State = dict[str, Any]


class Detection(Struct, frozen=True):
    """Everything one run found.

    `findings` are the incidents that are open or were raised or ended since the state's
    checkpoint, oldest first; a later version takes the place of an earlier one with its key.
    """

    findings: tuple[Finding, ...]
    readings: tuple[Reading, ...]
    states: dict[tuple[Scope, int], State] = field(default_factory=dict)
