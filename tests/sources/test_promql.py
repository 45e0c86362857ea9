"""PromQL as usage: against a real Prometheus, and against one that goes wrong."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from costmeter.model import Usage
from costmeter.sources.contract import OwnerRule, Rhythm, SourceError
from costmeter.sources.registry import make
from fakes.clock import FakeClock
from fakes.prometheus import Prometheus
from fakes.reports import BadRequest, Fault, Query, Reports, one, serving
from sources.rig import DAY, HOUR, NOW, TODAY, pages, running, settings
from sources.test_faults import FAULTS

YESTERDAY = TODAY - DAY
MINUTE = 60
SHORT = Rhythm(lookback_days=1, restated_days=1, step_days=1)
#: From 22:00 to 6:00; tokens a minute by model and tenant. One counter is reset on its way.
FIRST, LAST = YESTERDAY + 22 * HOUR, TODAY + 6 * HOUR
RATES = {("gpt-5", "acme"): 1_250, ("gpt-5", "beta"): 17, ("claude-sonnet-4-5", "acme"): 333}
OPTIONS = {
    "query": 'sum by (model, tenant) (increase(tokens_total{job="vllm"}[$window]))',
    "quantity": "input", "provider": "openai", "model_label": "model", "tenant_label": "tenant",
}  # fmt: skip


def exposition() -> str:
    lines = ["# TYPE tokens counter"]
    for (model, tenant), rate in RATES.items():
        reset = TODAY + 2 * HOUR + 30 * MINUTE if tenant == "beta" else FIRST
        for at in range(FIRST, LAST + 1, MINUTE):
            value = rate * ((at - (reset if at > reset else FIRST)) // MINUTE)
            pairs = f'job="vllm",model="{model}",tenant="{tenant}"'
            lines.append(f"tokens_total{{{pairs}}} {value} {at}")
    return "\n".join([*lines, "# EOF", ""])


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    folder = tmp_path_factory.mktemp("prometheus")
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("there is no promtool on this machine (Debian: apt install prometheus)")
    (folder / "past.om").write_text(exposition())
    subprocess.run(
        [
            promtool, "tsdb", "create-blocks-from", "openmetrics", "--quiet",
            str(folder / "past.om"), str(folder / "tsdb"),
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    with Prometheus(folder, targets=[]) as running_one:
        yield running_one


class Real(Reports):
    """Where the real Prometheus is; it asks for no key."""

    def __init__(self, prometheus: Prometheus) -> None:
        super().__init__()
        self.port = prometheus.port


def test_the_hours_of_a_real_prometheus(tmp_path: Path, prometheus: Prometheus) -> None:
    chosen = settings(Real(prometheus), options=OPTIONS, rhythm=SHORT)
    clock = FakeClock((LAST - 2 * HOUR + 600) * 1000)
    minutes = 6 * 60
    with running(tmp_path, "promql", chosen, clock=clock) as rig:
        assert rig.poll() == f"{3 * 6} new"
        assert rig.booked("input") == sum(RATES.values()) * minutes
        assert rig.poll() == f"{3 * 6} same"
        for _ in range(4):  # two hours come, and two are empty
            clock.advance(HOUR)
            rig.poll()
        assert rig.records() == 3 * 8
        assert rig.booked("input") == sum(RATES.values()) * minutes * 8 // 6
        # Priced as a push of the same tokens would be: 2 USD a million for gpt-5.
        gpt = sum(rate for (model, _), rate in RATES.items() if model == "gpt-5")
        assert rig.cost() == gpt * 8 * 60 * 2_000
        told = pages(rig.source, YESTERDAY, TODAY + DAY)
    usages = [usage for page in told for usage in page.usages]
    assert [u.at_ms // 1000 for u in usages[::3]] == list(range(FIRST, LAST, HOUR))
    for usage in usages:
        found = prometheus.query(
            OPTIONS["query"].replace("$window", "1h"), usage.at_ms / 1000 + HOUR
        )
        key = (("model", usage.labels.model), ("tenant", usage.labels.tenant_id))
        assert dict(usage.quantities) == {"input": round(found[key])}


def test_what_a_real_prometheus_refuses(prometheus: Prometheus) -> None:
    for query, reason, said in (
        ("sum(increase(tokens_total[$window])", "request", "answered 400: .*parse error"),
        ("tokens_total[$window]", "malformed", "resultType: matrix; the query must yield"),
        ("tokens_total * on(job) group_left(model) increase(tokens_total[$window])", "request",
         "answered 422: .*duplicate series"),
    ):  # fmt: skip
        source = make("promql", settings(Real(prometheus), options={**OPTIONS, "query": query}))
        with pytest.raises(SourceError, match=said) as caught:
            pages(source, YESTERDAY, TODAY + DAY)
        assert caught.value.reason == reason


class Fake(Reports):
    """`found` maps when an hour ends to (labels, value)."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[int, list[tuple[dict[str, str], str]]] = {}

    def route(self, path: str, query: Query) -> Any:
        if path != "/api/v1/query" or "[1h]" not in one(query, "query"):
            raise BadRequest("invalid parameter")
        at = int(one(query, "time"))
        result = [
            {"metric": metric, "value": [at + 0.25, value]}
            for metric, value in self.found.get(at, [])
        ]
        return {
            "status": "success", "data": {"resultType": "vector", "result": result},
            "warnings": ["some store did not answer"],
        }  # fmt: skip


