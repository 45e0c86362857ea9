"""Time series of Cloud Monitoring by the hour, through google-cloud-monitoring.

Shape: `google.monitoring.v3.MetricService/ListTimeSeries`. Points come newest first; each is
named by the end of its hour, because gauges have no beginning.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from costmeter.model import MS_PER_HOUR
from costmeter.sources.contract import Desk, Settings, SourceError
from costmeter.sources.gcp_client import Identity, endpoint_of, needs, patiently, take
from costmeter.sources.options import Options
from costmeter.sources.pages import MOST_PAGES
from costmeter.sources.reading import malformed

HOST = "monitoring.googleapis.com"
SCOPE = "https://www.googleapis.com/auth/monitoring.read"
SERVICE = "Cloud Monitoring"
#: A message of so many points is a few megabytes; the API allows 100,000.
_POINTS_A_PAGE = 20_000
_MOST_MESSAGE_BYTES = 32 * 1024 * 1024
#: More than this is no report by the hour that somebody reads.
_MOST_POINTS = 2_000_000

_Series = tuple[tuple[str, str], ...]
_Key = tuple[_Series, int]


class Question(NamedTuple):
    """One metric, aligned to hours: `aligner` and the fields that are grouped by, if any."""

    metric: str
    aligner: str
    where: str = ""
    group_by: tuple[str, ...] = ()


class Point(NamedTuple):
    """One hour of one series; a label of the metric counts before one of the resource."""

    at_ms: int
    project: str
    labels: Mapping[str, str]
    value: float | int


class Monitoring:
    """Takes the option credentials_file."""

    def __init__(self, settings: Settings, options: Options) -> None:
        """Raises ValueError where Google's packages are missing, or for bad settings."""
        needs("google.cloud.monitoring_v3")
        self._endpoint = endpoint_of(settings.base_url, HOST)
        self._identity = Identity(settings, options, self._endpoint)
        self._timeout_seconds = settings.timeout_seconds
        self._client: tuple[bytes, Any] | None = None

    def points(
        self, desk: Desk, projects: Sequence[str], asked: Question, since_ms: int, until_ms: int
    ) -> Iterator[Point]:
        """Every point within [since, until), both full hours; raises SourceError.

        A metric that a project has never had is no error: it has no points. A project that
        also shows what it watches of others brings nothing that was there before.
        """
        seen: set[_Key] = set()
        for project in projects:
            own: set[_Key] = set()
            for page in self._pages(desk, project, asked, since_ms, until_ms):
                for series, point in _points(page, project, since_ms, until_ms):
                    key = (series, point.at_ms)
                    if key in own:
                        raise SourceError("repeated_page", "a point came twice")
                    own.add(key)
                    if len(own) > _MOST_POINTS:
                        raise SourceError("too_large", f"more than {_MOST_POINTS} points")
                    if key not in seen:
                        yield point
            seen |= own

    def _pages(
        self, desk: Desk, project: str, asked: Question, since_ms: int, until_ms: int
    ) -> Iterator[Any]:
        tokens: set[str] = set()
        token = ""
        for _ in range(MOST_PAGES):
            request = _request(project, asked, since_ms, until_ms, token)
            answer = patiently(desk, SERVICE, partial(self._once, desk, request))
            if answer is None:
                return
            yield answer
            token = answer.next_page_token
            if not token:
                return
            if token in tokens:
                raise SourceError("repeated_page", "a page names one as the next that was read")
            tokens.add(token)
        raise SourceError("repeated_page", f"no end after {MOST_PAGES} pages")

    def _once(self, desk: Desk, request: Mapping[str, Any]) -> Any:
        """One page as a protobuf message; None where the metric is not known."""
        from google.api_core.exceptions import NotFound
        from google.cloud.monitoring_v3.types import ListTimeSeriesResponse

        client = self._ready()
        take(desk)
        try:
            pager = client.list_time_series(
                request=request, retry=None, timeout=self._timeout_seconds
            )
            return ListTimeSeriesResponse.pb(next(iter(pager.pages)))
        except NotFound as error:
            if "find metric" in str(error.message).lower():
                return None
            raise

    def _ready(self) -> Any:
        credentials, mark = self._identity.credentials(SCOPE)
        if self._client is not None and self._client[0] == mark:
            return self._client[1]
        import grpc
        from google.cloud.monitoring_v3 import MetricServiceClient
        from google.cloud.monitoring_v3.services.metric_service.transports import (
            MetricServiceGrpcTransport,
        )

        # Calls go straight to the provider: the environment's proxy is kept out.
        limits = [
            ("grpc.max_receive_message_length", _MOST_MESSAGE_BYTES),
            ("grpc.enable_http_proxy", 0),
            ("grpc.enable_retries", 0),
        ]
        address = self._endpoint.address
        if self._endpoint.secure:
            channel = MetricServiceGrpcTransport.create_channel(
                address, credentials=credentials, options=limits
            )
        else:
            channel = grpc.insecure_channel(address, options=limits)
        if self._client is not None:
            self._client[1].transport.close()
        client = MetricServiceClient(transport=MetricServiceGrpcTransport(channel=channel))
        self._client = (mark, client)
        return client


