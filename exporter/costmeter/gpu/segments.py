"""Cuts a GPU's time into closed segments: what the ledger is told of it.

A segment is never touched again once it is closed, so that it can be sent twice and
booked once. It is at most `longest_ms` long and lies within one hour of UTC, because
prices and tables go by the hour. Whom the GPU belongs to, and how it is divided, stay the
same throughout; when they change, another segment begins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from costmeter.gpu.claims import Claim, Claims
from costmeter.gpu.readings import GpuReading
from costmeter.gpu.split import Amount, Plan, plan_of, split, to_whole
from costmeter.model import MS_PER_DAY, MS_PER_HOUR
from costmeter.segment import Placement, Segment, Share

#: How far wall time may drift from steady time before a segment ends for it.
CLOCK_TOLERANCE_MS = 2_000

#: The ledger takes nothing that is older than this.
LONGEST_UNOBSERVED_MS = 7 * MS_PER_DAY


class End(NamedTuple):
    """Up to when a GPU's time is accounted for, by the wall and by the steady clock."""

    wall_ms: int
    steady_ms: int


class Closed(NamedTuple):
    segment: Segment
    end: End


class Accrued(NamedTuple):
    """A piece of time as it was just split, for whoever counts along; `start_ms` is Unix time.

    `amounts` belong to the plan's parts, in their order. `unobserved_ms` and the energy that
    was used in it belong to nobody in the plan.
    """

    reading: GpuReading
    placement: Placement
    start_ms: int
    plan: Plan
    amounts: Sequence[Amount]
    unobserved_ms: int = 0
    unobserved_mj: int = 0


@dataclass(slots=True)
class _Open:
    start_ms: int
    room_ms: int
    plan: Plan
    times: list[int]
    energies: list[int]
    duration_ms: int = 0
    energy_mj: int | None = None


class _Sole:
    """Where nothing says who holds what, all of it is the placement's owner's."""

    def __init__(self, placement: Placement) -> None:
        self._claims = (Claim(placement.owner),)

    def of(self, reading: GpuReading) -> tuple[Claim, ...]:  # noqa: ARG002 - all are alike
        return self._claims


