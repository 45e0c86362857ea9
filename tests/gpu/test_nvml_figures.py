"""What the real pynvml reads from a driver, and what it has no answer for."""

from __future__ import annotations

import re

from fakes.nvml.build import uuid_of
from fakes.nvml.lab import Lab

FIRST, SECOND = uuid_of(0), uuid_of(1)


def test_every_figure_of_a_healthy_gpu(lab: Lab) -> None:
    child = lab.child()
    reading = child.tick()["readings"][FIRST]
    assert reading["index"] == 0
    assert reading["model"] == "NVIDIA L40S"
    assert reading["utilization_percent"] == 40
    assert reading["memory_utilization_percent"] == 9
    assert reading["memory_used_bytes"] == 1_294_991_360
    assert reading["memory_total_bytes"] == 48_305_799_168
    assert reading["power_watts"] == 145.0
    assert reading["temperature_celsius"] == 63
    assert (reading["busy_ms"], reading["idle_ms"], reading["energy_mj"]) == (0, 0, 0)


def test_busy_idle_and_energy_are_integrated(lab: Lab) -> None:
    child = lab.child()
    child.tick()
    lab.change(0, utilization=75, energy_mj=7_000_000 + 290_000)
    reading = child.tick(2)["readings"][FIRST]
    assert (reading["busy_ms"], reading["idle_ms"]) == (1500, 500)
    assert reading["energy_mj"] == 290_000


def test_pynvml_is_imported_only_when_the_library_is_there(bare_lab: Lab) -> None:
    child = bare_lab.child()
    child.tick()
    assert child.ask("imported") == [False, False]
    bare_lab.install()
    child.tick(60)
    assert child.ask("imported") == [False, True]


def test_what_a_gpu_does_not_support_is_absent(lab: Lab) -> None:
    lab.change(0, utilization="!3", power_mw="!3", energy_mj=None, temperature="!3")
    child = lab.child()
    child.tick()
    readings = child.tick()["readings"]
    assert readings[FIRST]["utilization_percent"] is None
    assert readings[FIRST]["memory_utilization_percent"] is None
    assert readings[FIRST]["busy_ms"] is None
    assert readings[FIRST]["idle_ms"] is None
    assert readings[FIRST]["energy_mj"] is None
    assert readings[FIRST]["memory_used_bytes"] == 1_294_991_360
    assert readings[SECOND]["busy_ms"] == 1000
    page = child.ask("metrics")
    assert re.search(rf'gpu_memory_used_bytes{{gpu="0".*uuid="{FIRST}"}} 1.29', page)
    for family in ("gpu_utilization_percent", "gpu_busy_seconds_total", "gpu_power_watts"):
        assert [line for line in page.splitlines() if line.startswith(family)] == [
            line for line in page.splitlines() if line.startswith(family) and SECOND in line
        ]
        assert f"\n{family}{{" in page


def test_an_old_driver_lacks_functions_and_power_gives_the_energy(bare_lab: Lab) -> None:
    bare_lab.install("old")
    child = bare_lab.child()
    child.tick()
    reading = child.tick(2)["readings"][FIRST]
    assert reading["temperature_celsius"] == 63
    assert reading["energy_mj"] == 290_000
    # The first version of the question counts what the driver reserves as used.
    assert reading["memory_used_bytes"] == 1_294_991_360 + 638_582_784


def test_under_mig_utilisation_is_absent_whatever_the_driver_says(lab: Lab) -> None:
    lab.change(0, mig=1)
    lab.change(1, mig=1, mig_rates=1)
    readings = lab.child().tick()["readings"]
    reading = readings[FIRST]
    assert reading["utilization_percent"] is None
    assert readings[SECOND]["utilization_percent"] is None
    assert readings[SECOND]["busy_ms"] is None
    assert reading["power_watts"] == 145.0


def test_a_slow_call_is_still_a_sample(lab: Lab) -> None:
    lab.change(0, slow_ms=20)
    state = lab.child().tick()
    assert set(state["readings"]) == {FIRST, SECOND}
    assert state["age"] == 0


def test_the_thread_samples_by_itself_and_stops(lab: Lab) -> None:
    child = lab.child()
    assert child.ask("run_for", 0.4) == []
    assert set(child.ask("state")["readings"]) == {FIRST, SECOND}
