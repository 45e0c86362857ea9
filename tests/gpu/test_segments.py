"""Segments: closed, disjoint, within an hour, and together exactly the time answered."""

from __future__ import annotations

import json
from collections import defaultdict
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from costmeter.gpu.readings import GpuReading, RawReading
from costmeter.gpu.segments import CLOCK_TOLERANCE_MS, LONGEST_UNOBSERVED_MS, Cutter, End
from costmeter.gpu.track import Track
from costmeter.model import MS_PER_DAY, MS_PER_HOUR
from costmeter.segment import Owner, Placement, Segment, Share, segment_usages

HOUR = 1_763_805_600_000  # 2025-11-22T10:00:00Z
LONGEST_GAP_MS = 10_000
A = Owner("a")


class Gpu:
    """A GPU whose samples a test makes up: it drives the track and the cutter."""

    def __init__(
        self, wall_ms: int = HOUR, longest_ms: int = 60_000, ended: End | None = None
    ) -> None:
        self.wall_ms, self.steady_ms = wall_ms, 5_000
        self.track = Track("GPU-1", LONGEST_GAP_MS)
        self.cutter = Cutter("GPU-1", "run", Placement(owner=A), longest_ms=longest_ms, ended=ended)
        self.segments: list[Segment] = []
        self.readings: list[GpuReading] = []

    def sample(
        self, seconds: float = 1, *, percent: int | None = 50, watts: int = 100, step: float = 0
    ) -> GpuReading:
        """The next answer, `seconds` later; the wall clock jumps by `step` beside that."""
        self.wait(seconds)
        self.wall_ms += round(1000 * step)
        raw = RawReading(utilization_percent=percent, power_mw=watts * 1000)
        reading = self.track.take(0, "NVIDIA L40S", raw, self.wall_ms, self.steady_ms)
        self.readings.append(reading)
        self.segments += [closed.segment for closed in self.cutter.feed(reading)]
        return reading

    def samples(self, count: int, **kinds: int) -> None:
        for _ in range(count):
            self.sample(**kinds)

    def wait(self, seconds: float) -> None:
        self.wall_ms += round(1000 * seconds)
        self.steady_ms += round(1000 * seconds)

    def lose(self) -> None:
        self.track.lose()
        self.segments += [closed.segment for closed in self.cutter.end()]

    def end(self) -> list[Segment]:
        self.segments += [closed.segment for closed in self.cutter.end()]
        return self.segments


def spans(segments: list[Segment]) -> list[tuple[int, int]]:
    """Of time in which the GPU answered."""
    return [(s.start_ms - HOUR, s.duration_ms) for s in segments if not unobserved(s)]


def gaps(segments: list[Segment]) -> list[tuple[int, int]]:
    return [(s.start_ms - HOUR, s.duration_ms) for s in segments if unobserved(s)]


def unobserved(segment: Segment) -> int:
    return sum(share.unobserved_ms for share in segment.shares)


def used(segment: Segment) -> int:
    return sum(share.used_ms for share in segment.shares)


def energy_of(segment: Segment) -> int:
    return sum(share.energy_mj or 0 for share in segment.shares)


def test_an_undisturbed_gpu_is_cut_every_minute() -> None:
    gpu = Gpu()
    gpu.samples(151)
    assert spans(gpu.segments) == [(1_000, 60_000), (61_000, 60_000)]
    assert spans(gpu.end()) == [(1_000, 60_000), (61_000, 60_000), (121_000, 30_000)]
    assert [s.sequence for s in gpu.segments] == [1, 2, 3]
    assert [used(s) for s in gpu.segments] == [30_000, 30_000, 15_000]
    assert [energy_of(s) for s in gpu.segments] == [6_000_000, 6_000_000, 3_000_000]


def test_a_closed_segment_waits_for_no_later_sample_to_have_its_length() -> None:
    gpu = Gpu()
    for _ in range(12):
        gpu.sample(7)
    assert spans(gpu.segments) == [(7_000, 60_000)]


