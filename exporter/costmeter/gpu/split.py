"""Who a piece of a GPU's time belongs to: parts that always add up to the whole.

Amounts are whole numbers of `UNITS` to the millisecond (picoseconds) and to the millijoule,
so that a seventh of a second, taken a million times, is off by less than a microsecond.
Splitting is by running sums: what one part is short of, the next one has.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from costmeter.gpu.claims import Claim
from costmeter.gpu.readings import GpuReading, MigLayout
from costmeter.segment import NOBODY, Owner

#: Of a millisecond, and of a millijoule.
UNITS = 10**9


class Part(NamedTuple):
    """What one owner has of a GPU or an instance; `allocated` is False where nobody has it.

    `replicas` is its weight in what is shared. `known` is False where nobody can tell whom
    the GPU is allocated to: then all of its time counts as used.
    """

    owner: Owner = NOBODY
    instance: str = ""
    profile: str = ""
    replicas: int = 1
    allocated: bool = True
    known: bool = True


class Group(NamedTuple):
    """A whole GPU, one MIG instance (`slot` is its place in the layout), or what is uncut.

    It has `slices` of the plan's slices, shared by `parts`.
    """

    slices: int
    parts: tuple[Part, ...]
    slot: int | None = None


class Plan(NamedTuple):
    """How a GPU is divided while its claims and its layout stay as they are."""

    slices: int
    groups: tuple[Group, ...]
    parts: tuple[Part, ...]

    def allocated_ratio(self) -> float:
        held = sum(g.slices for g in self.groups if g.parts[0].allocated)
        return held / self.slices

    def holder(self) -> Owner | None:
        """The only owner of the whole GPU or of any of it; None for none or several."""
        owners = {part.owner for part in self.parts if part.allocated}
        return owners.pop() if len(owners) == 1 else None


class Amount(NamedTuple):
    """What came to one part. `energy_used` went into its used time, `energy_rest` into the
    time that it held, or that nobody held, without use."""

    used: int = 0
    idle: int = 0
    unallocated: int = 0
    energy_used: int = 0
    energy_rest: int = 0


def plan_of(claims: Sequence[Claim] | None, mig: MigLayout | None, nobody_knows: Owner) -> Plan:
    """The division that claims and layout say; `nobody_knows` holds all without claims."""
    if mig is None:
        groups = [Group(1, _parts(claims, "", "", nobody_knows))]
    else:
        groups = _of_instances(claims, mig, nobody_knows)
    parts = tuple(part for group in groups for part in group.parts)
    return Plan(sum(group.slices for group in groups), tuple(groups), parts)


def _of_instances(
    claims: Sequence[Claim] | None, mig: MigLayout, nobody_knows: Owner
) -> list[Group]:
    groups = []
    for slot, one in enumerate(mig.instances):
        if one.slices > 0:
            parts = _parts(claims, one.uuid, one.profile, nobody_knows)
            groups.append(Group(one.slices, parts, slot))
    uncut = mig.slices - sum(group.slices for group in groups)
    if uncut > 0 or not groups:
        # Whoever was given the whole GPU has what is not cut of it, too.
        whole = claims and [claim for claim in claims if not claim.instance]
        groups.append(Group(max(uncut, 1), _parts(whole or (), "", "", nobody_knows)))
    return groups


def _parts(
    claims: Sequence[Claim] | None, instance: str, profile: str, nobody_knows: Owner
) -> tuple[Part, ...]:
    if claims is None:
        return (Part(nobody_knows, instance, profile, known=False),)
    here = [claim.owner for claim in claims if claim.instance == instance]
    if not here:
        here = [claim.owner for claim in claims if not claim.instance]
    if not here:
        return (Part(NOBODY, instance, profile, allocated=False),)
    return tuple(
        Part(owner, instance, profile, len(list(same))) for owner, same in groupby(sorted(here))
    )


def split(
    plan: Plan,
    reading: GpuReading,
    claims: Sequence[Claim] | None,
    step_ms: int,
    busy_ms: int | None,
    energy_mj: int | None,
) -> list[Amount]:
    """What each part of the plan has of `step_ms`, in its order.

    `busy_ms` of them had a kernel running; None where the GPU does not tell. Instances have
    their own utilisation, where the card has counters for it (GPM).
    """
    whole = step_ms * UNITS
    energy = (energy_mj or 0) * UNITS
    if len(plan.parts) == 1:
        return [_one(plan.parts[0], whole, energy, _busy(plan.groups[0], reading, whole, busy_ms))]
    times: list[tuple[Part, int, int, int]] = []
    seen = before = 0
    for group in plan.groups:
        seen += group.slices
        until = whole * seen // plan.slices
        held, before = until - before, until
        busy = _busy(group, reading, held, busy_ms)
        if len(group.parts) == 1:
            times.append((group.parts[0], held, *_use(group.parts[0], held, busy)))
        else:
            times += _shared(group, reading, claims, held, busy)
    return _with_energy(times, whole, energy)


def _busy(group: Group, reading: GpuReading, held: int, busy_ms: int | None) -> int | None:
    """How much of a group's time had a kernel running; None: nobody can tell."""
    if reading.mig is None:
        return None if busy_ms is None else min(busy_ms * UNITS, held)
    if group.slot is None:
        return None
    percent = reading.mig.instances[group.slot].utilization_percent
    return None if percent is None else held * min(max(percent, 0), 100) // 100


