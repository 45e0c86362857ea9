"""Owners on a Kubernetes node: the kubelet says which container holds which device, the API
server whose the pod is.

A GPU that no pod requested is free, whatever runs on it.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from threading import Lock

from costmeter.clock import Clock
from costmeter.gpu.backoff import Backoff, Notices
from costmeter.gpu.claims import Claim
from costmeter.gpu.owners.health import Counts, OwnersHealth
from costmeter.gpu.owners.holdings import Found, Holdings, Key, hold, processes_of
from costmeter.gpu.owners.kube_api import ApiError, KubeApi, in_cluster
from costmeter.gpu.owners.nodes import NodeFacts, node_facts
from costmeter.gpu.owners.pids import Pids
from costmeter.gpu.owners.podresources import PodResources, RpcError
from costmeter.gpu.owners.podresources_messages import Held
from costmeter.gpu.owners.pods import PodBook
from costmeter.gpu.owners.rules import Rules
from costmeter.gpu.owners.serving_pods import NAMES as SERVING_NAMES
from costmeter.gpu.owners.serving_pods import ServingPod, serving_pod
from costmeter.gpu.owners.settings import OwnerSettings
from costmeter.gpu.owners.slices import Slices
from costmeter.gpu.owners.watch import PodWatch
from costmeter.gpu.owners.worker import Worker, log
from costmeter.gpu.readings import GpuReading

#: How long the first answer waits for the pods' labels: an owner whose tenant changes
#: after a second was booked wrongly for that second.
_LABELS_WITHIN_MS = 10_000
_NODE_AGAIN_MS = 600_000
_NODE_RETRY_MS = 30_000
_ALLOCATABLE_AGAIN_MS = 60_000
#: Pods that come and go by the dozen do not make the kubelet be asked by the dozen.
_SOONEST_MS = 1_000
_PAUSE_SECONDS = 1.0
_STRANGERS = (
    "no pod that holds a GPU here is known to the API server: is the node's name right? "
    "(gpu.kubernetes.node_name, or the variable NODE_NAME)"
)


class KubernetesClaims:
    """Claims of pods. `of` is for one thread."""

    def __init__(self, settings: OwnerSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._rules = Rules(settings)
        self._counts = Counts()
        self._notices = Notices(log)
        self._node = settings.node_name or socket.gethostname()
        self._kubelet = PodResources(settings.kubelet_socket)
        self._backoff = Backoff(1_000, 60_000)
        self._pids = Pids(settings.proc)
        self._keep_ms = round(1000 * settings.keep_seconds)
        self._api: KubeApi | None = None
        self._watch: PodWatch | None = None
        self._slices: Slices | None = None
        self._book = PodBook()
        server = settings.api_server or in_cluster()
        if server:
            api = KubeApi(server, settings.token_file, settings.ca_file, self._counts)
            self._api = api
            self._slices = Slices(api, self._node, settings.dra_drivers)
            self._watch = PodWatch(
                # An API of its own: stopping it cancels what is being read.
                KubeApi(server, settings.token_file, settings.ca_file, self._counts),
                self._node,
                self._rules.names | SERVING_NAMES,
                clock,
                self._pods_changed,
            )
            self._book = self._watch.book
        self._held: Holdings | None = None
        self._answer: list[Held] = []
        self._asked_ms: int | None = None
        self._answered_ms: int | None = None
        self._began_ms = clock.monotonic_ms()
        self._readings: dict[str, GpuReading] = {}
        self._facts: NodeFacts | None = None
        self._node_due_ms = self._allocatable_due_ms = self._began_ms
        self._allocatable: int | None = None
        self._success_ms: int | None = None
        self._refreshing = Lock()
        self._problem = ""
        self._node_problem = ""
        self._worker = Worker("gpu-owners", self.refresh)

    def start(self) -> None:
        self._began_ms = self._clock.monotonic_ms()
        if self._watch is not None:
            self._watch.start()
        self._worker.start()

    def stop(self) -> None:
        self._worker.stop_soon()
        if self._api is not None:
            self._api.cancel()
        if self._watch is not None:
            self._watch.stop()
        self._worker.stop()
        self._kubelet.close()

    def of(self, reading: GpuReading) -> tuple[Claim, ...] | None:
        """None before the first answer, and when the last one is too old; also for a GPU
        that seems free while something is held of which nobody knows what it is."""
        held = self._held
        if held is None or self._clock.monotonic_ms() - held.at_ms > self._keep_ms:
            return None
        self._readings[reading.uuid] = reading
        found = held.on(reading)
        if not found and held.unresolved:
            return None
        pids = self._processes_of(reading, found)
        return tuple(
            Claim(one.owner, instance, frozenset(pids.get(one.key, ())), one.device.replica)
            for one, instance in found
        )

    def _processes_of(self, reading: GpuReading, found: Sequence[Found]) -> Mapping[Key, set[int]]:
        """Processes by who runs them, where somebody has to share."""
        if not reading.processes or len(found) == len({instance for _, instance in found}):
            self._pids.want(reading.uuid, frozenset())
            return {}
        if not self._pids.want(reading.uuid, frozenset(one.pid for one in reading.processes)):
            self._worker.wake()
        return processes_of(reading.processes, found, self._pids.found, self._book)

    def health(self) -> OwnersHealth:
        watch, held = self._watch, self._held
        problems = (
            self._problem,
            watch.problem if watch is not None else "",
            _STRANGERS if held is not None and held.of_strangers else "",
            self._slices.problem if self._slices is not None else "",
            self._node_problem,
        )
        return OwnersHealth(
            "kubernetes",
            "; ".join(problem for problem in problems if problem),
            self._success_ms,
            None if watch is None else watch.success_ms,
            self._counts.requests(),
            self._counts.errors(),
            0 if watch is None else max(0, watch.restarts - 1),
            0 if held is None else held.holders,
            self._allocatable,
            0 if held is None else held.unresolved_on(tuple(self._readings.values())),
            0 if held is None else held.unknown_pods,
            len(self._pids),
        )

    def node(self) -> NodeFacts | None:
        return self._facts

    def serving(self) -> tuple[ServingPod, ...]:
        held = self._held
        if held is None:
            return ()
        names = {one.key[:2]: None for found in held.by_place.values() for one in found}
        pods = (self._book.of(*name) for name in names)
        models = self._settings.labels.get("serves", ())
        found = (serving_pod(pod, models) for pod in pods if pod is not None)
        return tuple(one for one in found if one is not None)

    def refresh(self) -> float:
        """Ask once; the seconds until it should be done again."""
        with self._refreshing:
            return self._refresh()

    def _refresh(self) -> float:
        now_ms = self._clock.monotonic_ms()
        soon = self._asked_ms is not None and now_ms - self._asked_ms < _SOONEST_MS
        if self._backoff_allows(now_ms) and not soon:
            self._asked_ms = now_ms
            self._ask_kubelet(now_ms)
        waits = self._watch is not None and not self._watch.settled
        if self._answered_ms is not None and not (
            waits and now_ms - self._began_ms < _LABELS_WITHIN_MS
        ):
            self._held = self._hold(now_ms, self._answered_ms)
        complete = self._pids.refresh(now_ms)
        self._ask_node(now_ms)
        if soon or not complete or self._held is None or self._problem:
            return min(_PAUSE_SECONDS, self._settings.refresh_seconds)
        return self._settings.refresh_seconds

    def _hold(self, now_ms: int, answered_ms: int) -> Holdings:
        watch = self._watch
        return hold(
            self._answer,
            answered_ms,
            now_ms,
            self._settings,
            self._rules,
            self._book,
            self._slices,
            book_is_well=watch is not None and watch.success_ms is not None and watch.is_well(),
            labels_may_come=watch is not None and not watch.refused,
        )

    def _pods_changed(self) -> None:
        self._worker.wake()

    def _backoff_allows(self, now_ms: int) -> bool:
        return not self._problem or self._backoff.due(now_ms)

    def _ask_kubelet(self, now_ms: int) -> None:
        try:
            self._counts.request("kubelet")
            self._answer = self._kubelet.holders()
        except RpcError as error:
            self._backoff.tried(now_ms)
            self._counts.error("kubelet", error.reason)
            self._problem = f"who holds the GPUs is not known: {error}"
            self._notices.say(error.reason, self._problem)
            return
        self._answered_ms = self._clock.monotonic_ms()
        self._success_ms = self._clock.now_ms()
        if self._problem:
            self._problem = ""
            self._backoff = Backoff(1_000, 60_000)
            self._notices.forget_all()
        if now_ms >= self._allocatable_due_ms:
            self._allocatable_due_ms = now_ms + _ALLOCATABLE_AGAIN_MS
            self._ask_allocatable()

    def _ask_allocatable(self) -> None:
        """How many devices there are: a figure only, nothing hangs on it."""
        try:
            self._counts.request("kubelet")
            found = self._kubelet.allocatable()
        except RpcError as error:
            self._allocatable = None
            if error.reason != "UNIMPLEMENTED":
                self._counts.error("kubelet", error.reason)
            return
        self._allocatable = sum(
            number
            for resource, number in found.items()
            if resource.startswith(self._settings.resource_prefixes)
        )

    def _ask_node(self, now_ms: int) -> None:
        if self._api is None or now_ms < self._node_due_ms:
            return
        self._node_due_ms = now_ms + _NODE_AGAIN_MS
        try:
            said = self._api.json("node", f"/api/v1/nodes/{self._node}")
            labels = {str(k): str(v) for k, v in (said["metadata"].get("labels") or {}).items()}
            provider_id = str((said.get("spec") or {}).get("providerID") or "")
        except (ApiError, KeyError, TypeError, AttributeError) as error:
            self._node_due_ms = now_ms + _NODE_RETRY_MS
            self._node_problem = f"this node's labels are not known: {error}"
            self._notices.say("node", self._node_problem)
            return
        self._node_problem = ""
        self._facts = node_facts(labels, provider_id)
