"""GPU and TPU time on Google Cloud by the hour, from Cloud Monitoring.

Three meters, of which a source reads one, because they see the same cards: machines that
run (paid for), containers that requested cards (allocated), and cards that the Ops Agent
sees. Gauges are sampled each minute, so the sum of an hour's samples is minutes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from costmeter.model import MS_PER_DAY, MS_PER_HOUR, UNATTRIBUTED
from costmeter.pricing.gpu import GPU_CATEGORY, ON_DEMAND
from costmeter.sources.buckets import closed_until
from costmeter.sources.contract import Desk, Page, Rhythm, Settings, Window
from costmeter.sources.gather import Counts
from costmeter.sources.gcp_client import projects_of
from costmeter.sources.gcp_machines import card, of_machine, region_of
from costmeter.sources.gcp_monitoring import Monitoring, Point, Question
from costmeter.sources.options import Options
from costmeter.sources.owners import Owners, identity
from costmeter.sources.reading import malformed

RHYTHM = Rhythm(every_seconds=3_600, restated_days=2, lookback_days=30, step_days=7)
METERS = ("machines", "containers", "agent")
_MS_PER_SAMPLE = 60_000
#: A machine is up for an hour at most; its clock may be a sample off.
_MOST_SECONDS = 3_660
_MACHINE = (
    "resource.label.project_id",
    "resource.label.zone",
    "resource.label.instance_id",
    "metadata.system_labels.machine_type",
)
UPTIME = Question(
    "compute.googleapis.com/instance/uptime", "ALIGN_DELTA",
    'resource.type = "gce_instance"', _MACHINE,
)  # fmt: skip
_ON_GKE = 'resource.type = "k8s_container"'
REQUESTED = Question("kubernetes.io/container/accelerator/request", "ALIGN_SUM", _ON_GKE)
BUSY = Question("kubernetes.io/container/accelerator/duty_cycle", "ALIGN_SUM", _ON_GKE)
_BY_AGENT = 'resource.type = "gce_instance"'
SEEN = Question("agent.googleapis.com/gpu/utilization", "ALIGN_COUNT", _BY_AGENT)
SEEN_BUSY = Question("agent.googleapis.com/gpu/utilization", "ALIGN_SUM", _BY_AGENT)
_CONTAINER = ("location", "cluster_name", "namespace_name", "pod_name", "container_name")


class Group(NamedTuple):
    """What time is grouped by within an hour; `place` is cluster/namespace on GKE."""

    project: str
    region: str
    place: str
    machine_type: str
    model: str


class _Time:
    """Allocated and busy milliseconds; None busy where no meter says it."""

    __slots__ = ("allocated", "busy")

    def __init__(self) -> None:
        self.allocated = 0
        self.busy: int | None = None

    def add(self, allocated: int, busy: int | None) -> None:
        self.allocated += allocated
        if busy is not None:
            self.busy = (self.busy or 0) + busy


Hours = dict[int, dict[Group, _Time]]


class GcpGpu:
    def __init__(self, settings: Settings) -> None:
        """Raises ValueError for settings that do not go together."""
        options = Options(settings.options)
        self.name = settings.name
        self.rhythm = settings.rhythm or RHYTHM
        self._monitoring = Monitoring(settings, options)
        self._projects = projects_of(options.word("project", ""))
        self._meter = options.word("meter", METERS[0], METERS)
        self._model = options.word("gpu_model", "")
        self._purchase = options.word("purchase", ON_DEMAND, (ON_DEMAND, "spot", "reserved"))
        options.finish("gcp_gpu")
        self._owners = Owners(settings, "gcp", nobody=UNATTRIBUTED)

    def fetch(self, window: Window, desk: Desk) -> Iterator[Page]:
        until_ms = closed_until(window, MS_PER_HOUR)
        if until_ms <= window.since_ms:
            return
        hours: Hours = defaultdict(lambda: defaultdict(_Time))
        read = {"machines": self._machines, "containers": self._containers, "agent": self._agent}
        read[self._meter](desk, hours, window.since_ms, until_ms)
        # A day at a time, so that no transaction is long.
        for since_ms in range(window.since_ms, until_ms, MS_PER_DAY):
            counts = Counts()
            end_ms = min(since_ms + MS_PER_DAY, until_ms)
            for at_ms in range(since_ms, end_ms, MS_PER_HOUR):
                for group, time in sorted(hours.pop(at_ms, {}).items()):
                    self._count(counts, at_ms, group, time)
            yield Page(self._meter, since_ms, end_ms, counts.take())

    def _machines(self, desk: Desk, hours: Hours, since_ms: int, until_ms: int) -> None:
        for point in self._monitoring.points(desk, self._projects, UPTIME, since_ms, until_ms):
            machine_type = point.labels.get("machine_type", "").rpartition("/")[2]
            held = of_machine(machine_type)
            if held is None:
                continue
            if point.value > _MOST_SECONDS:
                raise malformed("value", "a machine ran for more than the hour")
            ms = min(round(point.value * 1000), MS_PER_HOUR)
            region = region_of(point.labels.get("zone", ""))
            group = Group(point.project, region, "", machine_type, held.model)
            hours[point.at_ms][group].add(ms * held.cards, None)

    def _containers(self, desk: Desk, hours: Hours, since_ms: int, until_ms: int) -> None:
        cards: dict[tuple[str, ...], str] = {}
        busy: dict[tuple[int, tuple[str, ...]], int] = defaultdict(int)
        for point in self._monitoring.points(desk, self._projects, BUSY, since_ms, until_ms):
            container = _container(point.labels)
            cards[container] = card(point.labels.get("model", ""))
            busy[point.at_ms, container] += round(point.value * _MS_PER_SAMPLE / 100)
        for point in self._monitoring.points(desk, self._projects, REQUESTED, since_ms, until_ms):
            container = _container(point.labels)
            location, cluster, namespace = container[:3]
            model = cards.get(container) or self._model or point.labels.get("resource_name", "")
            group = Group(point.project, region_of(location), f"{cluster}/{namespace}", "", model)
            found = busy.pop((point.at_ms, container), None)
            allocated = round(point.value * _MS_PER_SAMPLE)
            hours[point.at_ms][group].add(
                allocated, None if found is None else min(found, allocated)
            )

    def _agent(self, desk: Desk, hours: Hours, since_ms: int, until_ms: int) -> None:
        points = self._monitoring.points
        found = {
            (p.at_ms, _gpu(p)): round(p.value * _MS_PER_SAMPLE / 100)
            for p in points(desk, self._projects, SEEN_BUSY, since_ms, until_ms)
        }
        for point in points(desk, self._projects, SEEN, since_ms, until_ms):
            model = card(point.labels.get("model", "")) or self._model
            region = region_of(point.labels.get("zone", ""))
            ms = min(round(point.value * _MS_PER_SAMPLE), MS_PER_HOUR)
            busy = found.get((point.at_ms, _gpu(point)))
            group = Group(point.project, region, "", "", model)
            hours[point.at_ms][group].add(ms, None if busy is None else min(busy, ms))

    def _count(self, counts: Counts, at_ms: int, group: Group, time: _Time) -> None:
        labels = self._owners.labels(
            group.model or "gpu",
            project=group.project,
            # Whoever divides a cluster does so by namespace.
            api_key=group.place,
            region=group.region,
            service=group.machine_type,
            operation=self._purchase,
        )._replace(category=GPU_CATEGORY, purpose="")
        detail: Mapping[str, object] = {} if time.busy is None else {"busy_ms": time.busy}
        if group.place:
            detail = {**detail, "place": group.place}
        counts.add(
            identity(self._meter, at_ms, group._asdict()),
            at_ms,
            labels,
            {"gpu_ms": time.allocated},
            detail=detail,
        )


def _container(labels: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(labels.get(name, "") for name in _CONTAINER)


def _gpu(point: Point) -> tuple[str, ...]:
    return tuple(point.labels.get(name, "") for name in ("zone", "instance_id", "gpu_number"))
