"""The instances of a GPU in MIG mode; they may change from one pass to the next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from costmeter.gpu import nvml_gpm as gpm
from costmeter.gpu.nvml_ask import Asker
from costmeter.gpu.nvml_gpm import Gpm, percent
from costmeter.gpu.nvml_words import INVALID_ARGUMENT
from costmeter.gpu.readings import GpuProcess, MigInstance, MigLayout

#: An instance may go between two questions; a handle of it is then an invalid argument.
_GONE = INVALID_ARGUMENT

_KEYS = {
    function: f"mig.{function}"
    for function in (
        "nvmlDeviceGetUUID",
        "nvmlDeviceGetGpuInstanceId",
        "nvmlDeviceGetComputeInstanceId",
        "nvmlDeviceGetAttributes",
        "nvmlDeviceGetName",
        "nvmlDeviceGetMemoryInfo",
    )
}


class _Known(NamedTuple):
    uuid: str
    gpu_instance: int
    compute_instance: int
    profile: str
    slices: int
    memory_bytes: int | None


class Mig:
    """Asks one GPU for its instances. What never changes in one is asked once, by its uuid."""

    def __init__(self, asker: Asker, handle: Any) -> None:
        self._asker = asker
        self._handle = handle
        self._slices = 0
        self._known: dict[str, _Known] = {}
        self._gpms: dict[int, Gpm] = {}
        self.handles: tuple[tuple[str, Any], ...] = ()

    def read(self) -> MigLayout:
        """The layout now, with the memory and use of each instance."""
        if not self._slices:
            count = self._asker.ask("mig.most", "nvmlDeviceGetMaxMigDeviceCount", self._handle)
            # As many instances as there can be have a compute slice each.
            self._slices = int(count or 0)
        found = self._instances()
        self.handles = tuple((one.uuid, handle) for one, handle in found)
        self._known = {one.uuid: one for one, _ in found}
        for gone in self._gpms.keys() - {one.gpu_instance for one, _ in found}:
            self._gpms.pop(gone).close()
        instances: list[MigInstance] = []
        used: dict[int, Mapping[int, float]] = {}
        for one, handle in found:
            first = one.gpu_instance not in used
            if first:
                used[one.gpu_instance] = self._gpm(one.gpu_instance).read()
            answers = used[one.gpu_instance]
            memory = self._memory(handle) if first else None
            share = percent(answers, gpm.GRAPHICS)
            instances.append(
                MigInstance(
                    one.uuid,
                    one.gpu_instance,
                    one.compute_instance,
                    one.profile,
                    one.slices,
                    int(memory.used) if memory else None,
                    int(memory.total) if memory else one.memory_bytes if first else None,
                    None if share is None else round(share),
                    percent(answers, gpm.SM),
                    percent(answers, gpm.TENSOR),
                    percent(answers, gpm.DRAM),
                )
            )
        return MigLayout(self._slices or sum(one.slices for one in instances), tuple(instances))

    def uuids(self) -> dict[tuple[int, int], str]:
        """(GPU instance, compute instance) to uuid."""
        return {(k.gpu_instance, k.compute_instance): k.uuid for k in self._known.values()}

    def close(self) -> None:
        for one in self._gpms.values():
            one.close()
        self._gpms.clear()

    def _instances(self) -> list[tuple[_Known, Any]]:
        asker = self._asker
        found: list[tuple[_Known, Any]] = []
        for index in range(self._slices):
            handle = asker.ask(
                "mig.handle",
                "nvmlDeviceGetMigDeviceHandleByIndex",
                self._handle,
                index,
                tolerate=-1,
                empty=_GONE,
            )
            if handle is None or handle == ():
                continue
            uuid = self._of("nvmlDeviceGetUUID", handle)
            if uuid is None:
                continue
            known = self._known.get(uuid) or self._learn(uuid, handle)
            if known is not None:
                found.append((known, handle))
        found.sort(key=lambda one: (one[0].gpu_instance, one[0].compute_instance))
        return found

    def _learn(self, uuid: str, handle: Any) -> _Known | None:
        gpu_instance = self._of("nvmlDeviceGetGpuInstanceId", handle)
        compute_instance = self._of("nvmlDeviceGetComputeInstanceId", handle)
        attributes = self._of("nvmlDeviceGetAttributes", handle)
        if gpu_instance is None or compute_instance is None or attributes is None:
            return None
        slices = int(attributes.computeInstanceSliceCount)
        mib = int(attributes.memorySizeMB)
        _, marked, profile = str(self._of("nvmlDeviceGetName", handle) or "").partition(" MIG ")
        if not marked:
            profile = f"{int(attributes.gpuInstanceSliceCount)}g.{round(mib / 1024)}gb"
            if slices != int(attributes.gpuInstanceSliceCount):
                profile = f"{slices}c.{profile}"
        return _Known(
            uuid, int(gpu_instance), int(compute_instance), profile, slices, mib << 20 or None
        )

    def _of(self, function: str, handle: Any) -> Any:
        answer = self._asker.ask(_KEYS[function], function, handle, empty=_GONE)
        return None if answer == () else answer

    def _memory(self, handle: Any) -> Any:
        return self._of("nvmlDeviceGetMemoryInfo", handle)

    def _gpm(self, gpu_instance: int) -> Gpm:
        found = self._gpms.get(gpu_instance)
        if found is None:
            found = self._gpms[gpu_instance] = Gpm(self._asker, self._handle, gpm.CUT, gpu_instance)
        return found


def of_instances(processes: tuple[GpuProcess, ...] | None) -> tuple[GpuProcess, ...] | None:
    """Without those whose instance nobody knows: they belong to a layout that is gone."""
    if processes is None:
        return None
    return tuple(process for process in processes if process.instance)
