"""What real vLLM servers did on their GPUs: metered, read over HTTP and set against each other."""

from __future__ import annotations

import json
import os
import random
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

from costmeter.gpu.claims import Claim
from costmeter.gpu.costs import Costs
from costmeter.gpu.meter import GpuMeter
from costmeter.gpu.readings import GpuReading, RawReading, Round
from costmeter.gpu.serving.economics import Match
from costmeter.gpu.serving.reader import Serving, Target
from costmeter.gpu.track import Track
from costmeter.model import MS_PER_HOUR
from costmeter.segment import Owner, Placement
from fakes.clock import FakeClock
from fakes.model_server import model_server
from fakes.nvml.lab import PROJECT

FOLDER = Path(os.environ.get("COSTMETER_DATA", PROJECT / "../shared/data"))
NANO_PER_HOUR = 3_673_000_007
OWNER = Owner("acme", namespace="ml", pod="chat-0", container="vllm")
OTHER = Owner("globex", namespace="ml", pod="train-0", container="main")


class Step(NamedTuple):
    """How busy the GPU was since the step before, and what the server had done by then."""

    at_ms: int
    percent: int
    prompt: int
    output: int


class Price(NamedTuple):
    nano_per_gpu_hour: int = NANO_PER_HOUR
    nano_per_kwh: int | None = None

    def of(self, placement: Placement, gpu_model: str, at_ms: int) -> Price:
        return self


def check(steps: list[Step]) -> None:
    """A server with a GPU of its own beside another's: both bases are exact to the rounding."""
    clock = FakeClock()
    owners = {"GPU-0": OWNER, "GPU-1": OTHER}

    class Held:
        def of(self, reading: GpuReading) -> tuple[Claim, ...]:
            return (Claim(owners[reading.uuid]),)

    meter = GpuMeter(clock, Placement(node="n"), claims=Held(), costs=Costs(Price()))
    tracks = [Track(uuid, 10_000) for uuid in owners]
    begun_ms = clock.monotonic_ms() - steps[0].at_ms

    def sample(percent: int) -> None:
        at = clock.now_ms(), clock.monotonic_ms()
        meter.observe(
            Round(
                tuple(
                    track.take(index, "L40S", RawReading(utilization_percent=use), *at)
                    for index, (track, use) in enumerate(zip(tracks, (percent, 99), strict=True))
                )
            )
        )

    busy = 0
    with model_server() as vllm:
        serving = Serving([Target(vllm.url, match=Match(pod="chat-*"))], meter.figures, clock)
        vllm.prompt, vllm.output = steps[0].prompt, steps[0].output
        sample(steps[0].percent)
        serving.tick()
        next_ms = steps[0].at_ms + 15_000
        for before, step in pairwise(steps):
            clock.advance((begun_ms + step.at_ms - clock.monotonic_ms()) / 1000)
            busy += (step.at_ms - before.at_ms) * step.percent
            vllm.prompt, vllm.output = step.prompt, step.output
            sample(step.percent)
            if step.at_ms >= next_ms or step is steps[-1]:
                next_ms = step.at_ms + 15_000
                serving.tick()
    found = {(name, labels[6:]): value for name, labels, value in serving.samples("n")}
    prompt, output = steps[-1].prompt - steps[0].prompt, steps[-1].output - steps[0].output
    assert found["gpu_serving_tokens_total", ("prompt",)] == prompt
    assert found["gpu_serving_tokens_total", ("output",)] == output
    held_ms = steps[-1].at_ms - steps[0].at_ms
    for basis, cost in (
        ("allocation", Fraction(NANO_PER_HOUR * held_ms, MS_PER_HOUR)),
        ("usage", Fraction(NANO_PER_HOUR * (busy // 100), MS_PER_HOUR)),
    ):
        exact = cost * 10**6 / (prompt + output)
        shown = round(found["gpu_cost_per_million_tokens", (basis,)] * 10**9)
        # The meter's counters are shown in whole nano-dollars: two of them at each end.
        assert abs(exact - shown) <= 1 + Fraction(4 * 10**6, prompt + output)
    used, held = (
        found["gpu_cost_per_million_tokens", (basis,)] for basis in ("usage", "allocation")
    )
    assert 0 < used < held
    # All that the machine's GPUs cost is the server's and the other owner's.
    figures = meter.figures()
    everything = sum(gpu.cost_nano or 0 for gpu in figures.gpus.values())
    assert everything == 2 * (NANO_PER_HOUR * held_ms // MS_PER_HOUR)


def of_logs(folder: Path, name: str) -> list[Step]:
    """Utilisation and throughput in tokens a second, each logged twice a second."""
    server = list(json.loads((folder / f"vllm_log_{name}.json").read_text()).values())
    steps: list[Step] = []
    prompt = output = 0.0
    at = 1
    for one in json.loads((folder / f"gpu_log_{name}.json").read_text()).values():
        while at < len(server) and server[at]["timestamp"] <= one["record_time"]:
            # The server logs nothing while it has nothing to do.
            seconds = min(1.0, server[at]["timestamp"] - server[at - 1]["timestamp"])
            prompt += server[at]["prompt_throughput"] * seconds
            output += server[at]["generation_throughput"] * seconds
            at += 1
        percent, at_ms = one["GPU_utilization"], round(1000 * one["record_time"])
        steps.append(Step(at_ms, percent, round(prompt), round(output)))
    return steps


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["scale100_prompt500", "scale500_prompt500"])
def test_real_servers(name: str) -> None:
    folder = FOLDER / "gpu" / "vllm_bench_logs"
    if not (folder / f"vllm_log_{name}.json").exists():
        pytest.skip(f"no real data: {folder} has no logs of {name} (COSTMETER_DATA)")
    check(of_logs(folder, name))


def test_a_made_up_server() -> None:
    rng = random.Random(7)
    at_ms = prompt = output = 0
    steps = []
    for _ in range(400):
        steps.append(Step(at_ms, rng.choice((0, 17, 53, 76)), prompt, output))
        at_ms += rng.randint(400, 600)
        prompt, output = prompt + rng.randrange(3_000), output + rng.randrange(900)
    check(steps)
