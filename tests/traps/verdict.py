"""Expected times of alerts against those that fired."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from traps.judge import Firing
from traps.ledgers import local


def fired(firings: Iterable[Firing], job: str) -> dict[str, list[tuple[int, int]]]:
    """Times in which an alert of a job fires under any labels, by its name."""
    found: dict[str, list[tuple[int, int]]] = {}
    for firing in sorted(firings, key=lambda firing: firing.from_ms):
        if firing.job != job:
            continue
        times = found.setdefault(firing.alert, [])
        if times and firing.from_ms <= times[-1][1] + 3_600_000:
            times[-1] = times[-1][0], max(times[-1][1], firing.to_ms)
        else:
            times.append((firing.from_ms, firing.to_ms))
    return found


def told(times: Mapping[str, Sequence[tuple[int, int]]], end_ms: int) -> dict[str, list[str]]:
    """The same in the words of the table; what goes on to the last hour has no end."""
    return {
        alert: [
            f"{_hour(from_ms)}-{_hour(to_ms) if to_ms < end_ms - 3_600_000 else ''}"
            for from_ms, to_ms in found
        ]
        for alert, found in times.items()
    }


def _hour(at_ms: int) -> str:
    moment = local(at_ms)
    return f"{moment.day}T{moment.hour:02d}"
