"""Cloud Monitoring's gRPC service on a loopback port: ListTimeSeries in its protos.

It holds points a minute or an hour apart and aligns them to hours as it is asked, or fails
as told.
"""

from __future__ import annotations

import re
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.cloud.monitoring_v3.types import ListTimeSeriesRequest, ListTimeSeriesResponse
from google.protobuf import duration_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

_TYPE = re.compile(r'metric\.type = "([^"]+)"')
_RESOURCE = re.compile(r'resource\.type = "([^"]+)"')


@dataclass
class Series:
    """One series: its samples are (end of the sample in Unix seconds, value)."""

    metric: str
    resource_type: str
    resource: Mapping[str, str]
    labels: Mapping[str, str]
    samples: list[tuple[int, float]]
    system: Mapping[str, str] = field(default_factory=dict)
    double: bool = False


@dataclass
class Fault:
    """One answer that is not the ordinary one."""

    code: grpc.StatusCode | None = None
    details: str = "not now"
    trailers: Mapping[str, str] = field(default_factory=dict)
    #: google.rpc.RetryInfo, in seconds.
    retry_seconds: float | None = None
    gate: threading.Event | None = None
    change: Callable[[Any], Any] | None = None
    raw: bytes | None = None


class GcpMonitoring:
    def __init__(self) -> None:
        self.series: list[Series] = []
        self.faults: deque[Fault | None] = deque()
        self.asked: list[Any] = []
        self.page_size = 100_000
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def add(
        self, metric: str, resource_type: str, resource: Mapping[str, str],
        labels: Mapping[str, str], *samples: tuple[int, float], **more: Any,
    ) -> Series:  # fmt: skip
        found = Series(metric, resource_type, resource, labels, list(samples), **more)
        self.series.append(found)
        return found

    def answer(self, message: bytes, context: grpc.ServicerContext) -> bytes:
        request = ListTimeSeriesRequest.deserialize(message)
        self.asked.append(request)
        fault = (self.faults.popleft() if self.faults else None) or Fault()
        if fault.gate is not None:
            fault.gate.wait(20)
        if fault.trailers:
            context.set_trailing_metadata(tuple(fault.trailers.items()))
        if fault.retry_seconds is not None:
            context.abort_with_status(rpc_status.to_status(_status(fault)))
        if fault.code is not None:
            context.abort(fault.code, fault.details)
        if fault.raw is not None:
            return fault.raw
        found = ListTimeSeriesResponse.pb(self._page(request, context))
        if fault.change is not None:
            found = fault.change(found)
        return found.SerializeToString()

    def _page(self, request: Any, context: grpc.ServicerContext) -> ListTimeSeriesResponse:
        aligned = list(self._aligned(request, context))
        start = int(request.page_token or 0)
        end = start + min(self.page_size, request.page_size)
        out: dict[int, dict[str, Any]] = {}
        flat = [(n, one, p) for n, (one, points) in enumerate(aligned) for p in points]
        for number, one, point in flat[start:end]:
            out.setdefault(number, {**one, "points": []})["points"].append(point)
        token = str(end) if end < len(flat) else ""
        return ListTimeSeriesResponse(time_series=list(out.values()), next_page_token=token)

    def _aligned(
        self, request: Any, context: grpc.ServicerContext
    ) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
        metric = _TYPE.search(request.filter)
        kind = _RESOURCE.search(request.filter)
        if metric is None or not request.name.startswith("projects/"):
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the filter names no metric")
            return
        known = [one for one in self.series if one.metric == metric[1]]
        if not known:
            said = f'Cannot find metric(s) that match type = "{metric[1]}".'
            context.abort(grpc.StatusCode.NOT_FOUND, said)
        about = request.aggregation
        width = about.alignment_period.seconds
        since = int(request.interval.start_time.timestamp())
        until = int(request.interval.end_time.timestamp())
        groups: dict[tuple[tuple[str, str], ...], Any] = {}
        sums: dict[tuple[tuple[str, str], ...], dict[int, float]] = defaultdict(dict)
        for one in known:
            if kind is not None and one.resource_type != kind[1]:
                continue
            about_it = _reduced(one, about)
            key = tuple(sorted({**about_it[0], **about_it[1], **about_it[2]}.items()))
            groups[key] = (one, about_it)
            # Hours are counted from the end of the time, as the service does.
            buckets: dict[int, list[float]] = defaultdict(list)
            for end, value in one.samples:
                if since < end <= until:
                    buckets[until - (until - end) // width * width].append(value)
            for end, values in buckets.items():
                count = about.per_series_aligner.name == "ALIGN_COUNT"
                more = float(len(values)) if count else sum(values)
                sums[key][end] = sums[key].get(end, 0) + more
        for key, (one, (resource, labels, system)) in groups.items():
            if not sums[key]:
                continue
            head: dict[str, Any] = {
                "metric": {"type": one.metric, "labels": labels},
                "resource": {"type": one.resource_type, "labels": resource},
                "metadata": {"system_labels": system},
            }
            name = "double_value" if one.double else "int64_value"
            yield head, [
                {
                    "interval": {"start_time": {"seconds": end - width},
                                 "end_time": {"seconds": end}},
                    "value": {name: value if one.double else int(value)},
                }
                for end, value in sorted(sums[key].items(), reverse=True)
            ]  # fmt: skip


def _reduced(one: Series, about: Any) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    """Labels after the reduction; those of the system come only where they are grouped by."""
    if about.cross_series_reducer.name == "REDUCE_NONE":
        return dict(one.resource), dict(one.labels), {}
    fields = list(about.group_by_fields)

    def kept(prefix: str, labels: Mapping[str, str]) -> dict[str, str]:
        return {k: v for k, v in labels.items() if f"{prefix}.{k}" in fields}

    return (
        kept("resource.label", one.resource),
        kept("metric.label", one.labels),
        kept("metadata.system_labels", one.system),
    )


def _status(fault: Fault) -> status_pb2.Status:
    seconds = fault.retry_seconds or 0
    delay = duration_pb2.Duration(seconds=int(seconds), nanos=int(seconds % 1 * 1e9))
    status = status_pb2.Status(
        code=(fault.code or grpc.StatusCode.RESOURCE_EXHAUSTED).value[0], message=fault.details
    )
    status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    return status


@contextmanager
def serving(fake: GcpMonitoring) -> Iterator[GcpMonitoring]:
    server = grpc.server(futures.ThreadPoolExecutor(4))
    handler = grpc.unary_unary_rpc_method_handler(fake.answer)
    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler(
                "google.monitoring.v3.MetricService", {"ListTimeSeries": handler}
            ),
        )
    )
    fake.port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield fake
    finally:
        server.stop(0).wait(5)
