"""Who gets what of a GPU: the parts are the whole, whatever holds it."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from costmeter.gpu.claims import Claim
from costmeter.gpu.readings import GpuProcess, GpuReading, MigInstance, MigLayout
from costmeter.gpu.split import UNITS, Amount, plan_of, split, to_whole
from costmeter.segment import NOBODY, Owner

A, B, C = Owner("a"), Owner("b"), Owner("c")
MACHINE = Owner("machine")


def reading(mig: MigLayout | None = None, *processes: GpuProcess) -> GpuReading:
    return GpuReading(0, "GPU-0", "m", 0, 0, continuous=True, mig=mig, processes=processes or None)


def layout(*percents: int | None, slices: int = 7) -> MigLayout:
    instances = [
        MigInstance(f"MIG-{at}", at, 0, "1g.10gb", 1, utilization_percent=percent)
        for at, percent in enumerate(percents)
    ]
    return MigLayout(slices, tuple(instances))


def ms(amounts: list[Amount]) -> list[tuple[float, ...]]:
    """In milliseconds and millijoules, rounded to the millionth."""
    return [tuple(round(one / UNITS, 6) for one in amount) for amount in amounts]


def shares(
    claims: tuple[Claim, ...] | None,
    now: GpuReading,
    busy_ms: int | None,
    energy_mj: int | None = None,
) -> list[tuple[float, ...]]:
    plan = plan_of(claims, now.mig, MACHINE)
    return ms(split(plan, now, claims, 1_000, busy_ms, energy_mj))


def test_one_owner_used_what_was_busy_and_had_the_rest_idle() -> None:
    assert shares((Claim(A),), reading(), 300, 1_000) == [(300, 700, 0, 300, 700)]


def test_time_of_which_nobody_knows_whether_a_kernel_ran_is_used() -> None:
    assert shares((Claim(A),), reading(), None, 9) == [(1_000, 0, 0, 9, 0)]


def test_a_free_gpu_is_unallocated_and_so_is_its_energy() -> None:
    assert shares((), reading(), 300, 1_000) == [(0, 0, 1_000, 0, 1_000)]


def test_when_nobody_can_tell_the_machines_owner_has_used_it() -> None:
    assert shares(None, reading(), 300, 1_000) == [(1_000, 0, 0, 1_000, 0)]
    assert plan_of(None, None, MACHINE).parts[0].owner == MACHINE


def test_replicas_share_evenly_where_processes_are_not_known() -> None:
    claims = (Claim(A, replica="0"), Claim(B, replica="1"), Claim(A, replica="2"))
    assert shares(claims, reading(), 300) == [
        (200, 466.666667, 0, 0, 0),
        (100, 233.333333, 0, 0, 0),
    ]


def test_use_of_a_shared_gpu_goes_by_the_processes_and_idle_time_evenly() -> None:
    claims = (Claim(A, pids=frozenset({1, 2})), Claim(B, pids=frozenset({3})))
    now = reading(None, GpuProcess(1, 0, 10), GpuProcess(2, 0, 20), GpuProcess(3, 0, 10),
                  GpuProcess(9, 0, 60))  # fmt: skip
    assert shares(claims, now, 400, 1_000) == [
        # Of the energy, the busy share goes by use and the rest by what each one holds.
        (300, 300, 0, 300, 360),
        (100, 300, 0, 100, 240),
    ]


def test_processes_of_nobody_here_say_nothing() -> None:
    claims = (Claim(A, pids=frozenset({1})), Claim(B))
    now = reading(None, GpuProcess(9, 0, 60), GpuProcess(1, 0, None))
    assert shares(claims, now, 400) == [(200, 300, 0, 0, 0), (200, 300, 0, 0, 0)]


def test_instances_belong_to_their_claims_and_the_rest_to_nobody() -> None:
    claims = (Claim(A, "MIG-0"), Claim(B, "MIG-1"))
    found = shares(claims, reading(layout(50, None, 0)), None)
    seventh = round(1_000 / 7, 6)
    assert found == [
        (round(500 / 7, 6), round(500 / 7, 6), 0, 0, 0),
        (seventh, 0, 0, 0, 0),
        (0, 0, seventh, 0, 0),
        (0, 0, round(4_000 / 7, 6), 0, 0),
    ]


def test_whoever_has_the_whole_gpu_has_all_its_instances_and_what_is_uncut() -> None:
    plan = plan_of((Claim(A),), layout(None, None), MACHINE)
    assert [part.owner for part in plan.parts] == [A, A, A]
    assert plan.allocated_ratio() == 1
    assert plan.holder() == A


def test_a_claim_on_an_instance_that_is_gone_holds_nothing() -> None:
    plan = plan_of((Claim(A, "MIG-9"),), layout(None), MACHINE)
    assert [(part.owner, part.allocated) for part in plan.parts] == [(NOBODY, False)] * 2
    assert plan.allocated_ratio() == 0
    assert plan_of((Claim(A, "MIG-9"),), None, MACHINE).holder() is None


def test_mig_without_instances_is_unallocated() -> None:
    assert shares((), reading(MigLayout(7)), None, 5) == [(0, 0, 1_000, 0, 5)]
    assert shares(None, reading(MigLayout(7)), None) == [(0, 0, 1_000, 0, 0)]


def test_energy_of_instances_goes_by_use_where_it_is_known() -> None:
    claims = (Claim(A, "MIG-0"), Claim(B, "MIG-1"))
    now = reading(layout(100, 0, slices=2))
    (one, two) = shares(claims, now, None, 1_000)
    # Half of the GPU was busy: that half of the energy is A's, the other half is shared.
    assert (one[3] + one[4], two[3] + two[4]) == (750, 250)


OWNERS = st.sampled_from([A, B, C])
CLAIMS = st.none() | st.lists(
    st.builds(
        Claim,
        OWNERS,
        st.sampled_from(["", "", "MIG-0", "MIG-1", "MIG-2"]),
        st.frozensets(st.integers(1, 5), max_size=3),
    ),
    max_size=5,
).map(tuple)
LAYOUTS = st.none() | st.builds(
    lambda sizes, percents: MigLayout(
        7,
        tuple(
            MigInstance(f"MIG-{at}", at, 0, f"{size}g", size, utilization_percent=percent)
            for at, (size, percent) in enumerate(zip(sizes, percents, strict=False))
        ),
    ),
    st.lists(st.integers(0, 4), max_size=4),
    st.lists(st.none() | st.integers(0, 100), min_size=4, max_size=4),
)
PROCESSES = st.none() | st.lists(
    st.builds(GpuProcess, st.integers(1, 6), st.none(), st.none() | st.integers(0, 100)),
    max_size=5,
).map(tuple)


@settings(max_examples=150, deadline=None)
@given(CLAIMS, LAYOUTS, PROCESSES, st.integers(0, 300_000), st.none() | st.integers(0, 100),
       st.none() | st.integers(0, 10**9))  # fmt: skip
def test_parts_are_the_whole(
    claims: tuple[Claim, ...] | None,
    mig: MigLayout | None,
    processes: tuple[GpuProcess, ...] | None,
    step_ms: int,
    percent: int | None,
    energy_mj: int | None,
) -> None:
    now = GpuReading(0, "g", "m", 0, 0, continuous=True, mig=mig, processes=processes)
    busy_ms = None if percent is None or mig is not None else step_ms * percent // 100
    plan = plan_of(claims, mig, MACHINE)
    amounts = split(plan, now, claims, step_ms, busy_ms, energy_mj)
    assert len(amounts) == len(plan.parts)
    assert all(min(amount) >= 0 for amount in amounts)
    assert sum(a.used + a.idle + a.unallocated for a in amounts) == step_ms * UNITS
    if step_ms:
        assert sum(a.energy_used + a.energy_rest for a in amounts) == (energy_mj or 0) * UNITS
    for part, amount in zip(plan.parts, amounts, strict=True):
        assert part.allocated or amount.used == amount.idle == 0
        assert not part.allocated or amount.unallocated == 0


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.integers(0, 10**13), min_size=3, max_size=3), max_size=30))
def test_rounding_to_whole_milliseconds_drifts_nowhere(pieces: list[list[int]]) -> None:
    owed = [0, 0, 0]
    had, given_ms = [0, 0, 0], [0, 0, 0]
    for piece in pieces:
        piece[2] += -sum(piece) % UNITS
        whole = sum(piece) // UNITS
        found = to_whole(piece, whole, owed)
        assert sum(found) == whole
        assert min(found) >= 0
        for at in range(3):
            had[at] += piece[at]
            given_ms[at] += found[at]
        assert all(abs(h - UNITS * g) < 1.5 * UNITS for h, g in zip(had, given_ms, strict=True))
