"""Asking the kubelet who holds what: time, CPU and memory, beside the official gRPC client.

Run: python tests/benchmarks/bench_podresources.py
The kubelet is a real gRPC server in a process of its own; its answer has 110 pods, 8 of them
with a GPU. The peer is grpcio with the messages of the protobuf runtime, as most agents use.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PATHS = [str(ROOT / "exporter"), str(ROOT / "tests")]
sys.path[:0] = PATHS

CALLS = 300
SERVER = """
import sys
from pathlib import Path
from fakes.kubelet import Container, Pod, kubelet
with kubelet(Path(sys.argv[1])) as one:
    one.set_pods(*(
        Pod(f"team-{n % 9}", f"web-{n}-7d9c5b6f4-x2v9q", (Container("main", {
            "nvidia.com/gpu": (f"GPU-{n:08d}-0b3e-4c5d-9e7f-a1b2c3d4e5f6",)} if n < 8 else {},
            cpus=4), Container("sidecar")))
        for n in range(110)))
    print("ready", flush=True)
    sys.stdin.read()
"""
MEMORY = """
def rss():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4 / 1024
import json, logging, threading, socket, pathlib, dataclasses, random
before = rss()
{imports}
print(f"{{rss() - before:.1f}}")
"""
OURS = "import costmeter.gpu.owners.kubernetes"
GRPC = "import grpc; from google.protobuf import descriptor_pb2, descriptor_pool, message_factory"


def measure(name: str, call: Callable[[], object]) -> None:
    for _ in range(20):
        call()
    taken = []
    began = resource.getrusage(resource.RUSAGE_SELF)
    for _ in range(CALLS):
        at = time.perf_counter()
        call()
        taken.append(1000 * (time.perf_counter() - at))
    ended = resource.getrusage(resource.RUSAGE_SELF)
    cpu = 1000 * (ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime) / CALLS
    taken.sort()
    median, late = taken[CALLS // 2], taken[CALLS * 99 // 100]
    print(f"{name:10} median {median:5.2f} ms, p99 {late:5.2f} ms, CPU {cpu:5.2f} ms a call")


def memory(imports: str) -> str:
    code = MEMORY.format(imports=imports)
    ran = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": ":".join(PATHS)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return ran.stdout.strip()


def main() -> None:
    print(f"$ python {Path(__file__).relative_to(ROOT)}  (Python {sys.version.split()[0]})")
    print(f"memory of the imports: ours {memory(OURS)} MiB, all of attribution together")
    print(f"                       grpcio and protobuf {memory(GRPC)} MiB")
    with tempfile.TemporaryDirectory() as folder:
        server = subprocess.Popen(
            [sys.executable, "-c", SERVER, folder], env={"PYTHONPATH": ":".join(PATHS)},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert server.stdout is not None
        assert server.stdin is not None
        server.stdout.readline()
        try:
            compare(Path(folder) / "kubelet.sock")
        finally:
            server.stdin.close()
            server.wait(10)


def compare(path: Path) -> None:
    from costmeter.gpu.owners.podresources import PodResources

    ours = PodResources(path)
    measure("ours", ours.holders)
    found = ours.holders()
    ours.close()

    import grpc

    from fakes.kubelet import SERVICE, message

    with grpc.insecure_channel(f"unix://{path}") as channel:
        ask = channel.unary_unary(
            f"/{SERVICE}/List",
            response_deserializer=message("ListPodResourcesResponse").FromString,
        )

        def theirs() -> list[object]:
            return [
                (pod.namespace, pod.name, container.name, held.resource_name, device)
                for pod in ask(b"").pod_resources
                for container in pod.containers
                for held in container.devices
                for device in held.device_ids
            ]

        measure("grpcio", theirs)
        assert len(theirs()) == sum(len(one.devices) for one in found)


if __name__ == "__main__":
    main()
