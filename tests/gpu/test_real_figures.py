"""Figures that real cards reported, through the driver's interface onto the page."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from fakes.nvml.lab import PROJECT, Lab

FOLDER = (
    Path(os.environ.get("COSTMETER_DATA", PROJECT / "../shared/data")) / "prom/nvidia_gpu_exporter"
)

#: Our family, theirs, and how many of ours one of theirs is.
PAIRS = [
    ("gpu_utilization_percent", "nvidia_smi_utilization_gpu_ratio", 100),
    ("gpu_memory_utilization_percent", "nvidia_smi_utilization_memory_ratio", 100),
    ("gpu_memory_used_bytes", "nvidia_smi_memory_used_bytes", 1),
    ("gpu_memory_total_bytes", "nvidia_smi_memory_total_bytes", 1),
    ("gpu_power_watts", "nvidia_smi_power_draw_watts", 1),
    ("gpu_temperature_celsius", "nvidia_smi_temperature_gpu", 1),
]
MADE_UP = """\
nvidia_smi_gpu_info{driver_version="580.1",index="0",name="NVIDIA H100 80GB HBM3",uuid="0"} 1
nvidia_smi_utilization_gpu_ratio{uuid="0"} 0.97
nvidia_smi_utilization_memory_ratio{uuid="0"} 0
nvidia_smi_memory_used_bytes{uuid="0"} 7.1234567e+10
nvidia_smi_memory_total_bytes{uuid="0"} 8.5520809984e+10
nvidia_smi_memory_reserved_bytes{uuid="0"} 5.37e+08
nvidia_smi_power_draw_watts{uuid="0"} 689.41
nvidia_smi_temperature_gpu{uuid="0"} 58
"""


def figures(page: str) -> dict[str, float]:
    samples = (line.rsplit(" ", 1) for line in page.splitlines() if not line.startswith("#"))
    return {series.split("{")[0]: float(value) for series, value in samples}


def compare(lab: Lab, page: str) -> None:
    theirs = figures(page)
    name = re.search(r'nvidia_smi_gpu_info\{.*?\bname="([^"]*)"', page)
    assert name is not None
    lab.machine.gpus = [
        {
            "name": name[1],
            "utilization": round(100 * theirs["nvidia_smi_utilization_gpu_ratio"]),
            "memory_utilization": round(100 * theirs["nvidia_smi_utilization_memory_ratio"]),
            "memory_used": int(theirs["nvidia_smi_memory_used_bytes"]),
            "memory_total": int(theirs["nvidia_smi_memory_total_bytes"]),
            "memory_reserved": int(theirs["nvidia_smi_memory_reserved_bytes"]),
            "power_mw": round(1000 * theirs["nvidia_smi_power_draw_watts"]),
            "temperature": int(theirs["nvidia_smi_temperature_gpu"]),
        }
    ]
    lab.machine.write()
    child = lab.child()
    child.tick()
    child.tick()
    text = child.ask("metrics")
    ours = figures(text)
    assert f'gpu_model="{name[1]}"' in text
    assert {mine: ours[mine] for mine, _, _ in PAIRS} == pytest.approx(
        {mine: factor * theirs[other] for mine, other, factor in PAIRS}
    )
    busy = theirs["nvidia_smi_utilization_gpu_ratio"]
    assert ours["gpu_busy_seconds_total"] == pytest.approx(busy)
    assert ours["gpu_idle_seconds_total"] == pytest.approx(1 - busy)
    assert ours["gpu_energy_joules_total"] == pytest.approx(theirs["nvidia_smi_power_draw_watts"])


def test_a_made_up_card(lab: Lab) -> None:
    compare(lab, MADE_UP)


@pytest.mark.real_data
def test_real_cards(lab: Lab) -> None:
    pages = sorted(FOLDER.glob("*.metrics"))
    if not pages:
        pytest.skip(f"no real scrapes in {FOLDER}: set COSTMETER_DATA")
    for page in pages:
        compare(lab, page.read_text())
