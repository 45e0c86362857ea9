"""Tokens against money and energy, over a window that moves along.

Per million tokens = 10^6 x cost / (input + output tokens). `allocation` is all that the
server's GPUs cost while they were held, `usage` the part in which a kernel ran.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from fractions import Fraction
from typing import NamedTuple, Protocol

from costmeter.gpu.serving.engines import Counts, Page

#: How long the window is, unless configured, and the least time that a figure is given for.
WINDOW_MS, LEAST_MS = 3_600_000, 30_000
MILLION = 10**6
_MS_PER_HOUR = 3_600_000
#: What a window is remembered by, however long it is and however often somebody looks.
_POINTS = 30


class Owned(Protocol):
    """Counters of one owner on one GPU; the room's OwnerFigures is one."""

    @property
    def labels(self) -> tuple[str, ...]: ...
    @property
    def allocated(self) -> bool: ...
    @property
    def used_ms(self) -> float: ...
    @property
    def idle_ms(self) -> float: ...
    @property
    def energy_mj(self) -> float | None: ...
    @property
    def used_nano(self) -> int | None: ...
    @property
    def idle_nano(self) -> int | None: ...


class Match(NamedTuple):
    """Whose GPUs a server works on: patterns, and `uuids` where they are named."""

    namespace: str = "*"
    pod: str = "*"
    container: str = "*"
    uuids: frozenset[str] = frozenset()

    def fits(self, labels: tuple[str, ...]) -> bool:
        """`labels` are gpu, uuid, gpu_model, mig_profile, namespace, pod, container, ..."""
        return (
            (not self.uuids or labels[1] in self.uuids)
            and fnmatchcase(labels[4], self.namespace)
            and fnmatchcase(labels[5], self.pod)
            and fnmatchcase(labels[6], self.container)
        )


class Spent(NamedTuple):
    """Since the start: nano-USD, millijoules, milliseconds of GPUs held.

    `unpriced_ms` and `unmetered_ms` of them may be without a price and without their energy.
    """

    used_nano: int = 0
    held_nano: int = 0
    energy_mj: float = 0
    held_ms: float = 0
    unpriced_ms: float = 0
    unmetered_ms: float = 0

    def plus(self, other: Spent) -> Spent:
        return self._joined(other, 1)

    def since(self, before: Spent) -> Spent:
        return self._joined(before, -1)

    def _joined(self, other: Spent, sign: int) -> Spent:
        return Spent(
            self.used_nano + sign * other.used_nano,
            self.held_nano + sign * other.held_nano,
            self.energy_mj + sign * other.energy_mj,
            self.held_ms + sign * other.held_ms,
            self.unpriced_ms + sign * other.unpriced_ms,
            self.unmetered_ms + sign * other.unmetered_ms,
        )


class Part(NamedTuple):
    """One model of one server: its counters since the start, those of the window, and which
    `share` of what the server's GPUs took in it is the model's. `spent` is None while the
    window is too short to say anything."""

    model: str
    total: Counts
    gone: Counts
    share: Fraction = Fraction(1)
    spent: Spent | None = None


class Served(NamedTuple):
    """Figures of a window; None is not known."""

    nano_per_million_held: int | None = None
    nano_per_million_used: int | None = None
    joules_per_token: float | None = None
    requests_per_gpu_hour: float | None = None


def served(parts: Iterable[Part]) -> Served:
    """Of one model, on one server or on several that stand under the same labels."""
    known = [(part, part.spent) for part in parts if part.spent is not None]
    held_ms = sum(spent.held_ms for _, spent in known)
    if not held_ms:
        return Served()
    counts = [part.gone.requests for part, _ in known]
    requests = [count for count in counts if count is not None]
    figures = Served(
        requests_per_gpu_hour=sum(requests) * _MS_PER_HOUR / held_ms if requests else None
    )
    tokens = sum(part.gone.input + part.gone.output for part, _ in known)
    if not tokens:
        return figures
    if not any(spent.unpriced_ms for _, spent in known):
        held = sum((part.share * spent.held_nano for part, spent in known), Fraction(0))
        used = sum((part.share * spent.used_nano for part, spent in known), Fraction(0))
        figures = figures._replace(
            nano_per_million_held=int(held * MILLION / tokens),
            nano_per_million_used=int(used * MILLION / tokens),
        )
    if not any(spent.unmetered_ms for _, spent in known):
        energy_mj = sum(float(part.share) * spent.energy_mj for part, spent in known)
        figures = figures._replace(joules_per_token=energy_mj / 1000 / tokens)
    return figures


class _Point(NamedTuple):
    at_ms: int
    tokens: Mapping[str, Counts]
    spent: Spent


