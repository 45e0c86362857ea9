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
            lines += [f"gpu{index}.{key} {v}" for key, v in {"uuid": uuid_of(index), **gpu}.items()]
        draft = self.path.with_suffix(".new")
        draft.write_text("\n".join(lines) + "\n")
        draft.replace(self.path)