def _use(part: Part, held: int, busy: int | None) -> tuple[int, int]:
    """Used time, and the used time of which it is known that a kernel ran."""
    if not part.allocated:
        return 0, 0
    if busy is None or not part.known:
        return held, 0
    return busy, busy


def _one(part: Part, whole: int, energy: int, busy: int | None) -> Amount:
    if not part.allocated:
        return Amount(unallocated=whole, energy_rest=energy)
    used, known = _use(part, whole, busy)
    if used == whole or whole == 0:
        return Amount(used=whole, energy_used=energy)
    energy_used = energy * known // whole
    return Amount(used, whole - used, 0, energy_used, energy - energy_used)


def _shared(
    group: Group,
    reading: GpuReading,
    claims: Sequence[Claim] | None,
    held: int,
    busy: int | None,
) -> list[tuple[Part, int, int, int]]:
    """The parts of several owners: use by their processes, what nobody used by replicas."""
    replicas = [part.replicas for part in group.parts]
    allocated = divide(held, replicas)
    if busy is None:
        return [(part, mine, mine, 0) for part, mine in zip(group.parts, allocated, strict=True)]
    used = divide(busy, _use_of_processes(group, reading, claims) or replicas)
    idle = divide(held - busy, replicas)
    return [
        (part, mine + rest, mine, mine)
        for part, mine, rest in zip(group.parts, used, idle, strict=True)
    ]


def _use_of_processes(
    group: Group, reading: GpuReading, claims: Sequence[Claim] | None
) -> list[int] | None:
    """How much each part's processes used, in percent; None where the driver does not tell."""
    if reading.processes is None:
        return None
    instance = group.parts[0].instance
    used = {
        process.pid: process.utilization_percent
        for process in reading.processes
        if process.utilization_percent and process.instance in ("", instance)
    }
    if not used:
        return None
    by_owner: dict[Owner, set[int]] = {}
    for claim in claims or ():
        if claim.instance in ("", instance):
            by_owner.setdefault(claim.owner, set()).update(claim.pids)
    found = [sum(used.get(pid, 0) for pid in by_owner.get(part.owner, ())) for part in group.parts]
    return found if any(found) else None


def _with_energy(
    times: Sequence[tuple[Part, int, int, int]], whole: int, energy: int
) -> list[Amount]:
    """Add the energy: the share of known use goes by use, the rest by what each one holds."""
    known = sum(one[3] for one in times)
    found = []
    total = whole * whole
    seen = before = 0
    for part, held, used, mine in times:
        by_use = mine * whole
        seen += by_use + (whole - known) * held
        until = energy * seen // total if total else 0
        joules, before = until - before, until
        if not part.allocated:
            found.append(Amount(0, 0, held, 0, joules))
        elif used == held:
            found.append(Amount(used, 0, 0, joules, 0))
        else:
            in_use = min(energy * by_use // total, joules)
            found.append(Amount(used, held - used, 0, in_use, joules - in_use))
    return found


def divide(amount: int, weights: Sequence[int]) -> list[int]:
    """Whole parts of an amount by weights (not all 0); together always the amount."""
    total = sum(weights)
    found = []
    seen = before = 0
    for weight in weights:
        seen += weight
        until = amount * seen // total
        found.append(until - before)
        before = until
    return found


def to_whole(amounts: Sequence[int], whole: int, owed: list[int]) -> list[int]:
    """The amounts, in units, as whole milliseconds or millijoules that add up to `whole`.

    `owed` is what earlier roundings left over, one for each amount; it is brought up to
    date. So what each part is given stays beside what it had, however often it is rounded.
    """
    exact = [amount + rest for amount, rest in zip(amounts, owed, strict=True)]
    given = [max(0, one // UNITS) for one in exact]
    short = whole - sum(given)
    while short:
        step = 1 if short > 0 else -1
        can = [i for i, one in enumerate(given) if one + step >= 0]
        can.sort(key=lambda i: step * (given[i] * UNITS - exact[i]))
        for i in can[: abs(short)]:
            given[i] += step
            short -= step
    owed[:] = [one - UNITS * all_of_it for one, all_of_it in zip(exact, given, strict=True)]
    return given
