"""Model servers over HTTP beside the figures of a meter."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from costmeter.gpu.figures import Figures, GpuFigures, OwnerFigures
from costmeter.gpu.serving.economics import Match
from costmeter.gpu.serving.fetch import TooSlow, fetch
from costmeter.gpu.serving.reader import Serving, Target
from costmeter.metrics.catalog import CATALOG
from fakes.clock import FakeClock
from fakes.model_server import ModelServer, model_server


@pytest.fixture
def vllm() -> Iterator[ModelServer]:
    with model_server() as made:
        yield made


@dataclass
class Bench:
    """A node with one H100 at 3.60 USD an hour, half of it used; 700 W."""

    targets: list[Target]
    clock: FakeClock = field(default_factory=FakeClock)
    seconds: int = 0
    unpriced: int = 0
    found: list[Target] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    slow: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.serving = Serving(
            self.targets, self.figures, self.clock, discover=lambda: self.found, get=self.get
        )

    def get(self, url: str, wanted: tuple[str, ...]) -> str:
        self.asked.append(url)
        if url in self.slow:
            raise TooSlow("it takes longer than 5 seconds")
        return fetch(url, wanted)

    def figures(self) -> Figures:
        nano = (self.seconds - self.unpriced) * 1_000_000
        labels = ("0", "GPU-1", "H100", "", "ml", "chat-0", "vllm", "acme", "")
        gpu = GpuFigures(labels[:3], unpriced_ms=self.unpriced * 1000)
        ms = self.seconds * 1000
        energy = self.seconds * 700_000
        one = OwnerFigures(labels, True, ms / 2, ms / 2, energy, nano // 2, nano // 2, 0)
        return Figures({"GPU-1": gpu}, (one,), ())

    def tick(self, seconds: int = 15) -> None:
        self.seconds += seconds
        self.clock.advance(seconds)
        self.serving.tick()

    def shown(self) -> dict[str, float]:
        """Value by family and its last label."""
        found = {}
        for name, labels, value in self.serving.samples("n1"):
            assert len(labels) == len(CATALOG[name].labels)
            assert labels[0] == "n1"
            extra = labels[6] if len(labels) > 6 else ""
            key = f"{name}{{{extra}}}"
            assert key not in found
            found[key] = value
        return found


def test_the_page_of_a_server_that_works(vllm: ModelServer) -> None:
    bench = Bench([Target(vllm.url, match=Match(pod="chat-*"))])
    for _ in range(5):
        bench.tick()
        vllm.prompt += 9_000
        vllm.output += 1_000
        vllm.requests += 3
    assert bench.shown() == {
        "gpu_serving_tokens_total{prompt}": 36_000,
        "gpu_serving_tokens_total{output}": 4_000,
        "gpu_serving_requests_total{}": 12,
        # 60 s at 3.60 USD an hour are 0.06 USD, for 40,000 tokens.
        "gpu_cost_per_million_tokens{allocation}": 1.5,
        "gpu_cost_per_million_tokens{usage}": 0.75,
        "gpu_energy_joules_per_token{}": 60 * 700 / 40_000,
        "gpu_requests_per_gpu_hour{}": 12 * 60,
    }
    labels = {labels[:6] for _, labels, _ in bench.serving.samples("n1")}
    assert labels == {("n1", "llama-3.3-70b", "vllm", "ml", "chat-0", "acme")}
    assert list(bench.serving.facts()) == ["Tokens of llama-3.3-70b are read (vllm)."]


def test_a_server_that_is_away_is_said_once_and_is_absent_until_it_is_back(
    vllm: ModelServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "costmeter.gpu")
    bench = Bench([Target(vllm.url, model="chat")])
    for _ in range(4):
        bench.tick()
        vllm.output += 10
    vllm.status = 503
    for _ in range(6):
        bench.tick()
    # Its counters stand still, its ratios are gone.
    assert bench.shown() == {
        "gpu_serving_tokens_total{prompt}": 0,
        "gpu_serving_tokens_total{output}": 30,
        "gpu_serving_requests_total{}": 0,
    }
    # It was restarted: its counters begin at 0.
    vllm.status, vllm.output = 200, 5
    bench.tick()
    shown = bench.shown()
    assert shown["gpu_serving_tokens_total{output}"] == 35
    assert shown["gpu_cost_per_million_tokens{allocation}"] == pytest.approx(0.15 / 35 * 10**6)
    (said, again) = caplog.messages
    assert (
        said == f"tokens of {vllm.url} are not known: it answers with status 503. It is tried again"
    )
    assert again == f"tokens of {vllm.url} are read again"


def test_one_bad_server_does_not_take_the_other_down(vllm: ModelServer) -> None:
    away = Target("http://127.0.0.1:1/metrics", match=Match(container="other"))
    bench = Bench([away, Target(vllm.url, match=Match(uuids=frozenset({"GPU-1"})))])
    for _ in range(4):
        bench.tick()
        vllm.output += 10
    assert bench.shown()["gpu_serving_tokens_total{output}"] == 30


def test_pods_come_and_go(vllm: ModelServer) -> None:
    bench = Bench([])
    bench.tick()
    assert bench.shown() == {}
    bench.found = [Target(vllm.url, match=Match("ml", "chat-0"))]
    bench.tick()
    vllm.prompt = 7
    bench.tick()
    assert bench.shown()["gpu_serving_tokens_total{prompt}"] == 7
    bench.found = []
    bench.tick(3_700)
    assert bench.shown() == {}


def test_a_pod_that_is_no_model_server_is_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "costmeter.gpu")
    with model_server() as trainer:
        trainer.text = "train_loss 0.1\n"
        named = Target(trainer.url, "tgi", match=Match(pod="chat-0"))
        bench = Bench([named], found=[Target(trainer.url.replace("127.0.0.1", "localhost"))])
        for _ in range(3):
            bench.tick()
    levels = {("localhost" in record.getMessage(), record.levelname) for record in caplog.records}
    assert levels == {(True, "INFO"), (False, "WARNING")}
    assert len(caplog.records) == 2


def test_a_server_that_keeps_us_waiting_is_asked_less_and_less_often(vllm: ModelServer) -> None:
    hung = "http://127.0.0.1:1/hung"
    bench = Bench([Target(hung, match=Match(pod="x")), Target(vllm.url, match=Match(pod="c*"))])
    bench.slow.add(hung)
    for _ in range(40):
        bench.tick()
        vllm.output += 1
    assert bench.asked.count(vllm.url) == 40
    assert bench.asked.count(hung) == 8
    # It answers again within two minutes.
    bench.slow.clear()
    bench.asked.clear()
    for _ in range(8):
        bench.tick()
    assert hung in bench.asked


def test_a_price_that_is_lost_takes_the_cost_away_and_leaves_the_rest(vllm: ModelServer) -> None:
    bench = Bench([Target(vllm.url)])
    costs = ("gpu_cost_per_million_tokens{allocation}", "gpu_cost_per_million_tokens{usage}")
    for _ in range(4):
        bench.tick()
        vllm.output += 100
        vllm.requests += 1
    assert set(costs) < set(bench.shown())
    bench.unpriced += 15
    bench.tick()
    shown = bench.shown()
    assert not set(costs) & set(shown)
    assert {"gpu_energy_joules_per_token{}", "gpu_requests_per_gpu_hour{}"} < set(shown)


def test_a_page_that_is_cut_off_adds_no_token(vllm: ModelServer) -> None:
    bench = Bench([Target(vllm.url)])
    vllm.prompt, vllm.output = 424_216, 500
    bench.tick()
    whole = vllm.page()
    for end in range(0, len(whole), 7):
        vllm.cut = end
        bench.tick()
    vllm.cut = None
    bench.tick()
    shown = bench.shown()
    assert shown["gpu_serving_tokens_total{prompt}"] == 0
    assert shown["gpu_serving_tokens_total{output}"] == 0


def test_replicas_under_the_same_labels_are_one_series(vllm: ModelServer) -> None:
    """Of a machine without pods, on which both work for the same tenant."""
    with model_server() as other:
        bench = Bench(
            [
                Target(vllm.url, match=Match(container="v*")),
                Target(other.url, match=Match(uuids=frozenset({"GPU-1"}))),
            ]
        )
        for _ in range(5):
            bench.tick()
            vllm.output += 1_000
            other.output += 3_000
    shown = bench.shown()
    assert shown["gpu_serving_tokens_total{output}"] == 16_000
    # Twice 60 s at 3.60 USD an hour for 16,000 tokens.
    assert shown["gpu_cost_per_million_tokens{allocation}"] == 7.5
    assert shown["gpu_cost_per_million_tokens{usage}"] == 3.75
