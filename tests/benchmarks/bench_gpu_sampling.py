"""What a pass over the GPUs costs, apart from the driver's own functions.

    PYTHONPATH=exporter:tests python tests/benchmarks/bench_gpu_sampling.py \\
        [--gpus 8] [--cut 7] [--seconds 30]

Builds the stand-in driver library, samples it once a second as the agent does, and prints
CPU time as a share of one core: all of it, the part inside NVML (the stand-in reads a file
for each answer, so a real driver's part is another), and the rest, which is ours.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from fakes.nvml.build import FULL_A100, H100, Machine, build_library, cut


def child(seconds: float) -> None:
    from costmeter.clock import SystemClock
    from costmeter.gpu.nvml_ask import Asker
    from costmeter.gpu.sampler import Sampler

    Asker.timer = staticmethod(time.thread_time)
    began = time.process_time()
    for _ in range(20_000):
        time.thread_time()
    timing = (time.process_time() - began) / 10_000  # of a call: twice

    sampler = Sampler(SystemClock())
    passes = 0

    def counted(_: object) -> None:
        nonlocal passes
        passes += 1

    sampler.subscribe(counted)
    sampler.start()
    time.sleep(2.5)
    session = sampler.session
    assert session is not None, sampler.state()
    cpu, wall, nvml, calls, before = (
        time.process_time(), time.monotonic(), session.nvml_seconds, session.nvml_calls, passes,
    )  # fmt: skip
    time.sleep(seconds)
    cpu, wall = time.process_time() - cpu, time.monotonic() - wall
    nvml, calls, passes = session.nvml_seconds - nvml, session.nvml_calls - calls, passes - before
    sampler.stop()
    cpu -= timing * calls
    nvml -= timing * calls / 2
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    found = {"cpu": cpu, "wall": wall, "nvml": nvml, "calls": calls, "passes": passes, "rss": rss}
    print(json.dumps(found))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--gpus", type=int, default=8)
    parser.add_argument("--cut", type=int, default=7, help="MIG instances of each; 0 for none")
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.seconds)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build_library(folder)
        machine = Machine(folder / "scenario")
        machine.gpus = [
            cut(H100, index, options.cut) if options.cut else dict(FULL_A100)
            for index in range(options.gpus)
        ]
        machine.write()
        done = subprocess.run(
            [sys.executable, __file__, "--child", "--seconds", str(options.seconds)],
            env={
                **os.environ,
                "LD_LIBRARY_PATH": name,
                "FAKE_NVML_SCENARIO": str(machine.path),
            },
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    got = json.loads(done.stdout)
    share = 100 / got["wall"]
    print(f"{options.gpus} GPUs x {options.cut} MIG instances, Python {platform.python_version()}")
    each = got["calls"] / got["passes"]
    print(f"passes {got['passes']} in {got['wall']:.1f} s, {each:.0f} calls each")
    print(f"CPU, all           {got['cpu'] * share:6.2f} % of a core")
    print(f"inside NVML calls  {got['nvml'] * share:6.2f} % (the stand-in's answers, and pynvml)")
    print(f"the rest           {(got['cpu'] - got['nvml']) * share:6.2f} %")
    print(f"peak RSS           {got['rss']:6.1f} MiB")


if __name__ == "__main__":
    main()
