"""Owners on a plain host: the processes on a GPU, and what started them.

A GPU without a process is free. One process more does not make it shared: all processes of
one container, job, unit or user are one owner.
"""

from __future__ import annotations

from collections.abc import Mapping

from costmeter.clock import Clock
from costmeter.gpu.claims import Claim
from costmeter.gpu.owners.health import OwnersHealth
from costmeter.gpu.owners.nodes import NodeFacts
from costmeter.gpu.owners.pids import Pids
from costmeter.gpu.owners.procs import Started, names_of
from costmeter.gpu.owners.rules import Rules
from costmeter.gpu.owners.serving_pods import ServingPod
from costmeter.gpu.owners.settings import OwnerSettings
from costmeter.gpu.owners.worker import Worker
from costmeter.gpu.readings import GpuReading
from costmeter.segment import Owner

#: How soon a process that /proc does not have (yet, or any more) is looked for again.
_AGAIN_SECONDS = 1.0


class ProcessClaims:
    """Claims by the processes that the driver lists. `of` is for one thread."""

    def __init__(self, settings: OwnerSettings, clock: Clock) -> None:
        self._clock = clock
        self._rules = Rules(settings)
        self._names = names_of(settings.passwd, settings.docker, settings.proc)
        self._pids = Pids(settings.proc)
        self._seconds = settings.refresh_seconds
        self._keep_ms = round(1000 * settings.keep_seconds)
        self._unseen = self._rules.of_workload("")
        self._known: dict[int, tuple[Started, Owner]] = {}
        self._owners: Mapping[int, Owner] = {}
        self._refreshed_ms: int | None = None
        self._last: dict[str, tuple[Claim, ...]] = {}
        self._worker = Worker("gpu-owners", self.refresh)

    def start(self) -> None:
        self._worker.start()

    def stop(self) -> None:
        self._worker.stop()

    def of(self, reading: GpuReading) -> tuple[Claim, ...] | None:
        """None where the driver does not list processes, or nobody looked at them yet."""
        if reading.processes is None:
            return None
        found = self._claims(reading)
        if found is None:
            self._worker.wake()
            # A process that just began is looked up in a moment; until then all is as before.
            return self._last.get(reading.uuid) if self._is_fresh() else None
        self._last[reading.uuid] = found
        return found

    def _claims(self, reading: GpuReading) -> tuple[Claim, ...] | None:
        processes = reading.processes or ()
        if not self._pids.want(reading.uuid, frozenset(one.pid for one in processes)):
            return None
        owners = self._owners
        by_owner: dict[tuple[Owner, str], set[int]] = {}
        for one in processes:
            owner = owners.get(one.pid)
            if owner is None:
                return None
            by_owner.setdefault((owner, one.instance), set()).add(one.pid)
        return tuple(
            Claim(owner, instance, frozenset(pids))
            for (owner, instance), pids in sorted(by_owner.items(), key=lambda item: item[0])
        )

    def _is_fresh(self) -> bool:
        at = self._refreshed_ms
        return at is not None and self._clock.monotonic_ms() - at <= self._keep_ms

    def health(self) -> OwnersHealth:
        return OwnersHealth(
            "processes", holders=len(set(self._owners.values())), processes=len(self._pids)
        )

    def node(self) -> NodeFacts | None:
        return None

    def serving(self) -> tuple[ServingPod, ...]:
        return ()

    def refresh(self) -> float:
        """Look at the processes once; the seconds until it should be done again."""
        now_ms = self._clock.monotonic_ms()
        complete = self._pids.refresh(now_ms)
        known: dict[int, tuple[Started, Owner]] = {}
        owners: dict[int, Owner] = {}
        for pid, started in self._pids.found.items():
            if started is None:
                owners[pid] = self._unseen
                continue
            before = self._known.get(pid)
            # The same object is the same process: names are looked up once for each.
            known[pid] = (
                before
                if before is not None and before[0] is started
                else (started, self._owner(started))
            )
            owners[pid] = known[pid][1]
        self._known = known
        self._owners = owners
        self._refreshed_ms = now_ms
        return self._seconds if complete else min(self._seconds, _AGAIN_SECONDS)

    def _owner(self, started: Started) -> Owner:
        kind, name, container = started.origin
        labels: Mapping[str, str] = {}
        if kind == "user":
            name = self._names.user(int(name) if name else started.uid)
        elif kind == "pod":
            name = name or container[:12]
        elif kind in ("docker", "podman", "containerd"):
            name, labels = self._names.container(kind, name)
        return self._rules.of_workload(f"{kind}:{name}", labels, started.account)
