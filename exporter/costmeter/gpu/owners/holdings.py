"""What the kubelet said, joined with what is known of the pods: who holds what."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from costmeter.gpu.owners.ids import Device, device_of
from costmeter.gpu.owners.podresources_messages import Held
from costmeter.gpu.owners.pods import PodBook
from costmeter.gpu.owners.procs import Started
from costmeter.gpu.owners.rules import Rules
from costmeter.gpu.owners.settings import OwnerSettings
from costmeter.gpu.owners.slices import Slices
from costmeter.gpu.readings import GpuProcess, GpuReading
from costmeter.segment import Owner

#: (namespace, pod, container)
Key = tuple[str, str, str]


class Holding(NamedTuple):
    device: Device
    owner: Owner
    key: Key


#: A holding on some GPU, and the MIG instance ("" for the whole) that it comes to there.
Found = tuple[Holding, str]


@dataclass(frozen=True, slots=True)
class Holdings:
    """What was held at `at_ms` (steady time), by the names of GPUs and MIG instances.

    `unresolved` devices have names that nobody explains; `unknown_pods` are holders that
    the API server does not know.
    """

    at_ms: int
    by_place: Mapping[str | int | None, tuple[Holding, ...]]
    unresolved: int = 0
    unknown_pods: int = 0
    holders: int = 0
    of_strangers: bool = False
    """There are holders, and the API server, which is well, knows none of them."""

    def on(self, reading: GpuReading) -> list[Found]:
        """Who holds this GPU or parts of it."""
        layout = () if reading.mig is None else reading.mig.instances
        found: list[Found] = []
        places: tuple[str | int, ...] = (reading.uuid, reading.index)
        for place in (*places, *(one.uuid for one in layout)):
            for holding in self.by_place.get(place, ()):
                found += [(holding, one) for one in holding.device.instances(reading)]
        return found

    def unresolved_on(self, readings: Collection[GpuReading]) -> int:
        """How many devices are held that are none of these GPUs."""
        devices = {one.device for held in self.by_place.values() for one in held}
        return self.unresolved + sum(
            not any(device.instances(one) for one in readings) for device in devices
        )


def hold(
    answer: Sequence[Held],
    at_ms: int,
    now_ms: int,
    settings: OwnerSettings,
    rules: Rules,
    book: PodBook,
    slices: Slices | None,
    *,
    book_is_well: bool,
    labels_may_come: bool,
) -> Holdings:
    """Join the kubelet's answer of `at_ms` with the pods of the book.

    Pods that are over are left out: before Kubernetes 1.34 the kubelet lists them, too. Only
    a book of this very node can tell, so it has to know one of the holders.
    """
    ours = book_is_well and any(book.has_known(held.namespace, held.pod) for held in answer)
    by_place: dict[str | int | None, list[Holding]] = {}
    unresolved = unknown = holders = 0
    for held in sorted(answer):
        devices, lost = _devices(held, settings, slices, now_ms)
        if not devices and not lost:
            continue
        pod = book.of(held.namespace, held.pod)
        gone = (
            book.is_gone(held.namespace, held.pod, now_ms) if ours else pod is not None and pod.done
        )
        if gone:
            continue
        holders += 1
        unresolved += lost
        unknown += pod is None
        labels = pod.labels if pod is not None else None if labels_may_come else {}
        key = (held.namespace, held.pod, held.container)
        owner = rules.of_pod(*key, labels)
        for device in devices:
            by_place.setdefault(device.place, []).append(Holding(device, owner, key))
    places = {place: tuple(one) for place, one in by_place.items()}
    strangers = book_is_well and not ours and holders > 0
    return Holdings(at_ms, places, unresolved, unknown, holders, strangers)


def _devices(
    held: Held, settings: OwnerSettings, slices: Slices | None, now_ms: int
) -> tuple[list[Device], int]:
    """What a container holds of GPUs, and of how many nobody knows what they are."""
    found = [
        device_of(identity)
        for resource, identity in held.devices
        if resource.startswith(settings.resource_prefixes)
    ]
    found += [
        None if slices is None else slices.of(claimed, now_ms)
        for claimed in held.dra
        if claimed.driver in settings.dra_drivers
    ]
    devices = [one for one in found if one is not None]
    # The same device told twice is still one.
    return list(dict.fromkeys(devices)), len(found) - len(devices)


def processes_of(
    processes: Iterable[GpuProcess],
    found: Sequence[Found],
    started: Mapping[int, Started | None],
    book: PodBook,
) -> dict[Key, set[int]]:
    """The processes of each holder, as far as their cgroups lead to its container."""
    keys = {holding.key for holding, _ in found}
    by_key: dict[Key, set[int]] = {}
    for one in processes:
        known = started.get(one.pid)
        if known is None or known.origin.kind != "pod":
            continue
        key = book.container_of(known.origin.name, known.origin.container)
        if key is not None and key not in keys:
            # A container that is not told of yet: its pod's only one that holds something.
            near = [other for other in keys if other[:2] == key[:2]]
            key = near[0] if len(near) == 1 else None
        if key is not None:
            by_key.setdefault(key, set()).add(one.pid)
    return by_key
