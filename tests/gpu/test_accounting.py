"""Whatever happens to a machine, each of its GPUs' time is accounted for once, to the last
millisecond and to the last nano-dollar."""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from costmeter.gpu.claims import Claim
from costmeter.gpu.costs import Costs, Energy
from costmeter.gpu.gaps import Gaps
from costmeter.gpu.meter import GpuMeter
from costmeter.gpu.readings import GpuProcess, GpuReading, MigInstance, MigLayout, RawReading, Round
from costmeter.gpu.track import Track
from costmeter.model import MS_PER_HOUR
from costmeter.segment import Owner, Placement, Segment, segment_usages
from fakes.clock import FakeClock

UUIDS = ("GPU-0", "GPU-1")
NANO_PER_HOUR = 3_673_000_007
NANO_PER_KWH = 123_456_789
OWNERS = [Owner(name, pod=f"{name}-0") for name in "abc"]


class Rate(NamedTuple):
    nano_per_gpu_hour: int = NANO_PER_HOUR
    nano_per_kwh: int | None = NANO_PER_KWH


class OneRate:
    def of(self, placement: Placement, gpu_model: str, at_ms: int) -> Rate:
        return Rate()


class Held:
    """Claims that a test sets."""

    def __init__(self) -> None:
        self.now: dict[str, tuple[Claim, ...] | None] = dict.fromkeys(UUIDS, ())

    def of(self, reading: GpuReading) -> tuple[Claim, ...] | None:
        return self.now[reading.uuid]


class Machine:
    """A node with two GPUs; its exporter comes and goes, its ledger stays."""

    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.held = Held()
        self.boots = 0
        self.layouts: dict[str, MigLayout | None] = dict.fromkeys(UUIDS)
        self.processes: tuple[GpuProcess, ...] | None = None
        self.booked: dict[str, tuple[int, str, dict[str, int]]] = {}
        self.energy_mj = dict.fromkeys(UUIDS, 0)
        #: By uuid, of each time that the machine was on: since when, and up to when.
        self.expected: dict[str, list[list[int]]] = {uuid: [] for uuid in UUIDS}
        self._path = folder / "gpu.json"
        self._path.unlink(missing_ok=True)
        self._begin()

    def _begin(self) -> None:
        self.costs = Costs(OneRate(), Energy(), linger_ms=10**12)
        self.meter = GpuMeter(
            self.clock,
            Placement(node="n", owner=Owner("machine")),
            claims=self.held,
            costs=self.costs,
            gaps=Gaps(self._path, f"boot-{self.boots}"),
        )
        self.tracks = {uuid: Track(uuid, 10_000) for uuid in UUIDS}
        self.handed: list[Segment] = []
        self.closed_here: dict[tuple[str, int], Segment] = {}

    def run(self, seconds: int, percent: int | None, watts: int, lost: str = "") -> None:
        for _ in range(seconds):
            self.clock.advance(1)
            at = (self.clock.now_ms(), self.clock.monotonic_ms())
            found = []
            for index, uuid in enumerate(UUIDS):
                if uuid == lost:
                    continue
                self.energy_mj[uuid] += watts * 1_000
                raw = RawReading(
                    utilization_percent=None if self.layouts[uuid] else percent,
                    energy_mj=self.energy_mj[uuid],
                    mig=self.layouts[uuid],
                    processes=self.processes,
                )
                reading = self.tracks[uuid].take(index, "H100", raw, *at)
                # What the track hands on beside its counters.
                found.append(_with(reading, raw))
                spans = self.expected[uuid]
                if len(spans) <= self.boots:
                    spans.append([at[1], at[1]])
                spans[-1][1] = at[1]
            self.meter.observe(Round(tuple(found), (lost,) if lost else ()))
        self._hand()

    def lose(self, uuid: str) -> None:
        self.tracks[uuid].lose()
        self.meter.observe(Round((), (uuid,)))

    def _hand(self) -> None:
        self.handed = self.meter.drain()
        for segment in self.handed:
            self.closed_here[segment.uuid, segment.sequence] = segment

    def book(self, *, confirm: bool) -> None:
        """With `confirm` False the process dies, or the ledger's answer is lost."""
        self._hand()
        for segment in self.handed:
            assert sum(share.total_ms for share in segment.shares) == segment.duration_ms
            assert all(min(share[1:5]) >= 0 for share in segment.shares)
            for usage in segment_usages(segment, "gpu"):
                figures = (usage.at_ms, usage.resource, dict(usage.quantities))
                # The same segment is the same one for all time.
                assert self.booked.setdefault(usage.event_id, figures) == figures
        if confirm:
            self.meter.confirm(len(self.handed))
            self.handed = []

    def restart(self, *, killed: bool) -> None:
        if not killed:
            self.meter.close()
            self.book(confirm=True)
            self.check_costs()
        self._begin()

    def reboot(self, *, killed: bool) -> None:
        if not killed:
            self.restart(killed=False)
        # What was handed out is offered again; what was not is lost with the machine.
        ends = Gaps(self._path, f"boot-{self.boots}").ends
        for uuid, spans in self.expected.items():
            if len(spans) > self.boots:
                spans[-1][1] = ends[uuid].steady_ms if uuid in ends else spans[-1][0]
            else:
                spans.append([0, 0])
        self.boots += 1
        self.clock.advance(37)
        self.clock._monotonic_ms = 500
        self._begin()

    def go(self, what: object, values: list[object]) -> None:
        match what, values:
            case "run", (int(seconds), percent, int(watts)):
                assert percent is None or isinstance(percent, int)
                self.run(seconds, percent, watts)
            case "claims", (str(uuid), claims):
                self.held.now[uuid] = claims  # type: ignore[assignment]
            case "layout", (str(uuid), list(sizes)):
                self.layouts[uuid] = layout_of(sizes)
            case "processes", (processes,):
                self.processes = processes  # type: ignore[assignment]
            case "lose", (str(uuid), int(seconds)):
                self.lose(uuid)
                self.clock.advance(seconds)
            case "silence", (int(seconds),):
                self.clock.advance(seconds)
            case "book", (bool(confirm),):
                self.book(confirm=confirm)
            case "restart", (bool(killed), int(seconds)):
                self.restart(killed=killed)
                self.clock.advance(seconds)
            case "reboot", (bool(killed),):
                self.reboot(killed=killed)
            case "clock", (int(seconds),):
                self.clock.step_wall(seconds)
            case other:
                raise AssertionError(f"{other} is no step")

    def check_costs(self) -> None:
        """After everything was closed and booked: the page has what the segments have."""
        figures = self.meter.figures()
        mine = [s for s in self.closed_here.values() if s.run_id == self.meter._run_id]
        for uuid, gpu in figures.gpus.items():
            time_ms = sum(s.duration_ms for s in mine if s.uuid == uuid)
            energy = sum(p.energy_mj or 0 for s in mine if s.uuid == uuid for p in s.shares)
            fine = time_ms * NANO_PER_HOUR * 1_000 + energy * NANO_PER_KWH
            assert gpu.cost_nano == fine // 3_600_000_000
            owners = [one for one in figures.owners if one.labels[1] == uuid]
            shown = (gpu.unobserved_nano or 0) + sum(
                (o.used_nano or 0) + (o.idle_nano or 0) + (o.unallocated_nano or 0) for o in owners
            )
            # Each figure on the page is rounded down to its nano-dollar.
            assert 0 <= gpu.cost_nano - shown <= 3 * len(owners) + 1