def test_a_segment_ends_with_the_hour() -> None:
    gpu = Gpu(HOUR + MS_PER_HOUR - 10_500)
    gpu.samples(20)
    gpu.end()
    assert spans(gpu.segments) == [(3_590_500, 9_500), (3_600_000, 9_500)]
    assert sum(used(s) for s in gpu.segments) == 9_500


def test_a_lost_gpu_ends_at_its_last_answer_and_begins_at_its_next() -> None:
    gpu = Gpu()
    gpu.samples(11)
    gpu.wait(3)
    gpu.lose()
    gpu.samples(6)
    assert spans(gpu.end()) == [(1_000, 10_000), (15_000, 5_000)]
    assert gaps(gpu.segments) == [(11_000, 4_000)]


def test_in_a_long_silence_nobody_looked() -> None:
    gpu = Gpu()
    gpu.samples(3)
    gpu.sample(10)
    gpu.sample(10.001)
    gpu.sample(1)
    assert spans(gpu.end()) == [(1_000, 12_000), (23_001, 1_000)]
    assert gaps(gpu.segments) == [(13_000, 10_001)]


def test_a_step_of_the_wall_clock_ends_the_segment() -> None:
    for step in (-900.0, -2.5, 2.5, 900.0):
        gpu = Gpu(HOUR + 1_800_000)
        gpu.samples(11)
        gpu.sample(1, step=step)
        gpu.samples(5)
        begin = 1_800_000 + 12_000 + round(1000 * step)
        assert spans(gpu.end()) == [(1_801_000, 11_000), (begin, 5_000)]


def test_a_small_correction_of_the_clock_makes_no_overlap() -> None:
    gpu = Gpu(longest_ms=10_000)
    gpu.samples(6)
    gpu.sample(1, step=-1.5)
    gpu.samples(30)
    ends = [s.start_ms + s.duration_ms for s in gpu.end()]
    assert all(b.start_ms >= end for b, end in zip(gpu.segments[1:], ends, strict=False))
    assert sum(s.duration_ms for s in gpu.segments) == 36_000


def test_a_clock_that_runs_ahead_is_followed_when_a_segment_begins() -> None:
    gpu = Gpu(longest_ms=10_000)
    gpu.samples(6)
    gpu.sample(1, step=1.5)
    gpu.samples(10)
    assert spans(gpu.end()) == [(1_000, 10_000), (12_500, 6_000)]


def test_time_of_unknown_utilisation_counts_as_used() -> None:
    gpu = Gpu()
    gpu.samples(5)
    gpu.sample(percent=None)
    gpu.sample(percent=None)
    gpu.samples(4)
    (segment,) = gpu.end()
    # Four seconds of a half, three of which nobody knows, three of a half.
    assert segment.shares == (Share(A, used_ms=6_500, idle_ms=3_500, energy_mj=1_000_000),)


def test_the_energy_of_the_driver_survives_a_reset_of_the_gpu() -> None:
    track = Track("GPU-1", LONGEST_GAP_MS)
    totals = []
    for second, energy in enumerate([500_000, 700_000, 1_000, 300_000]):
        raw = RawReading(power_mw=100_000, energy_mj=energy)
        totals.append(track.take(0, "m", raw, 0, 1000 * second).energy_mj)
    # The reset's second is 100 W x 1 s; the counter's own figures hold before and after.
    assert totals == [0, 200_000, 300_000, 599_000]


def test_energy_while_nobody_could_ask_counts_where_the_driver_counted_it() -> None:
    track = Track("GPU-1", LONGEST_GAP_MS)
    track.take(0, "m", RawReading(energy_mj=1_000), 0, 0)
    track.lose()
    reading = track.take(0, "m", RawReading(energy_mj=9_000), 0, 60_000)
    assert reading.energy_mj == 8_000
    assert reading.continuous is False


def test_power_between_two_samples_is_their_mean() -> None:
    track = Track("GPU-1", LONGEST_GAP_MS)
    track.take(0, "m", RawReading(power_mw=100_000), 0, 0)
    assert track.take(0, "m", RawReading(power_mw=200_000), 0, 2_000).energy_mj == 300_000


