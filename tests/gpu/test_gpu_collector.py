"""The families of a GPU on the page: the catalog's names, absent where unknown."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from decimal import Decimal
from typing import NamedTuple

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from costmeter.gpu.claims import Claim
from costmeter.gpu.costs import Costs, Energy
from costmeter.gpu.figures import Figures, OwnerFigures
from costmeter.gpu.meter import GpuMeter
from costmeter.gpu.readings import (
    Activity,
    Extremes,
    GpuProcess,
    GpuReading,
    GpuState,
    Health,
    MigInstance,
    MigLayout,
    Round,
    UtilizationSamples,
    XidCount,
)
from costmeter.gpu.serving.reader import Serving, Target
from costmeter.metrics.catalog import FAMILIES, OWNER_LABELS
from costmeter.metrics.gpu import GpuCollector
from costmeter.segment import Owner, Placement
from fakes.clock import FakeClock

VLLM = (
    "vllm:prompt_tokens_total",
    "vllm:generation_tokens_total",
    "vllm:request_success_total",
)
FULL = GpuReading(
    index=0,
    uuid="GPU-a",
    model="NVIDIA L40S",
    taken_at_ms=1,
    monotonic_ms=1,
    continuous=True,
    utilization_percent=0,
    memory_utilization_percent=9,
    memory_used_bytes=1_294_991_360,
    memory_total_bytes=48_305_799_168,
    power_watts=144.97,
    temperature_celsius=63,
    busy_ms=1_500,
    idle_ms=0,
    energy_mj=290_001,
)
#: All that any card could tell at once.
EVERYTHING = replace(
    FULL,
    activity=Activity(**{**dict.fromkeys(Activity._fields, 1), "throttle_reasons": frozenset()}),
    health=Health(**{**dict.fromkeys(Health._fields, 1), "nvlink_errors": (("replay", 3),)}),
    samples=UtilizationSamples((1, 1, 2, 3, 3, 3, 4), 160),
    extremes=Extremes(0, 100, 40.0),
    throttled_ms=(("sw_power_cap", 1_500),),
    processes=(GpuProcess(1),),
    mig=MigLayout(7, (MigInstance("MIG-1", 7, 0, "1g.10gb", 1, 5, 10, 50, 1.5, 2.5, 3.5),)),
)
XIDS = (XidCount(0, "GPU-a", "NVIDIA L40S", 0, 2), XidCount(0, "GPU-a", "NVIDIA L40S", 79, 2))
EMPTY = GpuReading(1, "GPU-b", "NVIDIA L40S", 1, 1, continuous=True)
HELD = ("gpu_utilization_percent", "gpu_memory_used_bytes", "gpu_power_watts")
NAMES = [family.name for family in FAMILIES if family.source == "gpu"]


class OnePrice(NamedTuple):
    nano_per_gpu_hour: int = 3_600_000_000
    nano_per_kwh: int | None = None

    def of(self, placement: Placement, gpu_model: str, at_ms: int) -> OnePrice:
        return self


class Held(NamedTuple):
    claims: tuple[Claim, ...] | None

    def of(self, reading: GpuReading) -> tuple[Claim, ...] | None:
        return self.claims


def metered(*claims: Claim, first: GpuReading = FULL, seconds: int = 10) -> Figures:
    """What a meter counts of a GPU that is half busy, and silent for twenty seconds."""
    energy = Energy(100_000_000, Decimal("1.5"), Decimal(400))
    meter = GpuMeter(
        FakeClock(), Placement(), claims=Held(claims), costs=Costs(OnePrice(), energy), run_id="r"
    )
    for second in [0, *range(20, 21 + seconds)]:
        at = 1_000 * second
        meter.observe(
            Round(
                (
                    replace(
                        first,
                        taken_at_ms=at,
                        monotonic_ms=at,
                        continuous=second > 20,
                        busy_ms=at // 2,
                        energy_mj=at * 300,
                    ),
                )
            )
        )
    return meter.figures()


def registry_of(
    state: GpuState | None, figures: Figures | None = None, serving: Serving | None = None
) -> CollectorRegistry:
    registry = CollectorRegistry()
    show = None if figures is None else lambda: figures
    tokens = None if serving is None else serving.samples
    registry.register(GpuCollector(lambda: state, "n1", show, tokens))
    return registry


def page(
    state: GpuState | None, figures: Figures | None = None, serving: Serving | None = None
) -> str:
    return generate_latest(registry_of(state, figures, serving)).decode()


def everything() -> tuple[GpuState, Figures, Serving]:
    state = GpuState((EVERYTHING,), age_seconds=0.5, lost={"GPU-a": 0}, xids=XIDS)
    figures = metered(Claim(Owner("acme", pod="p"), "MIG-1"), first=EVERYTHING)
    return state, figures, served()


def served() -> Serving:
    """A model server that has answered for a minute."""
    clock = FakeClock()

    def figures() -> Figures:
        seconds = clock.monotonic_ms() // 1000
        labels = ("0", "GPU-a", "NVIDIA L40S", "", "ml", "p", "main", "acme", "")
        return Figures({}, (OwnerFigures(labels, True, 1000 * seconds, 0, seconds, seconds, 0),))

    def get(url: str, wanted: tuple[str, ...]) -> str:
        return "".join(f'{name}{{model_name="m"}} {clock.monotonic_ms()}\n' for name in VLLM)

    serving = Serving([Target("http://p:8000/metrics")], figures, clock, get=get)
    for _ in range(3):
        serving.tick()
        clock.advance(30)
    return serving


def family_of(sample: str) -> str:
    """A histogram's samples have names of their own."""
    stem, _, ending = sample.rpartition("_")
    return stem if ending in ("bucket", "count", "sum") and stem in NAMES else sample


