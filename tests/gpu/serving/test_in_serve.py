"""The same figures on the page of `costmeter serve`, in its own process."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from costmeter.agent.page import Page
from costmeter.config.loader import load_config
from costmeter.config.problems import ConfigError
from costmeter.engine.node_gpus import NodeGpus
from costmeter.gpu.readings import GpuState
from costmeter.metrics.gpu import GpuCollector
from fakes.clock import FakeClock
from fakes.model_server import model_server


def test_serve_shows_what_an_agent_shows(tmp_path: Path) -> None:
    with model_server() as vllm:
        file = tmp_path / "c.yml"
        file.write_text(
            f"ledger: {{path: '{tmp_path / 'costmeter.db'}'}}\n"
            "gpu: {owners: configured, serving_seconds: 5, serving_window_seconds: 300,"
            f" serving: [{{url: '{vllm.url}', model: chat}}]}}\n"
        )
        clock = FakeClock()
        node = NodeGpus(load_config(file, {}), clock)
        serving = node.serving
        assert serving is not None
        serving.tick()
        vllm.prompt, vllm.output, vllm.requests = 30, 12, 3
        clock.advance(5)
        serving.tick()
    registry = CollectorRegistry()
    registry.register(GpuCollector(lambda: GpuState((), {}), "n1", None, serving.samples))
    of = {"node": "n1", "model": "chat", "engine": "vllm"}
    of |= dict.fromkeys(("namespace", "pod", "tenant_id"), "")
    in_serve, in_agent = (
        {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(text.decode())
            for sample in family.samples
            if sample.name.startswith("gpu_serving_")
        }
        for text in (
            generate_latest(registry),
            Page().render(list(serving.samples("n1")), openmetrics=True),
        )
    )
    assert in_serve == in_agent
    assert in_serve == {
        ("gpu_serving_tokens_total", tuple(sorted({**of, "token_class": "prompt"}.items()))): 30,
        ("gpu_serving_tokens_total", tuple(sorted({**of, "token_class": "output"}.items()))): 12,
        ("gpu_serving_requests_total", tuple(sorted(of.items()))): 3,
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[{url: 'http://a/metrics', uuids: [MIG-0f1e]}]", "uuid of a whole GPU"),
        ("[{url: 'http://a/metrics'}, {url: 'http://b/metrics'}]", "every GPU"),
        ("[{url: 'http://user:pass@a/metrics'}]", "address of a page"),
        ("[{engine: vllm}]", "url"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "c.yml"
    file.write_text(f"gpu: {{serving: {text}}}\n")
    with pytest.raises(ConfigError, match=says):
        load_config(file, {})
