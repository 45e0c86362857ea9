"""A /proc tree and readings, as tests of owners need them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from costmeter.gpu.readings import GpuProcess, GpuReading, MigInstance, MigLayout


def uuid(number: int, kind: str = "GPU") -> str:
    return f"{kind}-{number:08d}-0b3e-4c5d-9e7f-a1b2c3d4e5f6"


def write_process(
    proc: Path, pid: int, cgroup: str, *, start: int = 1000, name: str = "python3",
    environment: bytes | None = None,
) -> None:  # fmt: skip
    folder = proc / str(pid)
    folder.mkdir(parents=True, exist_ok=True)
    before = " ".join(["S", *("0" for _ in range(18))])
    (folder / "stat").write_text(f"{pid} ({name}) {before} {start} 0 0\n")
    (folder / "cgroup").write_text(cgroup + "\n")
    if environment is not None:
        (folder / "environ").write_bytes(environment)


def reading(
    number: int = 0, *pids: int, migs: int = 0, processes: tuple[GpuProcess, ...] | None = ()
) -> GpuReading:
    """GPU `number`; with `migs` instances of a seventh, whose uuids are number * 10 + 1..."""
    layout = MigLayout(
        7,
        tuple(
            MigInstance(uuid(number * 10 + n, "MIG"), n, 0, "1g.10gb", 1)
            for n in range(1, migs + 1)
        ),
    )
    if pids:
        processes = tuple(GpuProcess(pid) for pid in pids)
    mig = layout if migs else None
    return GpuReading(number, uuid(number), "H100", 0, 0, True, mig=mig, processes=processes)


def until(true: Callable[[], object], seconds: float = 8) -> None:
    """Wait for what other threads bring about."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.005)