def test_the_usages_of_a_segment() -> None:
    owner = Owner("acme", "prod", "search", "p1", purpose="inference", namespace="ml", pod="w-0")
    placement = Placement("aws", "123", "us-east-1", "g6e.xlarge", "spot", "n1", owner)
    shares = (
        Share(owner, 45_000, 5_000, energy_mj=8_700_000),
        Share(unallocated_ms=10_000, instance="MIG-1", profile="1g.10gb"),
    )
    segment = Segment("run", 7, HOUR, 60_000, "GPU-1", "NVIDIA L40S", placement, shares)
    one, two = segment_usages(segment, "gpu")
    assert (one.event_id, two.event_id) == ("g:run/GPU-1/7/0", "g:run/GPU-1/7/1")
    assert one.feed == "gpu"
    assert one.at_ms == HOUR
    assert one.quantities == {
        "gpu_ms": 45_000, "gpu_idle_ms": 5_000, "gpu_energy_mj": 8_700_000,
    }  # fmt: skip
    assert two.quantities == {"gpu_unallocated_ms": 10_000}
    assert one.resource == two.resource == "GPU-1"
    assert json.loads(one.detail) == {"node": "n1", "namespace": "ml", "pod": "w-0"}
    assert json.loads(two.detail) == {"node": "n1", "instance": "MIG-1", "profile": "1g.10gb"}
    assert one.labels._asdict() == {
        "tenant_id": "acme",
        "category": "gpu_compute",
        "purpose": "inference",
        "provider": "aws",
        "account": "123",
        "region": "us-east-1",
        "model": "NVIDIA L40S",
        "environment": "prod",
        "team": "search",
        "project": "p1",
        "service": "g6e.xlarge",
        "feature": "",
        "operation": "spot",
    }
    assert two.labels.tenant_id == "unattributed"


def test_the_time_without_a_process_is_unobserved() -> None:
    gpu = Gpu(HOUR + 91_000_000, ended=End(HOUR + 90_940_000, 5_000 - 60_000))
    gpu.sample(1)
    assert gaps(gpu.end()) == [(90_940_000, 61_000)]


def test_a_clock_that_was_set_forward_meanwhile_invents_no_time() -> None:
    gpu = Gpu(HOUR + 91_000_000, ended=End(HOUR, -55_000))
    gpu.sample(1)
    assert gaps(gpu.end()) == [(91_001_000 - 61_000, 61_000)]


def test_a_clock_that_was_set_back_meanwhile_lays_no_time_over_what_is_booked() -> None:
    gpu = Gpu(HOUR, ended=End(HOUR - 9_000, -55_000))
    gpu.sample(1)
    assert gaps(gpu.segments) == [(-9_000, 9_000), (0, 1_000)]
    behind = Gpu(HOUR, ended=End(HOUR + 9_000, -55_000))
    behind.sample(1)
    assert behind.end() == []


def test_an_end_of_another_steady_clock_says_nothing() -> None:
    gpu = Gpu(HOUR + 90_000_000, ended=End(HOUR, 7_000))
    gpu.sample(1)
    assert gpu.end() == []


def test_a_gap_is_cut_at_hours_and_is_no_longer_than_what_the_ledger_takes() -> None:
    gpu = Gpu(HOUR, ended=End(HOUR - 30 * MS_PER_DAY, 5_000 - 30 * MS_PER_DAY))
    gpu.sample(60)
    segments = gpu.end()
    assert sum(s.duration_ms for s in segments) == LONGEST_UNOBSERVED_MS == 7 * MS_PER_DAY
    assert len(segments) == 7 * 24 + 1
    assert gaps(segments)[0] == (60_000 - LONGEST_UNOBSERVED_MS, MS_PER_HOUR - 60_000)
    assert gaps(segments)[-1] == (0, 60_000)
    assert [s.sequence for s in segments] == list(range(1, 170))


def test_energy_of_a_loss_goes_with_its_time() -> None:
    gpu = Gpu()
    track = gpu.track
    for wait_ms, energy in ((0, 1_000), (1_000, 2_000), (60_000, 9_000), (1_000, 9_500)):
        gpu.wait(wait_ms / 1000)
        reading = track.take(0, "m", RawReading(energy_mj=energy), gpu.wall_ms, gpu.steady_ms)
        gpu.segments += [closed.segment for closed in gpu.cutter.feed(reading)]
    assert [energy_of(s) for s in gpu.end()] == [1_000, 7_000, 500]
    assert [unobserved(s) for s in gpu.segments] == [0, 60_000, 0]


