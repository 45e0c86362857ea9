"""Token metrics: histograms and counters of an interval."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from costmeter.attribution import CATCH_ALL, Scope
from costmeter.ingest.otlp.metrics import MetricReader
from costmeter.ingest.otlp.reading import Read, Rules
from costmeter.ingest.refusal import TooLarge, Unreadable
from costmeter.ingest.window import Window
from fakes.calls import NOW_MS
from otlp.bodies import CALLER, NOW_NS, as_json, pairs, read_metrics

BOOKED = Rules(scopes=(Scope("all", detail_from="otlp"),))
CALLS: Mapping[str, Any] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.response.model": "gpt-4o-mini",
}
USAGE = "gen_ai.client.token.usage"
COUNTERS = "gen_ai.client.inference.usage."


def histogram(
    token_type: str | None, total: float | None, name: str = USAGE, **changes: Any
) -> Metric:
    """A histogram with one point; the changes are its `unit`, `temporality`, `said`, `end_ns`."""
    made = Metric(name=name, unit=changes.get("unit", "{token}"))
    made.histogram.aggregation_temporality = changes.get("temporality", 1)
    point = made.histogram.data_points.add()
    said = {**CALLS, **changes.get("said", {})}
    if token_type is not None:
        said["gen_ai.token.type"] = token_type
    fill(point, said, changes.get("end_ns", NOW_NS))
    point.count, point.bucket_counts[:], point.explicit_bounds[:] = 3, [1, 2], [100.0]
    if total is not None:
        point.sum = total
    return made


def counter(name: str, total: int | float, **changes: Any) -> Metric:
    made = Metric(name=COUNTERS + name, unit="{token}")
    made.sum.aggregation_temporality, made.sum.is_monotonic = changes.get("temporality", 1), True
    point = made.sum.data_points.add()
    fill(point, CALLS, NOW_NS)
    if isinstance(total, int):
        point.as_int = total
    else:
        point.as_double = total
    return made


def fill(point: Any, said: Mapping[str, Any], end_ns: int) -> None:
    point.attributes.extend(pairs(said))
    point.start_time_unix_nano, point.time_unix_nano = end_ns - 60 * 10**9, end_ns


def body(*metrics: Metric, **resource: Any) -> ExportMetricsServiceRequest:
    made = ExportMetricsServiceRequest()
    outer = made.resource_metrics.add()
    named = {name.replace("_", "."): value for name, value in resource.items()}
    outer.resource.attributes.extend(pairs({"service.name": "s", **named}))
    outer.scope_metrics.add().metrics.extend(metrics)
    return made


def read(*metrics: Metric, rules: Rules = BOOKED, **resource: Any) -> Read:
    """The same from protobuf and from JSON, but for the identities."""
    made = body(*metrics, **resource)
    found = read_metrics(made, rules=rules)
    reader = MetricReader(Window(), 10_000, rules)
    other = reader.read(as_json(made), CALLER, NOW_MS, as_json=True)
    bare = [usage._replace(event_id="") for usage in found.batch.items]
    assert [usage._replace(event_id="") for usage in other.batch.items] == bare
    assert other.batch.rejections == found.batch.rejections
    assert (other.ignored, other.observed) == (found.ignored, found.observed)
    return found


def reasons(found: Read) -> list[tuple[str, str]]:
    assert found.batch.items == []
    return [(one.field, one.reason) for one in found.batch.rejections]


def test_input_and_output_of_one_interval_are_one_event() -> None:
    found = read(histogram("input", 900.0), histogram("output", 70.0), tenant_id="acme")
    assert len(found.batch.items) == 1
    usage = found.batch.items[0]
    assert usage.quantities == {"input": 900, "output": 70}
    assert (usage.at_ms, usage.feed) == (NOW_MS, "otlp")
    assert usage.event_id.startswith("f:otlp:")
    assert (usage.labels.model, usage.labels.tenant_id) == ("gpt-4o-mini", "acme")
    assert usage.labels.service == "s"


def test_counters_hold_caches_and_reasoning_within_their_wholes() -> None:
    found = read(
        counter("input_tokens", 900),
        counter("output_tokens", 70.0),
        counter("cache_read.input_tokens", 600),
        counter("cache_write.input_tokens", 100),
        counter("reasoning.output_tokens", 30),
    )
    assert [usage.quantities for usage in found.batch.items] == [
        {"input": 200, "cache_read": 600, "cache_write_5m": 100, "output": 40, "reasoning": 30}
    ]


def test_both_generations_of_metrics_are_booked_once() -> None:
    found = read(histogram("input", 900.0), counter("input_tokens", 900), histogram("output", 70.0))
    assert [usage.quantities for usage in found.batch.items] == [{"input": 900}]
    assert found.ignored == {"older_metric": 2}


def test_an_exponential_histogram() -> None:
    made = Metric(name=USAGE, unit="{token}")
    made.exponential_histogram.aggregation_temporality = 1
    point = made.exponential_histogram.data_points.add(count=1, sum=42.0, scale=2)
    fill(point, {**CALLS, "gen_ai.token.type": "output"}, NOW_NS)
    assert [usage.quantities for usage in read(made).batch.items] == [{"output": 42}]


def test_the_same_points_again_are_the_same_event_and_others_are_not() -> None:
    def identity(*metrics: Metric, **resource: Any) -> str:
        found = [usage.event_id for usage in read(*metrics, **resource).batch.items]
        assert len(found) == 1
        return found[0]

    first = identity(histogram("input", 900.0), histogram("output", 70.0))
    assert identity(histogram("output", 70.0), histogram("input", 900.0)) == first
    assert identity(histogram("input", 900.0, end_ns=NOW_NS + 1)) != first
    assert identity(histogram("input", 900.0, said={"server.port": 443})) != first
    assert identity(histogram("input", 900.0), service_instance_id="b") != first


def test_without_a_scope_that_names_them_sums_are_only_compared() -> None:
    for scopes, seen in (
        ((CATCH_ALL,), {"default": 1}),
        ((Scope("azure", provider="azure", detail_from="otlp"),), {"default": 1}),
        ((Scope("mine", provider="openai"),), {"mine": 1}),
    ):
        found = read(histogram("input", 9.0), rules=Rules(scopes=scopes))
        assert found.batch.items == []
        assert found.observed == seen
    # A scope of another feed leaves it to the ledger, which keeps what it observes.
    found = read(histogram("input", 9.0), rules=Rules(scopes=(Scope("x", detail_from="sdk"),)))
    assert len(found.batch.items) == 1


def test_cumulative_sums_are_refused_with_the_way_out() -> None:
    for metric in (
        histogram("input", 9.0, temporality=2),
        counter("input_tokens", 9, temporality=2),
    ):
        [(field, reason)] = reasons(read(metric))
        assert field == metric.name
        assert "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE=delta" in reason
    assert reasons(read(histogram("input", 9.0, temporality=0))) == [
        (USAGE, "no temporality is said")
    ]


@pytest.mark.parametrize("unit", ["s", "By", "{char}"])
def test_an_unknown_unit_is_refused(unit: str) -> None:
    assert reasons(read(histogram("input", 9.0, unit=unit))) == [
        (USAGE, f"unknown unit {unit!r}; expected {{token}}")
    ]


@pytest.mark.parametrize("total", [-1.0, 1.5, float("nan"), float("inf"), 2e9, None])
def test_what_is_no_sum_of_tokens_is_refused(total: float | None) -> None:
    assert len(reasons(read(histogram("input", total)))) == 1


@pytest.mark.parametrize("token_type", ["cached", None])
def test_an_unknown_type_of_token_is_refused(token_type: str | None) -> None:
    assert [field for field, _ in reasons(read(histogram(token_type, 9.0)))] == [
        "gen_ai.token.type"
    ]


def test_a_gauge_counts_nothing() -> None:
    made = Metric(name=USAGE, unit="{token}")
    made.gauge.data_points.add(as_int=5, time_unix_nano=NOW_NS)
    assert reasons(read(made)) == [(USAGE, "expected a histogram or a sum; a gauge counts nothing")]


def test_good_points_are_kept_beside_bad_ones() -> None:
    old = histogram("input", 7.0, said={"gen_ai.response.model": "m"}, end_ns=10**18)
    found = read(histogram("input", -1.0), old, histogram("output", 70.0))
    assert [usage.quantities for usage in found.batch.items] == [{"output": 70}]
    assert [(one.place, one.code) for one in found.batch.rejections] == [
        (0, "invalid"),
        (1, "too_old"),
    ]


def test_other_metrics_and_agents_are_counted_as_ignored() -> None:
    found = read(
        histogram(None, 9.0, name="gen_ai.client.operation.duration", unit="s"),
        histogram("input", 9.0, said={"gen_ai.operation.name": "invoke_agent"}),
        histogram("input", 0.0),
    )
    assert found.batch.items == []
    assert found.batch.rejections == []
    assert found.ignored == {"not_genai": 1, "agent": 1, "no_usage": 1}


@pytest.mark.parametrize("size", range(1, 200, 9))
def test_a_body_that_is_cut_off_books_nothing_of_what_is_missing(size: int) -> None:
    raw = body(histogram("input", 9.0)).SerializeToString()
    with pytest.raises(Unreadable):
        read_metrics(raw[:size], rules=BOOKED)


FUZZED = body(histogram("input", 9.0), counter("output_tokens", 7), service_instance_id="a")
WRONG = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_damaged_body_is_read_or_refused(data: st.DataObject) -> None:
    raw = bytearray(FUZZED.SerializeToString())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(raw) - 1))
        raw[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    with contextlib.suppress(Unreadable, TooLarge):
        MetricReader(Window(), 10_000, BOOKED).read(bytes(raw), CALLER, NOW_MS, as_json=False)


@settings(max_examples=150, deadline=None)
@given(WRONG, st.data())
def test_json_of_the_wrong_types_is_read_or_refused(value: Any, data: st.DataObject) -> None:
    made = json.loads(as_json(FUZZED))
    node: Any = made
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(node[key], dict | list) or not node[key] or data.draw(st.booleans()):
            node[key] = value
            break
        node = node[key]
    with contextlib.suppress(Unreadable, TooLarge):
        raw = json.dumps(made).encode()
        MetricReader(Window(), 10_000, BOOKED).read(raw, CALLER, NOW_MS, as_json=True)
