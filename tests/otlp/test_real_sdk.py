"""The real client, the real instrumentation and the real exporter: booked equals served."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import SpanKind

from fakes.exporter import Exporter, environment, stamp, wait_until
from fakes.provider import Provider, Step, provider
from otlp.bodies import request, span

APP = Path(__file__).parent / "app.py"
NO_HOLD = "ledger:\n  birth_hold_seconds: 0\n"
SECRET = "t" * 32


@pytest.fixture
def llm() -> Iterator[Provider]:
    with provider() as one:
        one.plan(*[Step()] * 5, Step(status=500))
        yield one


def run_app(llm: Provider, exporter: Exporter, **more: str) -> None:
    told = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{exporter.address}",
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta",
        "OTEL_RESOURCE_ATTRIBUTES": "tenant.id=acme,deployment.environment.name=prod",
        "OTEL_SERVICE_NAME": "search",
    }
    ran = subprocess.run(
        [sys.executable, str(APP), llm.url],
        env=environment() | told | more, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert "Failed to export" not in ran.stderr


def served(llm: Provider) -> Counter[tuple[str, str]]:
    """Whole input and whole output by model, as the provider counted them."""
    found: Counter[tuple[str, str]] = Counter()
    for one in llm.served:
        if one.usage is not None:
            found[one.model, "input"] += one.usage["prompt_tokens"]
            found[one.model, "output"] += one.usage.get("completion_tokens", 0)
    return +found


def booked(exporter: Exporter) -> Counter[tuple[str, str]]:
    halves = {"input": "input", "cache_read": "input", "output": "output", "reasoning": "output"}
    found: Counter[tuple[str, str]] = Counter()
    for labels, value in exporter.metrics().family("llm_tokens_total").items():
        said = dict(labels)
        found[said["model"], halves[said["token_class"]]] += int(value)
    return +found


def wait_booked(exporter: Exporter, wanted: Counter[tuple[str, str]]) -> None:
    wait_until(lambda: booked(exporter) == wanted, 10, f"{wanted}, not {booked(exporter)}")


@pytest.mark.parametrize(
    "generation", [{}, {"OTEL_SEMCONV_STABILITY_OPT_IN": "gen_ai_latest_experimental"}]
)
def test_what_was_booked_is_what_was_served(
    tmp_path: Path, llm: Provider, generation: Mapping[str, str]
) -> None:
    with Exporter(tmp_path, NO_HOLD).start() as exporter:
        run_app(llm, exporter, **generation)
        assert len(llm.served) == 6
        wait_booked(exporter, served(llm))
        page = exporter.metrics()
        assert page.sum("llm_requests_total", status="ok", tenant_id="acme") == 5
        assert page.sum("llm_requests_total", status="error", model="broken") == 1
        assert page.sum("costmeter_events_accepted_total", feed="otlp") == 6
        assert page.sum("costmeter_otlp_spans_ignored_total", reason="agent") == 1
        # The metrics sum up the same calls; without a scope that names them they are compared.
        assert page.sum("costmeter_events_accepted_total", feed="otlp-metrics") is None
        observed = page.sum("costmeter_events_observed_total", feed="otlp-metrics")
        assert observed is not None
        assert observed >= 3
        assert page.sum("llm_tokens_total", environment="prod") == sum(served(llm).values())


def test_metrics_can_book_instead_of_spans(tmp_path: Path, llm: Provider) -> None:
    scopes = "scopes:\n  - name: all\n    detail_from: otlp-metrics\n"
    with Exporter(tmp_path, NO_HOLD + scopes).start() as exporter:
        run_app(llm, exporter)
        wait_booked(exporter, served(llm))
        page = exporter.metrics()
        assert page.sum("costmeter_events_observed_total", feed="otlp") == 6


def send_spans(exporter: Exporter, calls: int, *, ids: bool) -> None:
    """The real SDK's spans of some calls."""
    traces = TracerProvider(resource=Resource.create({"service.name": "s"}))
    traces.add_span_processor(
        SimpleSpanProcessor(
            OTLPSpanExporter(
                f"http://{exporter.address}/v1/traces",
                headers={"Authorization": f"Bearer {SECRET}"},
            )
        )
    )
    for number in range(calls):
        said: dict[str, Any] = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "gpt-4o-mini",
            "gen_ai.usage.input_tokens": 1200,
            "gen_ai.usage.output_tokens": 150,
        }
        if ids:
            said["gen_ai.response.id"] = f"chatcmpl-{number}"
        traces.get_tracer("t").start_span("chat", kind=SpanKind.CLIENT, attributes=said).end()
    traces.shutdown()


