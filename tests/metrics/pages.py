"""Snapshots for the metric tests, and what an independent parser reads from a page."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Mapping

from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as text

from costmeter.metrics.catalog import FAMILIES, Family, labels_of
from costmeter.metrics.exposition import Response
from costmeter.model import Chunk, Snapshot
from costmeter.tally import Tally

NOW_MS = 1_763_805_600_000
OPENMETRICS = "application/openmetrics-text;version=1.0.0"

#: (name, label pairs) -> value
Values = dict[tuple[str, frozenset[tuple[str, str]]], float]


def snapshot(
    families: Mapping[str, Iterable[Chunk]],
    *,
    clock_ms: int = NOW_MS,
    heartbeat_ms: int = NOW_MS,
    scalars: Mapping[str, int] | None = None,
) -> Snapshot:
    chunks = {name: tuple(parts) for name, parts in families.items()}
    return Snapshot(1, "ledger-1", 3, clock_ms, heartbeat_ms, chunks, scalars or {})


def full_snapshot(series: int = 3) -> Snapshot:
    """A snapshot with `series` series in each of the ledger's families."""
    families = {}
    scalars = {}
    for family in FAMILIES:
        if family.source != "ledger":
            continue
        if not family.labels:
            scalars[family.name] = 1_000_000_000_001
            continue
        labels = tuple(tuple(f"{name} {i}" for name in family.labels) for i in range(series))
        families[family.name] = [Chunk(labels, tuple(1_234_567_891 * i for i in range(series)))]
    return snapshot(families, scalars=scalars)


def expected(state: Snapshot, extra_labels: tuple[str, ...] = ()) -> Values:
    """What a page of the snapshot says, computed the plain way from its definition."""
    divisor = {"nano": 10**9, "milli": 10**3, "count": 1}
    values: Values = {}
    for family in FAMILIES:
        names = labels_of(family.name, extra_labels)
        rows = list(state.samples(family.name))
        if not rows and family.name in state.scalars:
            rows = [((), state.scalars[family.name])]
        for labels, amount in rows:
            key = (family.name, frozenset(zip(names, labels, strict=True)))
            values[key] = amount / divisor[family.scale]
    return values


def parsed(page: bytes, *, as_openmetrics: bool = False) -> Values:
    """Every sample of a page, as prometheus_client's parser for that format reads it."""
    parse = openmetrics if as_openmetrics else text
    values: Values = {}
    for family in parse(page.decode()):
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in values, f"{key} stands twice on the page"
            values[key] = sample.value
    return values


def header_of(response: Response, name: bytes) -> str:
    found = [value.decode() for key, value in response.headers if key == name]
    assert len(found) <= 1, f"{name!r} is sent twice"
    return found[0] if found else ""


def page_of(response: Response) -> bytes:
    """The page itself, unpacked when it came as gzip."""
    if header_of(response, b"content-encoding") == "gzip":
        return gzip.decompress(response.body)
    return response.body


def of_source(source: str) -> list[Family]:
    return [family for family in FAMILIES if family.source == source]


def full_tally() -> Tally:
    """A value in each of the exporter's own families but build info, which sets itself."""
    tally = Tally()
    for number, family in enumerate(of_source("self")):
        if family.name != "costmeter_build_info":
            tally.set(family.name, *(f"a {label}" for label in family.labels), to=number + 0.5)
    return tally