class Cutter:
    """Cuts one GPU's readings; not thread-safe.

    Wall time is steady time plus a base, which is fixed while a segment is open. It
    moves forward with the wall clock when the next one opens; it moves back only when
    the wall clock is over the tolerance behind, so that small corrections of the clock
    never make two segments overlap.

    `ended` is up to when the GPU was accounted for before, by the same steady clock. The time
    between it and the first reading, like any time in which the GPU did not answer, is
    unobserved: it is as long as the steady clock says, and never lies over time that is
    accounted for. Without `claims` everything is the placement's owner's. `accrue` is told of
    each piece of time at once, before its segment is closed.
    """

    def __init__(
        self,
        uuid: str,
        run_id: str,
        placement: Placement,
        *,
        longest_ms: int,
        claims: Claims | None = None,
        ended: End | None = None,
        accrue: Callable[[Accrued], object] = lambda _: None,
    ) -> None:
        self._uuid = uuid
        self._run_id = run_id
        self._longest_ms = longest_ms
        self._claims = claims
        self._accrue = accrue
        self._gpu_model = ""
        self._sequence = 0
        self._base_ms = 0
        self._last: GpuReading | None = None
        self._energy_mj: int | None = None
        self._ended = ended
        self._open: _Open | None = None
        self._signature: object = None
        self._owed: tuple[list[int], list[int]] = ([], [])
        self.plan: Plan | None = None
        #: Since when the GPU is accounted for; None before its first reading.
        self.began: End | None = ended
        self.move(placement)

    def feed(self, reading: GpuReading) -> list[Closed]:
        """The segments that this reading closes."""
        closed: list[Closed] = []
        self._gpu_model = reading.model
        wall_base_ms = reading.taken_at_ms - reading.monotonic_ms
        last = self._last
        if last is None or not reading.continuous:
            closed += self.end()
            if not 0 <= self._base_ms - wall_base_ms <= CLOCK_TOLERANCE_MS:
                self._base_ms = wall_base_ms
            self._divide(reading)
            closed += self._look_back(reading)
        else:
            claims, cut = self._divide(reading)
            closed += cut
            closed += self._meter(last, reading, claims)
            if abs(wall_base_ms - self._base_ms) > CLOCK_TOLERANCE_MS:
                closed += self.cut()
                self._base_ms = wall_base_ms
        self._last = reading
        if self.began is None:
            self.began = End(reading.taken_at_ms, reading.monotonic_ms)
        self._ended = End(self._base_ms + reading.monotonic_ms, reading.monotonic_ms)
        return closed

    def move(self, placement: Placement) -> list[Closed]:
        """From now on the GPU is placed otherwise; what is open ends under the old one."""
        closed = self.cut()
        self._placement = placement
        self._source = self._claims or _Sole(placement)
        self._signature = None
        return closed

    def cut(self) -> list[Closed]:
        """Close what is open at the last reading; the time after it is metered on."""
        return [] if self._open is None else [self._close(self._open)]

    def end(self) -> list[Closed]:
        """Close what is open at the last reading; nothing is known of the time until the next."""
        closed = self.cut()
        self._last = None
        return closed

    def silent_for(self, monotonic_ms: int) -> int:
        """Milliseconds since the last reading; 0 when nothing is open."""
        return 0 if self._last is None else monotonic_ms - self._last.monotonic_ms

    def _divide(self, reading: GpuReading) -> tuple[tuple[Claim, ...] | None, list[Closed]]:
        """Who holds the GPU now; closes what is open when that is new."""
        claims, mig = self._source.of(reading), reading.mig
        signature = (
            None if claims is None else [claim[:2] + claim[3:] for claim in claims],
            mig and (mig.slices, [(one.uuid, one.slices, one.profile) for one in mig.instances]),
        )
        if signature == self._signature and self.plan is not None:
            return claims, []
        self._signature = signature
        plan = plan_of(claims, mig, self._placement.owner)
        if plan == self.plan:
            return claims, []
        closed = self.cut()
        self.plan = plan
        count = len(plan.parts)
        self._owed = ([0] * (3 * count), [0] * count)
        return claims, closed

    def _meter(
        self, last: GpuReading, now: GpuReading, claims: tuple[Claim, ...] | None
    ) -> Iterator[Closed]:
        assert self.plan is not None
        at_ms, left_ms = last.monotonic_ms, now.monotonic_ms - last.monotonic_ms
        busy_ms = _rise(last.busy_ms, now.busy_ms)
        if left_ms > 0:
            energy_mj = self._energy_since(now)
        while left_ms > 0:
            if self._open is None:
                self._open = self._begin(at_ms, now, self.plan)
            piece = self._open
            step_ms = min(left_ms, piece.room_ms - piece.duration_ms)
            busy_part, busy_ms = _part(busy_ms, step_ms, left_ms)
            energy_part, energy_mj = _part(energy_mj, step_ms, left_ms)
            amounts = split(self.plan, now, claims, step_ms, busy_part, energy_part)
            start_ms = piece.start_ms + piece.duration_ms
            self._accrue(Accrued(now, self._placement, start_ms, self.plan, amounts))
            _add(piece, amounts)
            piece.duration_ms += step_ms
            if energy_part is not None:
                piece.energy_mj = (piece.energy_mj or 0) + energy_part
            at_ms += step_ms
            left_ms -= step_ms
            if piece.duration_ms == piece.room_ms:
                yield self._close(piece)

    def _energy_since(self, now: GpuReading) -> int | None:
        """What the GPU used since it was asked here before; None where it does not tell."""
        before, self._energy_mj = self._energy_mj, now.energy_mj
        return _rise(before, now.energy_mj)

    def _begin(self, at_ms: int, now: GpuReading, plan: Plan) -> _Open:
        ahead_ms = now.taken_at_ms - now.monotonic_ms - self._base_ms
        if 0 < ahead_ms <= CLOCK_TOLERANCE_MS:
            self._base_ms += ahead_ms
        start_ms = self._base_ms + at_ms
        count = len(plan.parts)
        room_ms = min(self._longest_ms, MS_PER_HOUR - start_ms % MS_PER_HOUR)
        return _Open(start_ms, room_ms, plan, [0] * (3 * count), [0] * count)

    def _close(self, piece: _Open) -> Closed:
        self._open = None
        parts = piece.plan.parts
        times = to_whole(piece.times, piece.duration_ms, self._owed[0])
        energies: Sequence[int | None] = [None] * len(parts)
        if piece.energy_mj is not None:
            energies = to_whole(piece.energies, piece.energy_mj, self._owed[1])
        shares = tuple(
            Share(part.owner, used, idle, unallocated, 0, energy_mj, part.instance, part.profile)
            for part, used, idle, unallocated, energy_mj in zip(
                parts, times[::3], times[1::3], times[2::3], energies, strict=True
            )
        )
        return self._closed(piece.start_ms, piece.duration_ms, shares)

    def _closed(self, start_ms: int, duration_ms: int, shares: tuple[Share, ...]) -> Closed:
        self._sequence += 1
        segment = Segment(
            self._run_id, self._sequence, start_ms, duration_ms, self._uuid,
            self._gpu_model, self._placement, shares,
        )  # fmt: skip
        end_ms = start_ms + duration_ms
        return Closed(segment, End(end_ms, end_ms - self._base_ms))

    def _look_back(self, now: GpuReading) -> Iterator[Closed]:
        """The time since the GPU was last accounted for, in which nobody looked."""
        ended = self._ended
        wall_ms = self._base_ms + now.monotonic_ms
        gap_ms = 0
        if ended is not None:
            # The shorter of both clocks: a wall clock that was set forward meanwhile invents
            # no time, and one that was set back does not lay time over what is booked.
            gap_ms = min(now.monotonic_ms - ended.steady_ms, wall_ms - ended.wall_ms)
            gap_ms = min(gap_ms, LONGEST_UNOBSERVED_MS)
        if gap_ms <= 0:
            if self._energy_mj is None:
                self._energy_mj = now.energy_mj
            return
        energy_mj = self._energy_since(now)
        assert self.plan is not None
        while gap_ms > 0:
            start_ms = wall_ms - gap_ms
            step_ms = min(gap_ms, MS_PER_HOUR - start_ms % MS_PER_HOUR)
            energy_part, energy_mj = _part(energy_mj, step_ms, gap_ms)
            gap_ms -= step_ms
            self._accrue(
                Accrued(now, self._placement, start_ms, self.plan, (), step_ms, energy_part or 0)
            )
            share = Share(self._placement.owner, unobserved_ms=step_ms, energy_mj=energy_part)
            yield self._closed(start_ms, step_ms, (share,))


def _add(piece: _Open, amounts: Sequence[Amount]) -> None:
    times, energies = piece.times, piece.energies
    for at, (used, idle, unallocated, energy_used, energy_rest) in enumerate(amounts):
        times[3 * at] += used
        times[3 * at + 1] += idle
        times[3 * at + 2] += unallocated
        energies[at] += energy_used + energy_rest


def _rise(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None else after - before


def _part(amount: int | None, part: int, whole: int) -> tuple[int | None, int | None]:
    """The share of `part` in `whole`, and what is left: together always the amount."""
    if amount is None:
        return None, None
    share = amount * part // whole
    return share, amount - share
