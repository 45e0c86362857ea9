"""Vertex AI: tokens and calls of publisher models by the hour, from Cloud Monitoring.

Metrics: `aiplatform.googleapis.com/publisher/online_serving/token_count` and
`.../model_invocation_count`, both DELTA INT64 on the resource PublisherModel, as Google's
list of metrics has them. They are added up here and not by the API, because not every
project has each label.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from costmeter.model import MS_PER_DAY, MS_PER_HOUR
from costmeter.sources.buckets import closed_until
from costmeter.sources.contract import Desk, Page, Rhythm, Settings, Window
from costmeter.sources.gather import Counts
from costmeter.sources.gcp_client import projects_of
from costmeter.sources.gcp_monitoring import Monitoring, Point, Question
from costmeter.sources.options import Options
from costmeter.sources.owners import Owners, identity
from costmeter.sources.reading import malformed

RHYTHM = Rhythm(every_seconds=3_600, restated_days=2, lookback_days=30, step_days=7)
#: What the bill calls the service too, so that one scope has both.
SERVICE = "Vertex AI"
_METRICS = "aiplatform.googleapis.com/publisher/online_serving/"
_MODELS = 'resource.type = "aiplatform.googleapis.com/PublisherModel"'
TOKENS = Question(f"{_METRICS}token_count", "ALIGN_DELTA", _MODELS)
CALLS = Question(f"{_METRICS}model_invocation_count", "ALIGN_DELTA", _MODELS)
_MODALITIES = ("audio", "image", "video")
#: Classes that exist for a modality; every other one is of text.
_OF_MODALITY = ("input", "cache_read", "output")


class Group(NamedTuple):
    """What usage is grouped by within an hour."""

    project: str
    location: str
    publisher: str
    model: str
    version: str
    traffic: str
    processing: str


class Vertex:
    def __init__(self, settings: Settings) -> None:
        """Raises ValueError for settings that do not go together."""
        options = Options(settings.options)
        self.name = settings.name
        self.rhythm = settings.rhythm or RHYTHM
        self._monitoring = Monitoring(settings, options)
        self._projects = projects_of(options.word("project", ""))
        self._dedicated = options.switch("provisioned", default=False)
        options.finish("vertex")
        self._owners = Owners(settings, "google")

    def fetch(self, window: Window, desk: Desk) -> Iterator[Page]:
        until_ms = closed_until(window, MS_PER_HOUR)
        if until_ms <= window.since_ms:
            return
        hours: dict[int, dict[Group, dict[str, int]]] = defaultdict(lambda: defaultdict(dict))
        self._read(desk, hours, window.since_ms, until_ms)
        # A day at a time, so that no transaction is long.
        for since_ms in range(window.since_ms, until_ms, MS_PER_DAY):
            counts = Counts()
            end_ms = min(since_ms + MS_PER_DAY, until_ms)
            for at_ms in range(since_ms, end_ms, MS_PER_HOUR):
                for group, quantities in sorted(hours.pop(at_ms, {}).items()):
                    self._count(counts, at_ms, group, quantities)
            yield Page("tokens", since_ms, end_ms, counts.take())

    def _read(
        self,
        desk: Desk,
        hours: dict[int, dict[Group, dict[str, int]]],
        since_ms: int,
        until_ms: int,
    ) -> None:
        for point in self._monitoring.points(desk, self._projects, TOKENS, since_ms, until_ms):
            group = _group(point)
            if group.traffic == "dedicated" and not self._dedicated:
                continue
            found = hours[point.at_ms][group]
            name = token_class(point.labels)
            found[name] = found.get(name, 0) + _whole(point)
        for point in self._monitoring.points(desk, self._projects, CALLS, since_ms, until_ms):
            # Refused calls cost nothing.
            if not point.labels.get("response_code", "2").startswith("2"):
                continue
            at_hour = hours[point.at_ms]
            served = _nearest(_group(point), at_hour)
            if served is not None:
                found = at_hour[served]
                found["requests"] = found.get("requests", 0) + _whole(point)

    def _count(
        self, counts: Counts, at_ms: int, group: Group, quantities: Mapping[str, int]
    ) -> None:
        labels = self._owners.labels(
            group.model, project=group.project, region=group.location, service=SERVICE
        )
        detail = {"publisher": group.publisher, "version": group.version}
        counts.add(
            identity("tokens", at_ms, group._asdict()),
            at_ms,
            labels,
            quantities,
            processing=group.processing,
            detail={name: value for name, value in detail.items() if value},
        )


def token_class(labels: Mapping[str, str]) -> str:
    """The class of a series of tokens; raises SourceError for a type of no known meaning.

    Google names `input` and `output`. Models that tell caches apart say so in the type
    (`cache_read_...`, `cache_write_...`), whose tokens are then not in `input`.
    """
    said = labels.get("type", "").lower().replace("-", "_")
    name = _class(said)
    if name is None:
        raise malformed("type", f"{said[:40]!r} is no type of token that is known")
    modality = labels.get("modality", "").lower()
    if modality in _MODALITIES and name in _OF_MODALITY:
        return f"{name}_{modality}"
    return name


def _class(said: str) -> str | None:
    if "cache" in said:
        if "write" in said or "creation" in said:
            return "cache_write_1h" if "1h" in said or "1_h" in said else "cache_write_5m"
        return "cache_read"
    for word, name in (
        ("thought", "reasoning"),
        ("thinking", "reasoning"),
        ("reason", "reasoning"),
        ("input", "input"),
        ("prompt", "input"),
        ("output", "output"),
        ("candidate", "output"),
    ):
        if word in said:
            return name
    return None


def _group(point: Point) -> Group:
    labels = point.labels
    traffic = labels.get("request_type", "")
    return Group(
        project=point.project,
        location=labels.get("location", ""),
        publisher=labels.get("publisher", ""),
        model=labels.get("model_user_id", ""),
        version=labels.get("model_version_id", ""),
        traffic=traffic,
        processing=_processing(labels),
    )


def _processing(labels: Mapping[str, str]) -> str:
    if labels.get("source", "").startswith("batch"):
        return "batch"
    shared = labels.get("shared_request_type", "").lower()
    return next((name for name in ("flex", "priority") if name in shared), "standard")


def _nearest(group: Group, known: Mapping[Group, object]) -> Group | None:
    """The group with tokens that calls belong to: calls do not say how they were served."""
    if group in known:
        return group
    alike = [other for other in known if other[:5] == group[:5]]
    return min(alike, key=lambda other: (other.traffic != group.traffic, other), default=None)


def _whole(point: Point) -> int:
    if point.value != int(point.value):
        raise malformed("value", "expected a whole number")
    return int(point.value)
