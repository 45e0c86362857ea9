"""An application as people write it: the openai client, instrumented by OpenTelemetry.

Run: python app.py PROVIDER_URL. OpenTelemetry is told the rest by its own environment variables.
"""

from __future__ import annotations

import contextlib
import sys

import openai
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.openai_v2 import OpenAIInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor


def main(provider_url: str) -> None:
    resource = Resource.create()
    traces = TracerProvider(resource=resource)
    traces.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    reader = PeriodicExportingMetricReader(OTLPMetricExporter())
    metrics = MeterProvider(resource=resource, metric_readers=[reader])
    OpenAIInstrumentor().instrument(tracer_provider=traces, meter_provider=metrics)
    client = openai.OpenAI(base_url=f"{provider_url}/v1", api_key="k", max_retries=0)
    messages = [{"role": "user", "content": "hello"}]
    tracer = traces.get_tracer("app")
    agent = {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.usage.input_tokens": 999_999,
        "gen_ai.usage.output_tokens": 999_999,
    }
    with tracer.start_as_current_span("invoke_agent helper", attributes=agent):
        for model in ("gpt-4o", "gpt-4o-mini", "gpt-4o-mini"):
            client.chat.completions.create(model=model, messages=messages)  # type: ignore[arg-type]
    client.embeddings.create(model="text-embedding-3-small", input="hello")
    stream = client.chat.completions.create(
        model="gpt-4o-mini",
        messages=messages,  # type: ignore[arg-type]
        stream=True,
        stream_options={"include_usage": True},
    )
    for _ in stream:
        pass
    with contextlib.suppress(openai.APIError):
        client.chat.completions.create(model="broken", messages=messages)  # type: ignore[arg-type]
    traces.shutdown()
    metrics.shutdown()


if __name__ == "__main__":
    main(sys.argv[1])