def send_events(exporter: Exporter, calls: int, *, ids: bool) -> None:
    """The same calls as an SDK of costmeter reports them."""
    events = [
        {
            "request_id": f"r-{number}",
            "timestamp": stamp(time.time()),
            "provider": "openai",
            "model": "gpt-4o-mini",
            "tokens": {"input": 1200, "output": 150},
        }
        | ({"response_id": f"chatcmpl-{number}"} if ids else {})
        for number in range(calls)
    ]
    answer = exporter.post(events, {"authorization": f"Bearer {SECRET}"})
    assert answer.status == 200, answer.text
    assert answer.json()["rejected"] == []


@pytest.mark.slow
@pytest.mark.parametrize("spans_first", [True, False])
@pytest.mark.parametrize(
    ("ids", "detail_from"), [(True, "any"), (True, "app"), (False, "app"), (False, "app-otlp")]
)
def test_sdk_and_otlp_together_book_each_call_once(
    tmp_path: Path, spans_first: bool, ids: bool, detail_from: str
) -> None:
    tokens = tmp_path / "tokens.yml"
    digest = hashlib.sha256(SECRET.encode()).hexdigest()
    tokens.write_text(f"- name: app\n  sha256: {digest}\n")
    tokens.chmod(0o600)
    config = (
        f"{NO_HOLD}ingest:\n  tokens_file: {tokens}\n"
        f"scopes:\n  - name: all\n    detail_from: {detail_from}\n"
    )
    with Exporter(tmp_path / "e", config).start() as exporter:
        order = (send_spans, send_events) if spans_first else (send_events, send_spans)
        for send in order:
            send(exporter, 3, ids=ids)
        wait_booked(
            exporter,
            Counter({("gpt-4o-mini", "input"): 3600, ("gpt-4o-mini", "output"): 450}),
        )
        page = exporter.metrics()
        assert page.sum("llm_requests_total") == 3
        assert page.sum("costmeter_events_accepted_total") == 3
        if detail_from != "any":
            assert page.sum("costmeter_events_accepted_total", feed=detail_from) == 3
            assert page.sum("costmeter_events_observed_total") == 3
        assert SECRET not in exporter.log


def test_spans_that_are_sent_again_are_booked_once(tmp_path: Path) -> None:
    """An exporter that is killed between the commit and the answer: the sender repeats."""
    now = time.time_ns()
    spans = [span(number) for number in range(1, 21)]
    for one in spans:
        one.start_time_unix_nano, one.end_time_unix_nano = now - 10**9, now
    raw = request(spans).SerializeToString()
    headers = {"content-type": "application/x-protobuf"}
    with Exporter(tmp_path, NO_HOLD).start() as exporter:
        assert exporter.ask("POST", "/v1/traces", raw, headers).status == 200
        exporter.kill9()
        exporter.start()
        assert exporter.ask("POST", "/v1/traces", raw, headers).status == 200
        wait_until(lambda: exporter.metrics().sum("llm_requests_total") == 20, 10, "20 calls")
        assert exporter.metrics().sum("costmeter_events_duplicate_total", feed="otlp") == 20
        assert exporter.command("verify").returncode == 0
