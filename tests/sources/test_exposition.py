"""The reader of expositions against prometheus_client's own, and what it refuses."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from costmeter.sources.contract import SourceError
from costmeter.sources.exposition import samples
from costmeter.sources.gpu_scrape import cards_of

DATA = Path(os.environ.get("COSTMETER_DATA", Path(__file__).parents[3] / "shared/data"))
REAL = (
    "conformance/expfmt_text",
    "prom/cadvisor_metrics",
    "prom/k8s/v1.35_kops__dcgm_0.prom",
    "prom/k8s/v1.35_upcloud__accelerator-metrics.prom",
    "prom/nvidia_gpu_exporter/linux-x86_64__nvidia-l40s__595.80__load.metrics",
    "prom/nvidia_gpu_exporter/linux-x86_64__nvidia-geforce-rtx-4080-super__595.71.05__load.metrics",
)


def test_it_reads_what_the_client_reads() -> None:
    registry = CollectorRegistry()
    counter = Counter("tokens", "Tokens.", ["model"], registry=registry)
    for n, model in enumerate(['a"b', "c\\d", "e\nf", "g}h,i=", "", "\\n"]):
        counter.labels(model).inc(10.0**n * 123_456)
    text = generate_latest(registry).decode()
    oracle = [s for family in text_string_to_metric_families(text) for s in family.samples]
    ours = [(s.name, dict(s.labels), float(s.value)) for s in samples(text)]
    assert ours == [(s.name, s.labels, s.value) for s in oracle]


@pytest.mark.parametrize(
    "text",
    [
        "a 1",
        "<html>\n",
        'a{b="c} 1\n',
        "a{b=c} 1\n",
        "a x\n",
        "a1\n",
        "a 1 x\n",
        'a{b="1",b="2"} 1\n',
        "a 1_0\n",
    ],
)
def test_what_it_refuses(text: str) -> None:
    with pytest.raises(SourceError) as caught:
        list(samples(text))
    assert caught.value.reason == "malformed"


@pytest.mark.real_data
@pytest.mark.parametrize("name", REAL)
def test_real_scrapes(name: str) -> None:
    """Those of prometheus_client name a counter with _total, also where the text does not."""
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{path} is not there; set COSTMETER_DATA")
    text = path.read_text()
    text = text if text.endswith("\n") else text + "\n"
    oracle = [s for family in text_string_to_metric_families(text) for s in family.samples]
    ours = list(samples(text))

    def named(name: str) -> str:
        return name.removesuffix("_total")

    assert sorted(
        (named(s.name), sorted(s.labels.items()), repr(float(s.value))) for s in ours
    ) == sorted((named(s.name), sorted(s.labels.items()), repr(float(s.value))) for s in oracle)
    if "dcgm" in name or "nvidia" in name or "accelerator" in name:
        models = {card.model for card in cards_of(text).values()}
        assert models in ({"L4"}, {"L40S"}, {"NVIDIA GeForce RTX 4080 SUPER"})
