"""The processes that compute on a GPU, with their memory and their share of its time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from costmeter.gpu.nvml_ask import Asker
from costmeter.gpu.nvml_words import NOT_FOUND
from costmeter.gpu.readings import GpuProcess

#: What the driver says for "no instance".
_NONE = 0xFFFFFFFF


class Processes:
    """Asks one GPU; remembers up to when it saw what processes used."""

    def __init__(self, asker: Asker, handle: Any) -> None:
        self._asker = asker
        self._handle = handle
        self._seen_us = 0

    def whole(self) -> tuple[GpuProcess, ...] | None:
        """Those of a GPU that is not cut; None where the driver does not list them."""
        listed = self._asker.ask("processes", "nvmlDeviceGetComputeRunningProcesses", self._handle)
        if listed is None:
            return None
        if not listed:
            return ()
        used = self._used()
        return tuple(
            GpuProcess(
                one.pid,
                _bytes(one.usedGpuMemory),
                None if used is None else used.get(one.pid, 0),
            )
            for one in listed
        )

    def cut(
        self, uuids: Mapping[tuple[int, int], str], handles: Sequence[tuple[str, Any]]
    ) -> tuple[GpuProcess, ...] | None:
        """Those of a GPU in MIG mode, by the (gpu, compute) instance's uuid.

        Asking the whole GPU needs a right that not everybody has; each instance does not.
        """
        asker = self._asker
        listed = asker.ask("processes", "nvmlDeviceGetComputeRunningProcesses", self._handle)
        if listed is not None:
            return tuple(
                GpuProcess(
                    one.pid,
                    _bytes(one.usedGpuMemory),
                    None,
                    uuids.get((_id(one.gpuInstanceId), _id(one.computeInstanceId)), ""),
                )
                for one in listed
            )
        found: list[GpuProcess] = []
        for uuid, handle in handles:
            of_one = asker.ask(
                "processes.mig", "nvmlDeviceGetComputeRunningProcesses", handle, tolerate=2
            )
            if of_one is None:
                return None
            found += (GpuProcess(p.pid, _bytes(p.usedGpuMemory), None, uuid) for p in of_one)
        return tuple(found)

    def _used(self) -> dict[int, int] | None:
        """Percent of the GPU's time by pid since the last call; None where nobody can tell."""
        samples = self._asker.ask(
            "processes.used",
            "nvmlDeviceGetProcessUtilization",
            self._handle,
            self._seen_us,
            empty=NOT_FOUND,
        )
        if samples is None:
            return None
        newest: dict[int, tuple[int, int]] = {}
        for sample in samples:
            # The buffer may hold a process several times, and rows that nobody filled.
            if sample.pid and 0 <= sample.smUtil <= 100:
                newest[sample.pid] = max(
                    newest.get(sample.pid, (0, 0)), (sample.timeStamp, sample.smUtil)
                )
                self._seen_us = max(self._seen_us, sample.timeStamp)
        return {pid: percent for pid, (_, percent) in newest.items()}


def _bytes(value: int | None) -> int | None:
    return None if value is None else int(value)


def _id(value: int | None) -> int:
    return -1 if value is None or value == _NONE else int(value)
