"""The closed segment: a stretch of one GPU's time, with whom it belonged to.

This is what the sampler hands to the ledger and what an agent sends. Standard library only.

A segment is never touched again once it is closed, so it can be sent twice and booked
once. It lies within one hour of UTC, because prices and tables go by the hour. It tells
quantities and never money: the ledger prices it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from costmeter.model import UNATTRIBUTED, Labels, Usage

Purchase = Literal["on_demand", "spot", "reserved"]


class Owner(NamedTuple):
    """Who holds a GPU or a part of it; "" is not said.

    `workload` names what runs where there is no pod: `docker:<name>`, `slurm:<job>`,
    `systemd:<unit>`, `user:<name>`. `serves` is the model that its server answers with.
    """

    tenant_id: str = UNATTRIBUTED
    environment: str = ""
    team: str = ""
    project: str = ""
    feature: str = ""
    purpose: str = ""
    namespace: str = ""
    pod: str = ""
    container: str = ""
    workload: str = ""
    serves: str = ""


NOBODY = Owner()


class Share(NamedTuple):
    """One owner's part of a segment, in milliseconds of the whole GPU.

    An owner of a seventh of a GPU for a minute has 60,000 / 7 of them. `used_ms` is
    allocated time with a kernel running, or allocated time of which nobody knows whether
    one ran; `idle_ms` is allocated time without a kernel. `unallocated_ms` belongs to
    nobody. `unobserved_ms` is time in which nobody looked. `energy_mj` is None where the
    GPU does not tell it. `instance` is a MIG instance's uuid, `profile` its kind (1g.10gb).
    """

    owner: Owner = NOBODY
    used_ms: int = 0
    idle_ms: int = 0
    unallocated_ms: int = 0
    unobserved_ms: int = 0
    energy_mj: int | None = None
    instance: str = ""
    profile: str = ""

    @property
    def total_ms(self) -> int:
        return self.used_ms + self.idle_ms + self.unallocated_ms + self.unobserved_ms


@dataclass(frozen=True, slots=True)
class Placement:
    """Where GPUs stand and how they are bought; what their price goes by.

    `instance_type` is the provider's name of the machine. `owner` is whose they are when
    nothing else is known of it.
    """

    provider: str = "onprem"
    account: str = ""
    region: str = ""
    instance_type: str = ""
    purchase: Purchase = "on_demand"
    node: str = ""
    owner: Owner = NOBODY


class Segment(NamedTuple):
    """A stretch of one GPU's time; its shares add up to `duration_ms` exactly.

    `start_ms` is Unix time, `duration_ms` is by the steady clock. (run_id, uuid, sequence)
    names it for all time.
    """

    run_id: str
    sequence: int
    start_ms: int
    duration_ms: int
    uuid: str
    gpu_model: str
    placement: Placement
    shares: tuple[Share, ...]


def segment_usages(segment: Segment, feed: str) -> Iterator[Usage]:
    """The segment as the ledger takes it: one record for each share that has any time.

    Their ids do not depend on the feed: a segment that comes twice, by whatever
    credential, is the same one.
    """
    placement = segment.placement
    for part, share in enumerate(segment.shares):
        owner = share.owner
        quantities = {
            "gpu_ms": share.used_ms,
            "gpu_idle_ms": share.idle_ms,
            "gpu_unallocated_ms": share.unallocated_ms,
            "gpu_unobserved_ms": share.unobserved_ms,
            "gpu_energy_mj": share.energy_mj or 0,
        }
        if not share.total_ms:
            continue
        detail = {
            "node": placement.node,
            "namespace": owner.namespace,
            "pod": owner.pod,
            "container": owner.container,
            "workload": owner.workload,
            "serves": owner.serves,
            "instance": share.instance,
            "profile": share.profile,
        }
        yield Usage(
            event_id=f"g:{segment.run_id}/{segment.uuid}/{segment.sequence}/{part}",
            at_ms=segment.start_ms,
            feed=feed,
            labels=Labels(
                tenant_id=owner.tenant_id or UNATTRIBUTED,
                category="gpu_compute",
                purpose=owner.purpose,
                provider=placement.provider,
                account=placement.account,
                region=placement.region,
                model=segment.gpu_model,
                environment=owner.environment,
                team=owner.team,
                project=owner.project,
                service=placement.instance_type,
                feature=owner.feature,
                operation=placement.purchase,
            ),
            quantities={name: amount for name, amount in quantities.items() if amount},
            resource=segment.uuid,
            detail=json.dumps({key: text for key, text in detail.items() if text}),
        )
