"""One event per incident: how it opens, grows, changes its kind and ends.

Positions are columns of the series; amounts are nano-USD. Standard library only.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from costmeter.analysis.anomaly.shapes import Baseline, Direction, Finding, Kind, Scope, Severity

#: A shift that lasts most of its window is no point any more.
_MOSTLY = 0.6


@dataclass(slots=True)
class Incident:
    """Grows step by step; instants, so that it outlives the columns of one run.

    `waiting_*` are the steps since the last one out of line: they belong to the incident
    only if it goes on.
    """

    kind: Kind
    sign: int
    score: float
    detected_ms: int
    first_ms: int
    last_ms: int
    expected: int
    actual: int
    baseline: tuple[int, int, int, int, int]
    hot: int = 1
    waiting_expected: int = 0
    waiting_actual: int = 0
    ended: str = ""

    def grow(self, at_ms: int, score: float, expected: int, actual: int, hot: bool) -> None:
        self.waiting_expected += expected
        self.waiting_actual += actual
        if hot:
            self.expected += self.waiting_expected
            self.actual += self.waiting_actual
            self.waiting_expected = self.waiting_actual = 0
            self.last_ms, self.hot = at_ms, self.hot + 1
            self.score = max(self.score, score)

    def last_long(self, step_ms: int, window: int) -> bool:
        """True once it has been out of line for most of a whole shift window."""
        steps = (self.last_ms - self.first_ms) // step_ms + 1
        return steps >= window and self.hot >= _MOSTLY * steps

    def finding(self, scope: Scope, step_ms: int, sensitivity: float, floor: int) -> Finding:
        direction: Direction = "up" if self.sign > 0 else "down"
        return Finding(
            scope,
            step_ms,
            self.kind,
            direction,
            "acknowledged"
            if self.ended == "acknowledged"
            else ("closed" if self.ended else "open"),
            self._severity(sensitivity, floor),
            round(self.score, 2),
            self.expected,
            self.actual,
            self.detected_ms,
            self.first_ms,
            self.last_ms,
            Baseline(*self.baseline),
            self.ended,
        )

    def _severity(self, sensitivity: float, floor: int) -> Severity:
        """Less spend is news; much more, many times the floor and clear, is critical."""
        size = self.actual - self.expected
        if self.sign < 0:
            return "info"
        doubled = self.actual >= 2 * max(self.expected, 0)
        if doubled and size >= 10 * floor and self.score >= 2 * sensitivity:
            return "critical"
        return "warning"

    def saved(self) -> dict[str, Any]:
        return asdict(self)


def restored(saved: dict[str, Any] | None) -> Incident | None:
    if saved is None:
        return None
    return Incident(**{**saved, "baseline": tuple(saved["baseline"])})