SAMPLE = st.tuples(
    st.just("sample"),
    st.one_of(st.integers(1, 1_500), st.integers(1_500, 12_000), st.integers(12_000, 2_000_000)),
    st.one_of(st.none(), st.integers(0, 100)),
    st.one_of(st.just(0), st.just(0), st.integers(-300, 300), st.integers(-4_000_000, 4_000_000)),
)
LOSS = st.tuples(st.just("lose"), st.integers(0, 30_000), st.none(), st.just(0))
CUT = st.tuples(st.just("cut"), st.just(0), st.none(), st.just(0))


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.one_of(SAMPLE, SAMPLE, SAMPLE, LOSS, CUT), max_size=60),
    st.integers(0, MS_PER_HOUR - 1),
    st.sampled_from([1_000, 7_777, 60_000, 300_000]),
)
def test_any_schedule(
    schedule: list[tuple[str, int, int | None, int]], into_hour_ms: int, longest_ms: int
) -> None:
    gpu = Gpu(HOUR + into_hour_ms, longest_ms)
    answered_ms = backwards_ms = missing_ms = since_steps_ms = 0
    last_ms: int | None = None
    first_ms: int | None = None
    lost = False
    for what, wait_ms, percent, step_ms in schedule:
        if what == "lose":
            gpu.wait(wait_ms / 1000)
            gpu.lose()
            lost = True
        elif what == "cut":
            gpu.segments += [closed.segment for closed in gpu.cutter.cut()]
        else:
            gpu.sample(wait_ms / 1000, percent=percent, step=step_ms / 1000)
            backwards_ms += max(0, -step_ms)
            first_ms = gpu.steady_ms if first_ms is None else first_ms
            if last_ms is not None:
                gap_ms = gpu.steady_ms - last_ms
                if not lost and gap_ms <= LONGEST_GAP_MS:
                    answered_ms += gap_ms
                else:
                    missing_ms += gap_ms
                    since_steps_ms += max(0, -step_ms)
            last_ms, lost = gpu.steady_ms, False
    segments = gpu.end()

    observed_ms = sum(s.duration_ms - unobserved(s) for s in segments)
    assert observed_ms == answered_ms
    # What a clock that was set back hides of a loss is not booked; nothing else is missing.
    assert (
        missing_ms - since_steps_ms - CLOCK_TOLERANCE_MS * (since_steps_ms > 0)
        <= sum(unobserved(s) for s in segments)
        <= missing_ms
    )
    if backwards_ms == 0:
        span_ms = 0 if first_ms is None else gpu.readings[-1].monotonic_ms - first_ms
        assert sum(s.duration_ms for s in segments) == span_ms
    assert [s.sequence for s in segments] == list(range(1, len(segments) + 1))
    by_hour: dict[int, int] = defaultdict(int)
    for segment in segments:
        assert 0 < segment.duration_ms <= (MS_PER_HOUR if unobserved(segment) else longest_ms)
        assert sum(share.total_ms for share in segment.shares) == segment.duration_ms
        assert all(min(share[1:5]) >= 0 for share in segment.shares)
        last_instant_ms = segment.start_ms + segment.duration_ms - 1
        assert segment.start_ms // MS_PER_HOUR == last_instant_ms // MS_PER_HOUR
        by_hour[segment.start_ms // MS_PER_HOUR] += segment.duration_ms
    # An hour that the wall clock shows twice can be used twice; nothing else can.
    for duration_ms in by_hour.values():
        assert duration_ms <= MS_PER_HOUR + backwards_ms
    if backwards_ms <= CLOCK_TOLERANCE_MS:
        for before, after in pairwise(segments):
            assert before.start_ms + before.duration_ms <= after.start_ms
    energy = [r.energy_mj for r in gpu.readings if r.energy_mj is not None]
    assert energy == sorted(energy)
    assert sum(energy_of(s) for s in segments) == (energy[-1] if energy else 0)
