"""Cuts a GPU's time into closed segments: what the ledger is told of it.

A segment is never touched again once it is closed, so that it can be sent twice and
booked once. It is at most `longest_ms` long and lies within one hour of UTC, because
prices and tables go by the hour.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from costmeter.gpu.readings import GpuReading
from costmeter.model import MS_PER_HOUR, UNATTRIBUTED, Labels, Usage

#: How far wall time may drift from steady time before a segment ends for it.
CLOCK_TOLERANCE_MS = 2_000

Operation = Literal["on_demand", "spot", "reserved"]


class Segment(NamedTuple):
    """A stretch of time in which one GPU answered throughout.

    `start_ms` is Unix time, `duration_ms` is by the steady clock. `busy_ms` and
    `energy_mj` are None where the GPU does not tell them (utilisation under MIG).
    """

    run_id: str
    sequence: int
    start_ms: int
    duration_ms: int
    uuid: str
    gpu_model: str
    busy_ms: int | None
    energy_mj: int | None


@dataclass(frozen=True, slots=True)
class Placement:
    """Whose GPUs these are and where they stand, as the operator says it.

    `instance_type` is the provider's name of the machine, `operation` the way in which
    it is bought. A `tenant_id` of None means that nobody is named.
    """

    provider: str = "onprem"
    account: str = ""
    region: str = ""
    instance_type: str = ""
    operation: Operation = "on_demand"
    tenant_id: str | None = None
    environment: str = ""
    purpose: str = ""
    team: str = ""
    project: str = ""


def segment_usage(segment: Segment, placement: Placement) -> Usage:
    """The segment as the ledger takes it: GPU-milliseconds, priced by the hour there."""
    known = {"busy_ms": segment.busy_ms, "energy_mj": segment.energy_mj}
    return Usage(
        event_id=f"f:gpu:{segment.run_id}/{segment.uuid}/{segment.sequence}",
        at_ms=segment.start_ms,
        feed="gpu",
        labels=Labels(
            tenant_id=placement.tenant_id or UNATTRIBUTED,
            category="gpu_compute",
            purpose=placement.purpose,
            provider=placement.provider,
            account=placement.account,
            region=placement.region,
            model=segment.gpu_model,
            environment=placement.environment,
            team=placement.team,
            project=placement.project,
            service=placement.instance_type,
            feature="",
            operation=placement.operation,
        ),
        quantities={"gpu_ms": segment.duration_ms},
        resource=segment.uuid,
        detail=json.dumps({key: value for key, value in known.items() if value is not None}),
    )


@dataclass(slots=True)
class _Open:
    start_ms: int
    room_ms: int
    duration_ms: int = 0
    busy_ms: int | None = 0
    energy_mj: int | None = 0


class Cutter:
    """Cuts one GPU's readings; not thread-safe.

    Wall time is steady time plus a base, which is fixed while a segment is open. It
    moves forward with the wall clock when the next one opens; it moves back only when
    the wall clock is over the tolerance behind, so that small corrections of the clock
    never make two segments overlap.
    """

    def __init__(self, uuid: str, run_id: str, longest_ms: int) -> None:
        self._uuid = uuid
        self._run_id = run_id
        self._longest_ms = longest_ms
        self._sequence = 0
        self._base_ms = 0
        self._last: GpuReading | None = None
        self._open: _Open | None = None

    def feed(self, reading: GpuReading) -> list[Segment]:
        """The segments that this reading closes."""
        closed: list[Segment] = []
        wall_base_ms = reading.taken_at_ms - reading.monotonic_ms
        if self._last is None or not reading.continuous:
            closed += self.end()
        else:
            closed += self._meter(self._last, reading)
        if abs(wall_base_ms - self._base_ms) > CLOCK_TOLERANCE_MS:
            closed += self.cut()
            self._base_ms = wall_base_ms
        self._last = reading
        return closed

    def cut(self) -> list[Segment]:
        """Close what is open at the last reading; the time after it is metered on."""
        if self._open is None:
            return []
        return [self._close(self._open)]

    def end(self) -> list[Segment]:
        """Close what is open at the last reading; the time until the next is not metered."""
        closed = self.cut()
        self._last = None
        return closed

    def silent_for(self, monotonic_ms: int) -> int:
        """Milliseconds since the last reading; 0 when nothing is open."""
        return 0 if self._last is None else monotonic_ms - self._last.monotonic_ms

    def _meter(self, last: GpuReading, now: GpuReading) -> Iterator[Segment]:
        at_ms, left_ms = last.monotonic_ms, now.monotonic_ms - last.monotonic_ms
        busy_ms = _rise(last.busy_ms, now.busy_ms)
        energy_mj = _rise(last.energy_mj, now.energy_mj)
        while left_ms > 0:
            if self._open is None:
                self._open = self._begin(at_ms, now)
            piece = self._open
            step_ms = min(left_ms, piece.room_ms - piece.duration_ms)
            busy_part, busy_ms = _split(busy_ms, step_ms, left_ms)
            energy_part, energy_mj = _split(energy_mj, step_ms, left_ms)
            piece.duration_ms += step_ms
            piece.busy_ms = _add(piece.busy_ms, busy_part)
            piece.energy_mj = _add(piece.energy_mj, energy_part)
            at_ms += step_ms
            left_ms -= step_ms
            if piece.duration_ms == piece.room_ms:
                yield self._close(piece)

    def _begin(self, at_ms: int, now: GpuReading) -> _Open:
        ahead_ms = now.taken_at_ms - now.monotonic_ms - self._base_ms
        if 0 < ahead_ms <= CLOCK_TOLERANCE_MS:
            self._base_ms += ahead_ms
        start_ms = self._base_ms + at_ms
        return _Open(start_ms, min(self._longest_ms, MS_PER_HOUR - start_ms % MS_PER_HOUR))

    def _close(self, piece: _Open) -> Segment:
        self._open = None
        self._sequence += 1
        assert self._last is not None
        return Segment(
            run_id=self._run_id,
            sequence=self._sequence,
            start_ms=piece.start_ms,
            duration_ms=piece.duration_ms,
            uuid=self._uuid,
            gpu_model=self._last.model,
            busy_ms=piece.busy_ms,
            energy_mj=piece.energy_mj,
        )


def _rise(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None else after - before


def _split(amount: int | None, part: int, whole: int) -> tuple[int | None, int | None]:
    """The share of `part` in `whole`, and what is left: together always the amount."""
    if amount is None:
        return None, None
    share = amount * part // whole
    return share, amount - share


def _add(total: int | None, part: int | None) -> int | None:
    """One unknown part makes the sum unknown; it would be too small otherwise."""
    return None if total is None or part is None else total + part