def _with(reading: GpuReading, raw: RawReading) -> GpuReading:
    return replace(reading, mig=raw.mig, processes=raw.processes)


def layout_of(sizes: list[int]) -> MigLayout | None:
    if not sizes:
        return None
    return MigLayout(
        7,
        tuple(
            MigInstance(
                f"MIG-{at}", at, 0, f"{size}g", size, utilization_percent=(None, 0, 55)[at % 3]
            )
            for at, size in enumerate(sizes)
        ),
    )


UUID = st.sampled_from(UUIDS)
CLAIMS = st.none() | st.lists(
    st.builds(
        Claim,
        st.sampled_from(OWNERS),
        st.sampled_from(["", "MIG-0", "MIG-1", "MIG-2"]),
        st.frozensets(st.integers(1, 4), max_size=2),
    ),
    max_size=4,
).map(tuple)
SIZES = st.sampled_from([[], [1] * 7, [3, 3], [4, 2, 1], [1, 1], [7]])
PROCESSES = st.none() | st.lists(
    st.builds(GpuProcess, st.integers(1, 5), st.none(), st.none() | st.integers(0, 100)),
    max_size=3,
).map(tuple)
RUN = st.tuples(
    st.just("run"), st.integers(1, 100), st.none() | st.integers(0, 100), st.integers(0, 700)
)
STEPS = st.one_of(
    RUN,
    RUN,
    st.tuples(st.just("claims"), UUID, CLAIMS),
    st.tuples(st.just("layout"), UUID, SIZES),
    st.tuples(st.just("processes"), PROCESSES),
    st.tuples(st.just("lose"), UUID, st.integers(1, 4_000)),
    st.tuples(st.just("silence"), st.integers(1, 9_000)),
    st.tuples(st.just("book"), st.booleans()),
    st.tuples(st.just("restart"), st.booleans(), st.integers(0, 200_000)),
    st.tuples(st.just("reboot"), st.booleans()),
    st.tuples(st.just("clock"), st.integers(0, 7_200) | st.integers(-7_200, 7_200)),
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # The disk's patience is not what is tried here.
    monkeypatch.setattr(os, "fsync", lambda _: None)
    return tmp_path


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(STEPS, min_size=8, max_size=40), st.integers(0, MS_PER_HOUR - 1))
def test_every_second_is_accounted_for_once(
    folder: Path, steps: list[tuple[object, ...]], into_hour_ms: int
) -> None:
    machine = Machine(folder)
    machine.clock.advance(into_hour_ms / 1000)
    back_ms = sum(max(0, -1_000 * step[1]) for step in steps if step[0] == "clock")  # type: ignore[operator]
    for what, *values in steps:
        machine.go(what, values)
    # What was lost with a process is made up for when the GPU is seen again.
    machine.run(1, 50, 100)
    machine.restart(killed=False)
    check(machine, back_ms)


def check(machine: Machine, back_ms: int) -> None:
    """Of time, nothing is missing and nothing is there twice."""
    total: dict[str, int] = defaultdict(int)
    by_hour: dict[tuple[str, int], int] = defaultdict(int)
    for at_ms, uuid, quantities in machine.booked.values():
        time_ms = sum(v for name, v in quantities.items() if name != "gpu_energy_mj")
        assert time_ms <= MS_PER_HOUR - at_ms % MS_PER_HOUR
        total[uuid] += time_ms
        by_hour[uuid, at_ms // MS_PER_HOUR] += time_ms
    for uuid, spans in machine.expected.items():
        wanted_ms = sum(end - begin for begin, end in spans)
        assert wanted_ms - back_ms <= total[uuid] <= wanted_ms
        if back_ms == 0:
            assert total[uuid] == wanted_ms
    # Only an hour that the wall clock shows twice can have more than it is long.
    assert max(by_hour.values(), default=0) <= MS_PER_HOUR + back_ms
