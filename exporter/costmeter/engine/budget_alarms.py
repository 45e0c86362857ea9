"""What follows from budgets' standing: entries of the alert history, counters, and alerts.

The publisher's thread looks after each evaluation; the jobs and the Alertmanager's thread
take from here what is to be written and sent.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from costmeter.analysis.budgets import BudgetStatus
from costmeter.analysis.budgets.board import PROJECTED
from costmeter.analysis.budgets.contacts import channel, told
from costmeter.analysis.budgets.messages import Kind, message
from costmeter.engine.budget_watch import BudgetWatch
from costmeter.ledger.budget_alerts import Crossing

_MINUTE_MS = 60_000
#: A projection is an alert when it holds so long, as the rule of that name says.
_PROJECTED_MS = 60 * _MINUTE_MS
_PROJECTED_PERMILLE = 1_100
#: Alert, severity, and how long its condition holds before it fires: as the rules have it.
_ALERTS = {
    "BudgetExceeded": ("critical", 5 * _MINUTE_MS),
    "BudgetWarning": ("warning", 15 * _MINUTE_MS),
    "ForecastOverBudget": ("warning", 60 * _MINUTE_MS),
}
#: An alert goes on for so long after its condition has ended.
_KEEP_MS = 10 * _MINUTE_MS


class Firing(NamedTuple):
    """An alert as the Alertmanager's API takes it, and whether it has ended."""

    body: dict[str, Any]
    ended: bool


class _Pending:
    __slots__ = ("body", "kept_ms", "since_ms")

    def __init__(self, since_ms: int) -> None:
        self.since_ms = self.kept_ms = since_ms
        self.body: dict[str, Any] = {}


