"""The families of a GPU on the page: the catalog's names, absent where unknown."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from costmeter.gpu.readings import GpuReading, GpuState
from costmeter.metrics.catalog import FAMILIES
from costmeter.metrics.gpu import GpuCollector

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
EMPTY = GpuReading(1, "GPU-b", "NVIDIA L40S", 1, 1, continuous=True)
NAMES = [family.name for family in FAMILIES if family.source == "gpu"]


def registry_of(state: GpuState | None) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(GpuCollector(lambda: state, node="n1"))
    return registry


def page(state: GpuState | None) -> str:
    return generate_latest(registry_of(state)).decode()


def test_every_family_of_the_catalog_with_its_labels_and_type() -> None:
    state = GpuState((FULL,), age_seconds=0.5, lost={"GPU-a": 0})
    text = page(state)
    for family in FAMILIES:
        if family.source == "gpu":
            assert f"# TYPE {family.name} {family.kind}\n" in text
            assert f"# HELP {family.name} {family.help}\n" in text
    # Only those: no _created series, nothing unknown to the catalog.
    samples = [line.split("{")[0] for line in text.splitlines() if not line.startswith("#")]
    assert sorted(samples) == sorted(NAMES)
    families = {f.name: f for f in text_string_to_metric_families(text)}
    for family in FAMILIES:
        if family.source == "gpu":
            (sample,) = families[family.name.removesuffix("_total")].samples
            assert set(sample.labels) == set(family.labels)


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
    assert {name: registry.get_sample_value(name, labels) for name in expected} == expected
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
    state = GpuState((FULL,), age_seconds=0.5, lost={"GPU-a": 0})
    text = openmetrics.generate_latest(registry_of(state)).decode()
    samples = [line.split("{")[0] for line in text.splitlines() if not line.startswith("#")]
    assert sorted(samples) == sorted(NAMES)


def test_promtool_finds_nothing_but_the_name_of_the_count() -> None:
    """`gpu_instance_count` is a fixed public name; promtool dislikes its ending."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is missing: install Prometheus")
    text = page(GpuState((FULL,), age_seconds=0.5, lost={"GPU-a": 0}))
    done = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, text=True
    )
    complaints = (done.stdout + done.stderr).splitlines()
    assert [line for line in complaints if not line.startswith("gpu_instance_count ")] == []