def test_every_family_of_the_catalog_with_its_labels_and_type() -> None:
    text = page(*everything())
    for family in FAMILIES:
        if family.source == "gpu":
            assert f"# TYPE {family.name} {family.kind}\n" in text
            assert f"# HELP {family.name} {family.help}\n" in text
    # Only those: no _created series, nothing unknown to the catalog.
    samples = [line.split("{")[0] for line in text.splitlines() if not line.startswith("#")]
    assert {family_of(sample) for sample in samples} == set(NAMES)
    families = {f.name: f for f in text_string_to_metric_families(text)}
    for family in FAMILIES:
        if family.source == "gpu":
            for sample in families[family.name.removesuffix("_total")].samples:
                assert set(sample.labels) - {"le"} == set(family.labels)


def test_what_owners_had_and_cost() -> None:
    owner = Owner("acme", "prod", "search", namespace="ml", pod="w-0", container="main")
    registry = registry_of(GpuState((FULL,)), metered(Claim(owner)))
    whole = {"node": "n1", "gpu": "0", "uuid": "GPU-a", "gpu_model": "NVIDIA L40S"}
    labels = {
        **whole, "mig_profile": "", "namespace": "ml", "pod": "w-0", "container": "main",
        "tenant_id": "acme", "team": "search",
    }  # fmt: skip
    assert tuple(labels) == OWNER_LABELS
    expected = {
        "gpu_owner_used_seconds_total": 5,
        "gpu_owner_idle_seconds_total": 5,
        "gpu_owner_energy_joules_total": 3_000,
        "gpu_cost_usd_total": 0.01,
        "gpu_used_cost_usd_total": 0.005,
        "gpu_idle_cost_usd_total": 0.005,
        "gpu_unallocated_cost_usd_total": None,
        # 3 kJ are 1/1200 kWh; at 0.10 USD and 400 g, and half as much again for the building.
        "gpu_energy_cost_usd_total": 0.000125,
        "gpu_co2_grams_total": 0.5,
    }
    assert {name: registry.get_sample_value(name, labels) for name in expected} == expected
    of_the_gpu = {
        "gpu_allocated_ratio": 1,
        "gpu_unallocated_seconds_total": 0,
        "gpu_unobserved_seconds_total": 20,
        "gpu_unpriced_seconds_total": 0,
        "gpu_unobserved_cost_usd_total": 0.02,
        "gpu_accrued_cost_usd_total": 0.03,
        "gpu_price_usd_per_hour": 3.6,
    }
    assert {name: registry.get_sample_value(name, whole) for name in of_the_gpu} == of_the_gpu


def test_what_nobody_holds_has_empty_labels() -> None:
    registry = registry_of(GpuState((FULL,)), metered())
    labels = {
        **dict.fromkeys(OWNER_LABELS, ""),
        "node": "n1", "gpu": "0", "uuid": "GPU-a", "gpu_model": "NVIDIA L40S",
    }  # fmt: skip
    value = registry.get_sample_value
    assert value("gpu_unallocated_cost_usd_total", labels) == 0.01
    assert value("gpu_cost_usd_total", labels) == 0.01
    assert value("gpu_idle_cost_usd_total", labels) is None
    assert value("gpu_owner_used_seconds_total", labels) is None


