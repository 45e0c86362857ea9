"""What the page of a machine shows of the owners of its GPUs and of their money."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from costmeter.gpu.split import Part
from costmeter.segment import Owner

#: For owners that find no room of their own.
OTHER = "_other"


class OwnerFigures(NamedTuple):
    """One owner's counters on one GPU, or those of what nobody holds; None is not known.

    `labels` are gpu, uuid, gpu_model, mig_profile, namespace, pod, container, tenant_id and
    team. Money is in nano-USD, CO2 in micrograms. What a GPU's owners cost and what nobody
    held add up to its price, except for time that is unobserved.
    """

    labels: tuple[str, ...]
    allocated: bool
    used_ms: float
    idle_ms: float
    energy_mj: float | None = None
    used_nano: int | None = None
    idle_nano: int | None = None
    unallocated_nano: int | None = None
    energy_nano: int | None = None
    co2_micrograms: int | None = None


class GpuFigures(NamedTuple):
    """What is known of a GPU as a whole; `labels` are gpu, uuid and gpu_model.

    `holder` are namespace, pod and tenant_id of the one who holds it, empty for several or
    nobody. `allocated_ratio` is None while nobody can tell. `cost_nano` is all of its time,
    whoever had it, owners who left and unobserved time included.
    """

    labels: tuple[str, ...]
    holder: tuple[str, str, str] = ("", "", "")
    allocated_ratio: float | None = None
    unallocated_ms: float = 0
    unobserved_ms: float = 0
    unpriced_ms: float = 0
    unobserved_nano: int | None = None
    cost_nano: int | None = None
    nano_per_hour: int | None = None


class Figures(NamedTuple):
    """`gpus` by uuid. `owners_now` are the labels of those who hold something now: uuid,
    mig_profile, namespace, pod, container, workload, tenant_id, team, environment, project,
    feature, purpose, serves."""

    gpus: Mapping[str, GpuFigures] = {}
    owners: tuple[OwnerFigures, ...] = ()
    owners_now: tuple[tuple[str, ...], ...] = ()


NOTHING = Figures()


def owner_labels(part: Part) -> tuple[str, ...]:
    """mig_profile, namespace, pod, container, tenant_id, team; empty where nobody has it.

    What runs without a container is named there by its workload (docker:, slurm:, ...).
    """
    if not part.allocated:
        return (part.profile, "", "", "", "", "")
    owner = part.owner
    inside = owner.container or owner.workload
    return (part.profile, owner.namespace, owner.pod, inside, owner.tenant_id, owner.team)


def holder_labels(owner: Owner | None) -> tuple[str, str, str]:
    return ("", "", "") if owner is None else (owner.namespace, owner.pod, owner.tenant_id)


def now_labels(uuid: str, part: Part) -> tuple[str, ...]:
    owner = part.owner
    return (
        uuid, part.profile, owner.namespace, owner.pod, owner.container, owner.workload,
        owner.tenant_id, owner.team, owner.environment, owner.project, owner.feature,
        owner.purpose, owner.serves,
    )  # fmt: skip
