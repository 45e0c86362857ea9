"""What holds for every GPU: on the stand-in driver everywhere, on a real one where there is one."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from costmeter.gpu.readings import Activity
from fakes.nvml.build import H100 as CARD
from fakes.nvml.build import CannotBuild, Machine, build_library
from fakes.nvml.build import cut as cut_card
from fakes.nvml.lab import Child

DRIVER = "libnvidia-ml.so.1"
_CLASSES = ("gpu_ms", "gpu_idle_ms", "gpu_unallocated_ms", "gpu_unobserved_ms")
_PERCENT = (
    "sm_utilization_percent", "sm_occupancy_percent", "tensor_utilization_percent",
    "dram_utilization_percent", "encoder_utilization_percent", "decoder_utilization_percent",
)  # fmt: skip


def real_driver() -> Path:
    """An empty folder's stead: the system's own library is loaded."""
    try:
        nvml = ctypes.CDLL(DRIVER)
    except OSError:
        pytest.skip("no NVIDIA driver is installed here")
    if nvml.nvmlInit_v2() != 0:
        pytest.skip("the NVIDIA driver does not start here")
    count = ctypes.c_uint()
    nvml.nvmlDeviceGetCount_v2(ctypes.byref(count))
    nvml.nvmlShutdown()
    if not count.value:
        pytest.skip("the NVIDIA driver lists no GPU here")
    return Path()


@pytest.fixture(
    params=["stand-in", "stand-in-mig", pytest.param("real", marks=pytest.mark.gpu)],
)
def child(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Child]:
    if request.param == "real":
        library = real_driver()
    else:
        try:
            library = build_library(tmp_path / "lib").parent
        except CannotBuild as missing:
            pytest.skip(f"the stand-in for the NVIDIA driver cannot be built: {missing}")
    machine = Machine(tmp_path / "scenario")
    if request.param == "stand-in-mig":
        machine.gpus = [cut_card(CARD, index, 7) for index in range(2)]
    machine.write()
    made = Child(library, machine.path, 20)
    yield made
    assert made.end() == 0


def within(value: float | None, low: float, high: float) -> bool:
    return value is None or low <= value <= high


def check_reading(reading: dict[str, Any]) -> None:
    """Units and bounds; an answer that a card does not give is absent."""
    assert reading["uuid"].startswith("GPU-")
    assert reading["model"]
    assert within(reading["utilization_percent"], 0, 100)
    assert within(reading["memory_utilization_percent"], 0, 100)
    used, total = reading["memory_used_bytes"], reading["memory_total_bytes"]
    assert total is None or 1 << 30 <= total <= 1 << 40
    assert used is None or total is None or 0 <= used <= total
    assert within(reading["power_watts"], 0, 3_000)
    assert within(reading["temperature_celsius"], -20, 130)
    activity = reading["activity"]
    for name in _PERCENT:
        assert within(activity[Activity._fields.index(name)], 0, 100), name
    if reading["mig"] is not None:
        slices, instances = reading["mig"]
        assert sum(one[4] for one in instances) <= slices
        assert len({one[0] for one in instances}) == len(instances)


def test_figures_are_in_their_bounds_and_counters_only_rise(child: Child) -> None:
    passes = []
    for _ in range(4):
        passes.append(child.tick(1)["readings"])
        time.sleep(0.1)
    assert passes[0], child.log()
    for readings in passes:
        assert readings.keys() == passes[0].keys()
        for reading in readings.values():
            check_reading(reading)
    for before, after in pairwise(passes):
        for uuid, now in after.items():
            for name in ("energy_mj", "busy_ms", "idle_ms"):
                then = before[uuid][name]
                assert then is None or (now[name] is not None and now[name] >= then), name


def test_every_second_is_busy_or_idle_and_metered_once(child: Child) -> None:
    first = child.tick(1)["readings"]
    assert first, child.log()
    for _ in range(9):
        last = child.tick(1)["readings"]
    for uuid, reading in last.items():
        if reading["busy_ms"] is not None:
            gone = sum(reading[part] - (first[uuid][part] or 0) for part in ("busy_ms", "idle_ms"))
            assert gone == 9_000
    metered = dict.fromkeys(last, 0)
    for usage in child.ask("usages"):
        uuid = next(uuid for uuid in last if uuid in usage["event_id"])
        metered[uuid] += sum(usage["quantities"].get(name, 0) for name in _CLASSES)
    assert set(metered.values()) == {9_000}


def test_the_page_is_well_formed_and_shows_every_gpu(child: Child) -> None:
    child.tick(1)
    readings = child.tick(1)["readings"]
    families = {one.name: one for one in text_string_to_metric_families(child.ask("metrics"))}
    shown = {sample.labels["uuid"] for sample in families["gpu_memory_used_bytes"].samples}
    assert shown == {uuid for uuid, one in readings.items() if one["memory_used_bytes"] is not None}
    for family in families.values():
        series = [(one.name, tuple(sorted(one.labels.items()))) for one in family.samples]
        assert len(series) == len(set(series)), family.name