def test_the_one_who_holds_the_whole_gpu_is_named_beside_its_gauges() -> None:
    whole = {"node": "n1", "gpu": "0", "uuid": "GPU-a", "gpu_model": "NVIDIA L40S"}
    one, two = Owner("acme", namespace="ml", pod="w-0"), Owner("beta", pod="x")
    for claims, holder in (
        ((Claim(one),), ("ml", "w-0", "acme")),
        ((Claim(one), Claim(two)), ("", "", "")),
        ((), ("", "", "")),
    ):
        registry = registry_of(GpuState((FULL,)), metered(*claims))
        labels = {**whole, **dict(zip(("namespace", "pod", "tenant_id"), holder, strict=True))}
        assert registry.get_sample_value("gpu_utilization_percent", labels) == 0
        # A counter that changed its labels with the owner could not be increased.
        assert registry.get_sample_value("gpu_busy_seconds_total", whole) == 1.5


def test_values_and_labels() -> None:
    registry = registry_of(GpuState((FULL,), age_seconds=0.5, lost={"GPU-a": 2}))
    labels = {"node": "n1", "gpu": "0", "uuid": "GPU-a", "gpu_model": "NVIDIA L40S"}
    expected = {
        "gpu_utilization_percent": 0,
        "gpu_memory_utilization_percent": 9,
        "gpu_memory_used_bytes": 1_294_991_360,
        "gpu_memory_total_bytes": 48_305_799_168,
        "gpu_power_watts": 144.97,
        "gpu_temperature_celsius": 63,
        "gpu_busy_seconds_total": 1.5,
        "gpu_idle_seconds_total": 0,
        "gpu_energy_joules_total": 290.001,
    }
    held = dict.fromkeys(("namespace", "pod", "tenant_id"), "")
    found = {
        name: registry.get_sample_value(name, labels | held if name in HELD else labels)
        for name in expected
    }
    assert found == expected
    node = {"node": "n1"}
    assert registry.get_sample_value("gpu_lost_total", {**node, "uuid": "GPU-a"}) == 2
    assert registry.get_sample_value("gpu_sample_age_seconds", node) == 0.5


def test_what_a_gpu_does_not_tell_is_absent_and_not_zero() -> None:
    text = page(GpuState((FULL, EMPTY)))
    assert "GPU-b" not in text
    assert 'gpu_instance_count{gpu_model="NVIDIA L40S",node="n1"} 2.0\n' in text


def test_gpus_are_counted_by_model() -> None:
    other = GpuReading(2, "GPU-c", "NVIDIA A100-SXM4-80GB", 1, 1, continuous=True)
    registry = registry_of(GpuState((FULL, EMPTY, other)))
    count = registry.get_sample_value
    assert count("gpu_instance_count", {"node": "n1", "gpu_model": "NVIDIA L40S"}) == 2
    assert count("gpu_instance_count", {"node": "n1", "gpu_model": "NVIDIA A100-SXM4-80GB"}) == 1


def test_without_a_gpu_the_page_has_no_family_at_all() -> None:
    assert page(None) == ""
    assert page(GpuState(problem="no driver")) == ""


def test_a_silent_machine_still_shows_how_old_its_sample_is() -> None:
    state = GpuState((FULL,), 1, 1_000, lost={"GPU-a": 1})
    text = page(state.seen_at(61_000, 10_000))
    assert 'gpu_sample_age_seconds{node="n1"} 60.0\n' in text
    assert 'gpu_lost_total{node="n1",uuid="GPU-a"} 1.0\n' in text
    assert "gpu_utilization_percent" not in text
    assert "gpu_busy_seconds_total" not in text


def test_registering_asks_no_gpu() -> None:
    def explode() -> GpuState:
        raise AssertionError("asked")

    CollectorRegistry().register(GpuCollector(explode, node="n1"))


def test_openmetrics_has_the_same_samples() -> None:
    text = openmetrics.generate_latest(registry_of(*everything())).decode()
    samples = [line.split("{")[0] for line in text.splitlines() if not line.startswith("#")]
    assert {family_of(sample) for sample in samples} == set(NAMES)


def test_promtool_finds_nothing_but_the_name_of_the_count() -> None:
    """`gpu_instance_count` is a fixed public name; promtool dislikes its ending."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is missing: install Prometheus")
    text = page(*everything())
    done = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, text=True
    )
    complaints = (done.stdout + done.stderr).splitlines()
    assert [line for line in complaints if not line.startswith("gpu_instance_count ")] == []