class Alarms:
    """Thread-safe. `job` is the label that tells one ledger's alerts from another's."""

    def __init__(self, job: str = "costmeter") -> None:
        self._job = job
        self._lock = threading.Lock()
        self._crossings: list[Crossing] = []
        self._seen: dict[int, tuple[int, ...]] = {}
        # Since when a budget is projected over its limit, and in which period.
        self._projected: dict[int, tuple[int, int]] = {}
        self._pending: dict[tuple[int, str], _Pending] = {}
        self._uncounted: set[int] = set()
        self._now_ms = 0

    def look(self, watch: BudgetWatch, exported: set[int]) -> None:
        """Take in the newest standing; on the thread of the watch."""
        board, now_ms = watch.board, watch.now_ms
        loud = set(board.loud)
        crossed = [number for number in loud if self._moved(watch, number, now_ms)]
        crossings = [
            crossing
            for number, status in zip(crossed, _each(watch, crossed), strict=True)
            if status is not None
            for crossing in _crossings(number, status, self._due(number, now_ms), now_ms)
        ]
        quiet = list(loud - exported)
        alerts = [
            (number, name, kind, status)
            for number, status in zip(quiet, _each(watch, quiet), strict=True)
            if status is not None
            for name, kind in _names(board.loudness[number])
        ]
        with self._lock:
            self._now_ms = now_ms
            self._crossings += crossings
            self._uncounted = exported
            for number in self._seen.keys() - loud:
                del self._seen[number]
            for number in self._projected.keys() - loud:
                del self._projected[number]
            self._keep(alerts, now_ms)

    def take_crossings(self) -> list[Crossing]:
        """What is to be written down; `give_back` what could not be."""
        with self._lock:
            taken, self._crossings = self._crossings, []
            return taken

    def give_back(self, crossings: list[Crossing]) -> None:
        with self._lock:
            self._crossings = crossings + self._crossings

    def exported(self) -> set[int]:
        """Numbers that are exported now; each needs a counter."""
        with self._lock:
            return set(self._uncounted)

    def alerts(self) -> list[Firing]:
        """Alerts that fire now, and once each those that have ended."""
        with self._lock:
            found = []
            for key, pending in list(self._pending.items()):
                wait_ms = _ALERTS[key[1]][1]
                ended = self._now_ms - pending.kept_ms > _KEEP_MS
                if pending.kept_ms - pending.since_ms >= wait_ms:
                    found.append(Firing(pending.body, ended))
                if ended:
                    del self._pending[key]
            return found

    def _moved(self, watch: BudgetWatch, number: int, now_ms: int) -> bool:
        """Whether a budget may have crossed something that was not taken in yet."""
        board = watch.board
        loudness = board.loudness[number]
        start_ms = board.period(number)[0]
        if not loudness & PROJECTED:
            self._projected.pop(number, None)
        elif self._projected.get(number, (0, -1))[1] != start_ms:
            self._projected[number] = (now_ms, start_ms)
        state = (
            loudness & 3, int(self._due(number, now_ms)), start_ms,
            board.limit[number], board.warning[number], board.critical[number],
        )  # fmt: skip
        if self._seen.get(number) == state:
            return False
        self._seen[number] = state
        return True

    def _due(self, number: int, now_ms: int) -> bool:
        found = self._projected.get(number)
        return found is not None and now_ms - found[0] >= _PROJECTED_MS

    def _keep(self, alerts: Iterable[tuple[int, str, Kind, BudgetStatus]], now_ms: int) -> None:
        for number, name, kind, status in alerts:
            pending = self._pending.get((number, name))
            if pending is None:
                pending = self._pending[(number, name)] = _Pending(now_ms)
            pending.kept_ms = now_ms
            pending.body = self._body(name, kind, status, pending.since_ms)
        # A condition that did not last is forgotten at once; only an alert is kept on.
        for key, pending in list(self._pending.items()):
            fired = pending.kept_ms - pending.since_ms >= _ALERTS[key[1]][1]
            if pending.kept_ms < now_ms and not fired:
                del self._pending[key]

    def _body(self, name: str, kind: Kind, status: BudgetStatus, since_ms: int) -> dict[str, Any]:
        said = message(status, kind)
        budget, period, tenant = status.budget.series_labels
        labels = {
            "alertname": name, "severity": _ALERTS[name][0], "job": self._job, "budget": budget,
            "period": period, "tenant_id": tenant, "owner": status.budget.owner,
            "slack_channel": channel(told(status.budget, kind)),
        }  # fmt: skip
        starts = datetime.fromtimestamp((since_ms + _ALERTS[name][1]) / 1000, UTC)
        return {
            "labels": {key: value for key, value in labels.items() if value},
            "annotations": {**said._asdict(), "contacts": ", ".join(told(status.budget, kind))},
            "startsAt": starts.isoformat(),
        }


def _each(watch: BudgetWatch, numbers: list[int]) -> list[BudgetStatus | None]:
    found: list[BudgetStatus | None] = []
    for number in numbers:
        status = watch.statuses([number])
        found.append(status[0] if status else None)
    return found


def _names(loudness: int) -> list[tuple[str, Kind]]:
    """Alerts whose condition holds; one message is enough for a budget that is exceeded."""
    level = loudness & 3
    if level == 3:
        return [("BudgetExceeded", "exceeded")]
    found: list[tuple[str, Kind]] = []
    if level:
        found.append(("BudgetWarning", "critical" if level == 2 else "warning"))
    if loudness & PROJECTED:
        found.append(("ForecastOverBudget", "projected"))
    return found


def _crossings(
    number: int, status: BudgetStatus, projected: bool, now_ms: int
) -> Iterable[Crossing]:
    budget = status.budget
    figures = {
        "spent": status.spent,
        "limit": status.limit,
        "forecast": status.forecast,
        "exhaustion_ms": status.exhaustion_ms,
        "end_ms": status.end_ms,
    }
    reached = {"none": 0, "warning": 1, "critical": 2, "exceeded": 3}[status.level]
    amounts = (
        ("warning", budget.warning_permille),
        ("critical", budget.critical_permille),
        ("exceeded", 1_000),
    )[:reached]
    if projected and status.level != "exceeded":
        amounts = (*amounts, ("projected", _PROJECTED_PERMILLE))
    for kind, permille in amounts:
        yield Crossing(number, status.start_ms, kind, budget.limit_nano, permille, now_ms, figures)