@pytest.fixture
def fake() -> Iterator[Fake]:
    with serving(Fake()) as found:
        assert isinstance(found, Fake)
        yield found


def read(fake: Fake, **options: str) -> list[Usage]:
    chosen = {name: value for name, value in {**OPTIONS, **options}.items() if value}
    rules = (OwnerRule(project="p-*", tenant_id="by-project"),)
    source = make("promql", settings(fake, options=chosen, owners=rules, account="dc-1"))
    return [u for page in pages(source, YESTERDAY, TODAY + DAY) for u in page.usages]


def test_labels_and_fractions(fake: Fake) -> None:
    fake.found[TODAY + HOUR] = [
        ({"model": "a", "tenant": "acme"}, "2.5"), ({"model": "b"}, "3.5"),
        ({"tenant": "beta", "p": "p-1", "t": "x"}, "1.234e+06"), ({"p": "p-2"}, "0.5"),
        ({"p": "p-3", "n": "1"}, "0.51"),
    ]  # fmt: skip
    usages = read(fake, model="rest", project_label="p", team_label="t")
    assert [
        (u.labels.model, u.labels.tenant_id, u.labels.project, u.labels.team, u.quantities["input"])
        for u in usages
    ] == [
        ("a", "acme", "", "", 2), ("b", "default", "", "", 4),
        ("rest", "beta", "p-1", "x", 1_234_000), ("rest", "by-project", "p-3", "", 1),
    ]  # fmt: skip
    assert {(u.at_ms, u.labels.account) for u in usages} == {(TODAY * 1000, "dc-1")}
    assert [u.event_id for u in usages] == [u.event_id for u in read(fake, model="other")]


def test_what_is_no_token(fake: Fake) -> None:
    fake.found[TODAY + HOUR] = [({"ns": "search", "dc": "eu"}, "7200000")]
    (one_usage,) = read(
        fake, quantity="cpu_core_ms", model_label="", model="cpu", tenant_label="ns",
        region_label="dc", service_label="ns", provider="onprem",
    )  # fmt: skip
    labels = one_usage.labels
    assert (labels.category, labels.purpose, labels.operation) == ("cpu_compute", "", "")
    assert (labels.tenant_id, labels.region, labels.service) == ("search", "eu", "search")
    assert dict(one_usage.quantities) == {"cpu_core_ms": 7_200_000}


def test_a_scalar_is_one_series(fake: Fake) -> None:
    scalar = {"status": "success", "data": {"resultType": "scalar", "result": [1, "5"]}}
    fake.faults.extend([Fault(change=lambda _: scalar)] + [None] * 40)
    (found,) = read(fake, model="m")
    assert (found.labels.model, dict(found.quantities)) == ("m", {"input": 5})


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-Inf", "-0.25", "x", "1e16"])
def test_values_that_cannot_be_name_their_series(fake: Fake, value: str) -> None:
    fake.found[TODAY + HOUR] = [({"model": "a"}, "1"), ({"model": "b", "tenant": "t"}, value)]
    with pytest.raises(SourceError, match=r'^\{model="b", tenant="t"\}: is ') as caught:
        read(fake)
    assert caught.value.reason == "malformed"


ONE = {"metric": {"a": "1"}, "value": [1, "1"]}