class Economics:
    """Of one server. Counters that fall, because a server or an owner began anew, count on."""

    def __init__(self, match: Match, window_ms: int = WINDOW_MS) -> None:
        self._match = match
        self._window_ms = window_ms
        self._seen: dict[str, Counts] = {}
        self._total: dict[str, Counts] = {}
        self._owners: dict[tuple[str, ...], Owned] | None = None
        self._spent = Spent()
        self._points: deque[_Point] = deque()

    def spend(self, owners: Sequence[Owned], unpriced: Collection[str] = ()) -> None:
        """What the meter says, also while the server is away. `unpriced` are the uuids of GPUs
        that had some time without a price since the last call."""
        mine = {one.labels: one for one in owners if one.allocated and self._match.fits(one.labels)}
        if self._owners is not None:
            for labels, one in mine.items():
                piece = _between(self._owners.get(labels), one, priced=labels[1] not in unpriced)
                self._spent = self._spent.plus(piece)
        self._owners = mine

    def take(self, at_ms: int, page: Page) -> None:
        """What the server says at this steady time, after `spend`."""
        self._count(page)
        point = _Point(at_ms, dict(self._total), self._spent)
        points = self._points
        if len(points) > 1 and points[-1].at_ms - points[-2].at_ms < self._window_ms / _POINTS:
            points[-1] = point
        else:
            points.append(point)
        while len(points) > 2 and points[1].at_ms <= at_ms - self._window_ms:
            points.popleft()

    def holder(self) -> tuple[str, str, str]:
        """namespace, pod and tenant_id of the one whose GPUs they are; empty for several."""
        owners = self._owners or {}
        found = {(labels[4], labels[5], labels[7]) for labels in owners}
        return found.pop() if len(found) == 1 else ("", "", "")

    def parts(self) -> list[Part]:
        """Of every model that was ever seen. The models of a server share its GPUs by their
        tokens."""
        if not self._points:
            return []
        first, last = self._points[0], self._points[-1]
        gone = {model: _since(now, first.tokens.get(model)) for model, now in last.tokens.items()}
        tokens = sum(one.input + one.output for one in gone.values())
        spent = last.spent.since(first.spent)
        known = spent if last.at_ms - first.at_ms >= LEAST_MS else None
        parts = []
        for model, one in sorted(gone.items()):
            mine = one.input + one.output
            share = Fraction(mine, tokens) if tokens else Fraction(1, len(gone))
            parts.append(Part(model, self._total[model], one, share, known))
        return parts

    def _count(self, page: Page) -> None:
        for model, now in page.models.items():
            before = self._seen.get(model)
            if not self._points:
                gone = Counts(0, 0, None if now.requests is None else 0)
            elif before is None or now.input < before.input or now.output < before.output:
                gone = now
            else:
                gone = _since(now, before)
            total = self._total.get(model, Counts(0, 0, None if now.requests is None else 0))
            self._seen[model] = now
            self._total[model] = Counts(
                total.input + gone.input,
                total.output + gone.output,
                None if gone.requests is None else (total.requests or 0) + gone.requests,
            )


def _between(before: Owned | None, now: Owned, *, priced: bool) -> Spent:
    """What an owner's counters rose by; all of them where they began anew."""
    if before is None or _fell(before, now):
        used, idle, energy, held_ms = 0, 0, 0.0, 0.0
    else:
        used, idle = before.used_nano or 0, before.idle_nano or 0
        energy, held_ms = before.energy_mj or 0, before.used_ms + before.idle_ms
    used = (now.used_nano or 0) - used
    idle = (now.idle_nano or 0) - idle
    held_ms = now.used_ms + now.idle_ms - held_ms
    energy = (now.energy_mj or 0) - energy
    known = priced and now.used_nano is not None and now.idle_nano is not None
    # No GPU draws nothing: one that did has stopped telling.
    return Spent(
        used, used + idle, energy, held_ms, 0 if known else held_ms, 0 if energy else held_ms
    )


def _fell(before: Owned, now: Owned) -> bool:
    return (
        now.used_ms < before.used_ms
        or now.idle_ms < before.idle_ms
        or (now.energy_mj or 0) < (before.energy_mj or 0)
        or (now.used_nano or 0) < (before.used_nano or 0)
        or (now.idle_nano or 0) < (before.idle_nano or 0)
    )


def _since(now: Counts, before: Counts | None) -> Counts:
    if before is None:
        return now
    requests = None
    if now.requests is not None:
        requests = max(0, now.requests - (before.requests or 0))
    return Counts(now.input - before.input, now.output - before.output, requests)
