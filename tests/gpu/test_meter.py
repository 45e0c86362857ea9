"""The meter keeps each closed segment until somebody has booked it."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from costmeter.gpu.meter import GpuMeter
from costmeter.gpu.readings import RawReading, Round
from costmeter.gpu.track import Track
from costmeter.segment import Owner, Placement, Segment
from fakes.clock import FakeClock


class Rig:
    """Two GPUs that answer once a second while `run` says so."""

    def __init__(self, **settings: int) -> None:
        self.clock = FakeClock()
        self.meter = GpuMeter(self.clock, Placement(owner=Owner("a")), run_id="r", **settings)
        self.tracks = [Track("GPU-0", 10_000), Track("GPU-1", 10_000)]

    def run(self, seconds: int) -> None:
        for _ in range(seconds):
            self.clock.advance(1)
            at = (self.clock.now_ms(), self.clock.monotonic_ms())
            raw = RawReading(utilization_percent=10)
            readings = [t.take(i, "NVIDIA L40S", raw, *at) for i, t in enumerate(self.tracks)]
            self.meter.observe(Round(tuple(readings)))

    def lose(self, index: int) -> None:
        self.tracks[index].lose()
        self.meter.observe(Round((), (f"GPU-{index}",)))


def ids(rig: Rig, limit: int | None = None) -> list[str]:
    return [name(segment) for segment in rig.meter.drain(limit)]


def name(segment: Segment) -> str:
    return f"{segment.uuid}/{segment.sequence}"


def observed(segments: list[Segment]) -> list[int]:
    """The lengths of those in which the GPU answered."""
    return [s.duration_ms for s in segments if not any(part.unobserved_ms for part in s.shares)]


def test_what_is_not_confirmed_is_handed_out_again_with_the_same_ids() -> None:
    rig = Rig()
    rig.run(61)
    first = rig.meter.drain()
    assert [name(s) for s in first] == ["GPU-0/1", "GPU-1/1"]
    assert rig.meter.drain() == first
    rig.run(60)
    assert rig.meter.drain()[:2] == first
    rig.meter.confirm(1)
    assert ids(rig) == ["GPU-1/1", "GPU-0/2", "GPU-1/2"]
    rig.meter.confirm(3)
    assert ids(rig) == []


def test_segments_that_close_after_a_drain_are_not_confirmed_with_it() -> None:
    rig = Rig()
    rig.run(61)
    assert len(rig.meter.drain()) == 2
    rig.run(60)
    rig.meter.confirm(2)
    assert ids(rig) == ["GPU-0/2", "GPU-1/2"]


def test_a_drain_can_be_confirmed_in_parts_but_not_beyond() -> None:
    rig = Rig()
    rig.run(121)
    assert len(rig.meter.drain(3)) == 3
    rig.meter.confirm(1)
    rig.meter.confirm(2)
    with pytest.raises(ValueError, match="1 segments confirmed, 0 were handed out"):
        rig.meter.confirm(1)
    assert len(rig.meter.drain()) == 1


def test_an_open_segment_is_handed_out_only_when_it_is_closed() -> None:
    rig = Rig()
    rig.run(30)
    assert ids(rig) == []
    rig.meter.close()
    assert observed(rig.meter.drain()) == [29_000, 29_000]


def test_a_gpu_that_hangs_is_closed_at_its_last_answer() -> None:
    rig = Rig()
    rig.run(30)
    rig.clock.advance(10)
    assert ids(rig) == []
    rig.clock.advance(1)
    assert observed(rig.meter.drain()) == [29_000, 29_000]
    rig.run(61)
    assert observed(rig.meter.drain()) == [29_000, 29_000, 60_000, 60_000]


def test_a_lost_gpu_is_closed_at_once_and_the_other_goes_on() -> None:
    rig = Rig()
    rig.run(30)
    rig.lose(1)
    assert ids(rig) == ["GPU-1/1"]
    rig.run(31)
    # The second in which nobody looked is the other's second segment.
    assert ids(rig) == ["GPU-1/1", "GPU-1/2", "GPU-0/1"]


def test_a_gpu_that_answers_in_the_pass_in_which_it_is_lost_is_metered_to_that_answer() -> None:
    rig = Rig()
    rig.run(10)
    rig.clock.advance(1)
    at = (rig.clock.now_ms(), rig.clock.monotonic_ms())
    reading = rig.tracks[0].take(0, "NVIDIA L40S", RawReading(power_mw=1), *at)
    rig.meter.observe(Round((reading,), ("GPU-0",)))
    (segment,) = rig.meter.drain()
    assert segment.duration_ms == 10_000


def test_another_placement_ends_what_is_open_and_loses_no_time() -> None:
    rig = Rig()
    rig.run(30)
    rig.meter.move(Placement(owner=Owner("b")))
    rig.run(30)
    rig.meter.close()
    per_tenant = {"a": 0, "b": 0}
    for segment in rig.meter.drain():
        (share,) = segment.shares
        assert segment.placement.owner == share.owner
        per_tenant[share.owner.tenant_id] += share.used_ms + share.idle_ms
    assert per_tenant == {"a": 2 * 29_000, "b": 2 * 30_000}


def test_when_nobody_books_the_oldest_are_given_up_and_it_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rig = Rig(most_waiting=3)
    rig.run(61)
    assert len(rig.meter.drain()) == 2
    with caplog.at_level(logging.ERROR, "costmeter.gpu"):
        rig.run(120)
    assert rig.meter.dropped == 3
    assert len(caplog.records) == 1
    # Those two are gone already: to confirm them must not remove others.
    rig.meter.confirm(2)
    assert ids(rig) == ["GPU-1/2", "GPU-0/3", "GPU-1/3"]


def test_two_runs_never_share_an_id() -> None:
    clock = FakeClock()
    runs = set()
    for _ in range(2):
        meter = GpuMeter(clock, Placement(), segment_seconds=1)
        track = Track("GPU-0", 10_000)
        for _ in range(2):
            clock.advance(1)
            at = (clock.now_ms(), clock.monotonic_ms())
            meter.observe(Round((track.take(0, "m", RawReading(power_mw=1), *at),)))
        runs |= {segment.run_id for segment in meter.drain()}
    assert len(runs) == 2


STEPS = st.one_of(
    st.tuples(st.just("run"), st.integers(1, 90)),
    st.tuples(st.just("drain"), st.integers(0, 5)),
    st.tuples(st.just("confirm"), st.integers(0, 5)),
    st.tuples(st.just("lose"), st.integers(0, 1)),
    st.tuples(st.just("silence"), st.integers(1, 40)),
    st.tuples(st.just("move"), st.just(0)),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(STEPS, max_size=25))
def test_a_failing_consumer_loses_nothing_and_books_nothing_twice(
    steps: list[tuple[str, int]],
) -> None:
    """`drain` without `confirm` is a consumer that failed."""
    rig = Rig()
    handed: list[Segment] = []
    booked: list[Segment] = []
    answered_seconds = [0, 0]
    since: list[int | None] = [None, None]
    for what, number in steps:
        if what == "run":
            for _ in range(number):
                rig.run(1)
                now = rig.clock.monotonic_ms() // 1000
                for index, before in enumerate(since):
                    if before is not None and now - before <= 10:
                        answered_seconds[index] += now - before
                    since[index] = now
        elif what == "drain":
            handed = rig.meter.drain(number)
        elif what == "confirm":
            count = min(number, len(handed))
            rig.meter.confirm(count)
            booked += handed[:count]
            handed = handed[count:]
        elif what == "lose":
            rig.lose(number)
            since[number] = None
        elif what == "silence":
            rig.clock.advance(number)
        else:
            rig.meter.move(Placement(owner=Owner("b")))
    rig.meter.close()
    booked += rig.meter.drain()

    assert len({name(segment) for segment in booked}) == len(booked)
    for index, seconds in enumerate(answered_seconds):
        mine = [segment for segment in booked if segment.uuid == f"GPU-{index}"]
        assert sum(observed(mine)) == 1000 * seconds