def _request(
    project: str, asked: Question, since_ms: int, until_ms: int, token: str
) -> dict[str, Any]:
    where = f'metric.type = "{asked.metric}"' + (f" AND {asked.where}" if asked.where else "")
    aggregation: dict[str, Any] = {
        "alignment_period": {"seconds": 3_600},
        "per_series_aligner": asked.aligner,
    }
    if asked.group_by:
        aggregation["cross_series_reducer"] = "REDUCE_SUM"
        aggregation["group_by_fields"] = list(asked.group_by)
    return {
        "name": f"projects/{project}",
        "filter": where,
        "interval": {
            "start_time": {"seconds": since_ms // 1000},
            "end_time": {"seconds": until_ms // 1000},
        },
        "aggregation": aggregation,
        "view": "FULL",
        "page_size": _POINTS_A_PAGE,
        "page_token": token,
    }


def _points(page: Any, asked: str, since_ms: int, until_ms: int) -> Iterator[tuple[_Series, Point]]:
    """Each point with what its series is known by."""
    for series in page.time_series:
        labels = _labels(series)
        said = labels.get("project_id") or labels.get("resource_container", "")
        said = said.removeprefix("projects/")
        # Some resources name the project by its number, which nobody knows it by.
        project = asked if said.isdecimal() or not said else said
        key = tuple(sorted(labels.items()))
        for point in series.points:
            at_ms = _hour(point, since_ms, until_ms)
            if at_ms is not None:
                yield key, Point(at_ms, project, labels, _value(point))


def _labels(series: Any) -> dict[str, str]:
    found = {**series.resource.labels, **series.metric.labels}
    for name, value in series.metadata.system_labels.fields.items():
        if value.WhichOneof("kind") == "string_value":
            found[name] = value.string_value
    return found


def _hour(point: Any, since_ms: int, until_ms: int) -> int | None:
    """The hour that a point is for; None for the one that ends where the time begins."""
    end = point.interval.end_time
    end_ms: int = end.seconds * 1000 + end.nanos // 1_000_000
    if end_ms % MS_PER_HOUR:
        raise malformed("interval", "does not end at a full hour")
    if end_ms == since_ms:
        return None
    if not since_ms < end_ms <= until_ms:
        raise malformed("interval", "is outside the time that was asked for")
    return end_ms - MS_PER_HOUR


def _value(point: Any) -> float | int:
    kind = point.value.WhichOneof("value")
    if kind not in ("int64_value", "double_value"):
        raise malformed("value", "expected a number")
    found: float | int = getattr(point.value, kind)
    if not 0 <= found <= 10**15:
        raise malformed("value", "expected a number, 0 or more")
    return found
