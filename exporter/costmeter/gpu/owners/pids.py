"""The processes that GPUs have at the moment, looked up beside those who ask for them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from costmeter.gpu.owners.procs import Processes, Started

#: NVML lists a process for a moment longer than /proc does; after this one is out of sight.
GONE_AFTER_MS = 3_000


class Pids:
    """`want` and `found` are for the thread that asks, `refresh` for the one that looks."""

    def __init__(self, proc: Path) -> None:
        self._processes = Processes(proc)
        self._wanted: dict[str, frozenset[int]] = {}
        self._missing: dict[int, int] = {}
        #: None for processes that nobody can see.
        self.found: Mapping[int, Started | None] = {}

    def __len__(self) -> int:
        return len(self.found)

    def want(self, gpu: str, pids: frozenset[int]) -> bool:
        """These are on the GPU now. Whether all of them are known."""
        if self._wanted.get(gpu) != pids:
            # A new dictionary, never a changed one: the other thread walks through it.
            self._wanted = {**self._wanted, gpu: pids}
        return pids <= self.found.keys()

    def refresh(self, now_ms: int) -> bool:
        """Look at every process anew. Whether nothing is left to be found out."""
        wanted = frozenset[int]().union(*self._wanted.values())
        found: dict[int, Started | None] = {}
        missing = {}
        for pid in wanted:
            started = self._processes.of(pid)
            if started is not None:
                found[pid] = started
                continue
            missing[pid] = since = self._missing.get(pid, now_ms)
            if now_ms - since >= GONE_AFTER_MS:
                found[pid] = None
        self._missing = missing
        self._processes.forget_all_but(wanted)
        self.found = found
        return wanted <= found.keys()