def result(*rows: Any) -> Any:
    return lambda _: {"status": "success", "data": {"resultType": "vector", "result": [*rows]}}


@pytest.mark.parametrize(
    ("change", "reason", "said"),
    [
        (lambda _: {"status": "error", "error": "too many samples"}, "request", "too many samples"),
        (lambda _: {"status": "success"}, "malformed", "resultType: missing"),
        (result(ONE, ONE), "repeated_page", "came twice"),
        (result({"metric": {"a": 1}, "value": [1, "1"]}), "malformed", "expected texts"),
        (result({"metric": {"a": "1"}, "histogram": [1, {}]}), "malformed", "is a histogram"),
        (result({"metric": {"a": "1"}, "value": [1, 1]}), "malformed", "expected a pair"),
        (result({"metric": {"a": "1"}}), "malformed", "expected a pair"),
    ],
)  # fmt: skip
def test_answers_that_cannot_be(fake: Fake, change: Any, reason: str, said: str) -> None:
    fake.faults.extend([Fault(change=change)] * 4)
    with pytest.raises(SourceError, match=said) as caught:
        read(fake)
    assert caught.value.reason == reason


def test_faults(tmp_path: Path, fake: Fake) -> None:
    """The clock stands for most of it: each poll asks for each hour since yesterday again."""
    fake.found[YESTERDAY + 3 * HOUR] = [({"model": "gpt-5", "tenant": "acme"}, "1000")]
    more: dict[str, tuple[list[Fault], str | None]] = {
        "422": ([Fault(422, body=b'{"status":"error","error":"query timed out"}')], "request"),
        "an error in a body": (
            [Fault(503, body=b'{"status":"error","errorType":"timeout","error":"busy"}')] * 4,
            "server",
        ),
    }
    chosen = settings(fake, options=OPTIONS, rhythm=SHORT)
    with running(tmp_path, "promql", chosen) as rig:
        rig.poll()
        for fault, (answers, reason) in {**FAULTS, **more}.items():
            fake.faults.extend(answers)
            said = rig.poll()
            if reason is None:
                assert "failed" not in said, fault
            else:
                assert said.startswith(f"failed: {reason}"), (fault, said)
            assert fake.key not in said, fault
        assert "failed" not in rig.poll()
        assert rig.booked("input") == 1_000
        # Restated up and down, and gone.
        for value in ("2000.4", "700"):
            fake.found[YESTERDAY + 3 * HOUR] = [({"model": "gpt-5", "tenant": "acme"}, value)]
            rig.poll()
            assert rig.booked("input") == round(float(value))
        fake.found.clear()
        assert rig.poll() == "1 gone"
        assert rig.booked("input") == 0


@pytest.mark.parametrize(
    ("minute", "delay", "hours"), [(4, "300", 9), (5, "300", 10), (5, "3600", 9), (0, "0", 10)]
)
def test_an_hour_is_asked_when_it_is_settled(
    fake: Fake, minute: int, delay: str, hours: int
) -> None:
    now = TODAY + 10 * HOUR + minute * MINUTE
    assert now < NOW
    source = make("promql", settings(fake, options={**OPTIONS, "delay_seconds": delay}))
    (page,) = pages(source, TODAY, TODAY + DAY, now)
    assert (page.since_ms, page.until_ms) == (TODAY * 1000, (TODAY + hours * HOUR) * 1000)
    asked = [int(one(found.query, "time")) for found in fake.asked]
    assert asked == [TODAY + (hour + 1) * HOUR for hour in range(hours)]
    assert datetime.fromtimestamp(asked[0], UTC).minute == 0


def test_mistakes(fake: Fake) -> None:
    for change, said in (
        ({"query": "sum(increase(x[5m]))"}, r"option query has no \$window"),
        ({"query": ""}, r"option query has no \$window"),
        ({"quantity": ""}, "option quantity is missing"),
        ({"quantity": "tokens"}, "option quantity=tokens is none of"),
        ({"quantity": "requests"}, "option quantity=requests is none of"),
        ({"provider": ""}, "option provider is missing"),
        ({"model_label": ""}, "options model and model_label are missing"),
        ({"category": "x"}, "option category=x is none of"),
    ):
        with pytest.raises(ValueError, match=said):
            read(fake, **change)
    secret = settings(fake).secret
    with pytest.raises(ValueError, match="needs base_url"):
        make("promql", settings(fake).__class__("x", secret, options=OPTIONS))
