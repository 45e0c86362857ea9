"""Who holds which GPU at this moment: what attribution answers and the meter asks."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from costmeter.gpu.readings import GpuReading
from costmeter.segment import Owner


class Claim(NamedTuple):
    """Somebody holds a GPU (`instance` is "") or one of its MIG instances (its uuid).

    `pids` are the processes on it that are known to be theirs. `replica` tells apart the
    several parts that one owner may hold of a shared GPU (time-slicing, MPS).
    """

    owner: Owner
    instance: str = ""
    pids: frozenset[int] = frozenset()
    replica: str = ""


class Claims(Protocol):
    """Answers from memory at once: it is asked in every pass over the GPUs."""

    def of(self, reading: GpuReading) -> tuple[Claim, ...] | None:
        """The claims on this GPU, () when it is free, None when nobody can tell now."""
        ...
