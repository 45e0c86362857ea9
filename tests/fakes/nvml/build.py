"""Compiles the stand-in driver library, and writes the scenarios that drive it."""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

SOURCE = Path(__file__).with_name("fake_nvml.c")
NAME = "libnvidia-ml.so.1"


class CannotBuild(Exception):
    """What is missing on this machine; a reason to skip."""


def _include_folder() -> Path:
    try:
        files = importlib.metadata.files("nvidia-nvml-dev") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == "nvml.h":
            return Path(str(file.locate())).parent
    raise CannotBuild("nvml.h is missing: install the package nvidia-nvml-dev (the dev extra)")


def build_library(folder: Path, *, old: bool = False) -> Path:
    """Compile into `folder`; `old` is a driver without the newer functions."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise CannotBuild("a C compiler is missing: install gcc")
    folder.mkdir(parents=True, exist_ok=True)
    library = folder / NAME
    command = [compiler, "-O1", "-Wall", "-Werror", "-fPIC", "-shared", "-fvisibility=hidden"]
    command += [f"-Wl,-soname,{NAME}", f"-I{_include_folder()}"]
    command += ["-DFAKE_NVML_OLD"] if old else []
    command += [str(SOURCE), "-o", str(library), "-lpthread"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return library


#: Figures of the kind that an L40S under load and a busy A100 report.
L40S = {
    "name": "NVIDIA L40S",
    "utilization": 40,
    "memory_utilization": 9,
    "memory_total": 48_305_799_168,
    "memory_used": 1_294_991_360,
    "memory_reserved": 638_582_784,
    "power_mw": 145_000,
    "energy_mj": 7_000_000,
    "temperature": 63,
    "mig": 0,
}
A100 = {
    "name": "NVIDIA A100-SXM4-80GB",
    "utilization": 100,
    "memory_utilization": 55,
    "memory_total": 85_899_345_920,
    "memory_used": 70_000_000_000,
    "memory_reserved": 500_000_000,
    "power_mw": 390_000,
    "energy_mj": 123_456_789,
    "temperature": 71,
    "mig": 0,
}

#: What every recent card answers beside its main figures.
COMMON: dict[str, object] = {
    "power_limit_mw": 400_000,
    "encoder": 0,
    "decoder": 3,
    "pstate": 0,
    "reasons": 4,
    "clock.1": 1_410,
    "clock.2": 1_593,
    "clock.3": 1_275,
    "threshold.0": 92,
    "threshold.1": 89,
    "threshold.3": 85,
    "ecc.0.0": 2,
    "ecc.1.0": 0,
    "ecc.0.1": 12,
    "ecc.1.1": 1,
    "pcie.0": 2_048,
    "pcie.1": 4_096,
    "pcie_replays": 7,
    "processes": "4101:30000000000:61,4102:2000000000:0",
}
#: With NVLink and memory whose rows can be remapped.
SERVER: dict[str, object] = {
    **COMMON,
    "threshold.2": 95,
    "rows": "3:1:0:0",
    "field.82": 66,
    "field.91": 3,
    "field.138": 1_000,
    "field.139": 2_000,
    "nvlink.0": 1,
    "nvlink.1": 1,
    "nvlink.2": 0,
}
FULL_A100 = {**A100, **SERVER, "field.38": 4, "field.45": 0, "field.52": 1, "field.59": 0}
H100 = {
    **A100,
    **SERVER,
    "name": "NVIDIA H100 80GB HBM3",
    "power_mw": 612_500,
    "power_limit_mw": 700_000,
    "field.161.0": 5,
    "field.161.1": 6,
    "field.162.0": 0,
    "field.162.1": 1,
    "gpm": 1,
    "gpm.2": 93.5,
    "gpm.3": 41.25,
    "gpm.5": 57.5,
    "gpm.10": 38.0,
    "gpm.11": 0,
    "gpm.12": 12.5,
    "gpm.13": 1.5,
    "gpm.20": 10,
    "gpm.21": 20,
}
L4 = {**L40S, **COMMON, "name": "NVIDIA L4", "rows": "0:0:0:0", "power_limit_mw": 72_000}
T4 = {
    **L40S,
    **COMMON,
    "name": "Tesla T4",
    "mig": None,
    "retired.0": 2,
    "retired.1": 1,
    "retirement_pending": 0,
    "power_limit_mw": 70_000,
}


def mig_uuid(gpu: int, instance: int) -> str:
    return f"MIG-{gpu:08d}-{instance:04d}-5000-8000-000000000000"


def cut(gpu: dict[str, object], index: int, count: int = 7) -> dict[str, object]:
    """The GPU in MIG mode with `count` instances of a compute slice each."""
    made: dict[str, object] = {**gpu, "mig": 1, "mig_most": 7, "processes": ""}
    for one in range(count):
        made |= {
            f"mig{one}.uuid": mig_uuid(index, one),
            f"mig{one}.gi": 7 + one,
            f"mig{one}.ci": 0,
            f"mig{one}.slices": 1,
            f"mig{one}.gi_slices": 1,
            f"mig{one}.memory_mib": 9_728,
            f"mig{one}.memory_used": (one + 1) << 30,
            f"mig{one}.profile": "1g.10gb",
            f"gi{7 + one}.gpm.1": 10 * one,
            f"gi{7 + one}.gpm.2": 9.5 * one,
            f"gi{7 + one}.gpm.5": 4.25 * one,
            f"gi{7 + one}.gpm.10": 3.0 * one,
        }
    made["processes"] = ",".join(f"{5000 + n}:{n + 1}000000:0:{7 + n}:0" for n in range(count))
    return made


def uuid_of(index: int) -> str:
    return f"GPU-{index:08d}-0000-4000-8000-000000000000"


@dataclass
class Machine:
    """A scenario: change the dictionaries, then `write`."""

    path: Path
    gpus: list[dict[str, object]] = field(default_factory=lambda: [dict(L40S), dict(A100)])
    driver: dict[str, object] = field(default_factory=lambda: {"init": 0, "driver": "595.80"})

    def write(self) -> None:
        lines = [f"{key} {value}" for key, value in self.driver.items()]
        lines.append(f"count {len(self.gpus)}")
        for index, gpu in enumerate(self.gpus):
            lines += [
                f"gpu{index}.{key} {v}"
                for key, v in {"uuid": uuid_of(index), **gpu}.items()
                if v is not None
            ]
        draft = self.path.with_suffix(".new")
        draft.write_text("\n".join(lines) + "\n")
        draft.replace(self.path)
