"""The kubelet's PodResources API (v1): a real gRPC server on a real unix socket.

It tells the pods it was given, with the official protobuf runtime, or fails as told.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

SERVICE = "v1.PodResourcesLister"
#: message: {field: (number, type)}; a type in [] is repeated.
_MESSAGES: dict[str, dict[str, tuple[int, str]]] = {
    "ListPodResourcesRequest": {},
    "ListPodResourcesResponse": {"pod_resources": (1, "[PodResources]")},
    "PodResources": {
        "name": (1, "string"), "namespace": (2, "string"),
        "containers": (3, "[ContainerResources]"), "cpu_ids": (4, "[int64]"),
        "memory": (5, "[ContainerMemory]"),
    },
    "ContainerResources": {
        "name": (1, "string"), "devices": (2, "[ContainerDevices]"), "cpu_ids": (3, "[int64]"),
        "memory": (4, "[ContainerMemory]"), "dynamic_resources": (5, "[DynamicResource]"),
    },
    "ContainerDevices": {
        "resource_name": (1, "string"), "device_ids": (2, "[string]"),
        "topology": (3, "TopologyInfo"),
    },
    "ContainerMemory": {
        "memory_type": (1, "string"), "size": (2, "uint64"), "topology": (3, "TopologyInfo"),
    },
    "TopologyInfo": {"nodes": (1, "[NUMANode]")},
    "NUMANode": {"ID": (1, "int64")},
    "DynamicResource": {
        "claim_name": (2, "string"), "claim_namespace": (3, "string"),
        "claim_resources": (4, "[ClaimResource]"),
    },
    "ClaimResource": {
        "cdi_devices": (1, "[CDIDevice]"), "driver_name": (2, "string"),
        "pool_name": (3, "string"), "device_name": (4, "string"), "share_id": (5, "string"),
    },
    "CDIDevice": {"name": (1, "string")},
    "AllocatableResourcesRequest": {},
    "AllocatableResourcesResponse": {
        "devices": (1, "[ContainerDevices]"), "cpu_ids": (2, "[int64]"),
        "memory": (3, "[ContainerMemory]"),
    },
}  # fmt: skip
_KINDS = {"string": 9, "int64": 3, "uint64": 4}


@cache
def message(name: str) -> Any:
    """The class of a message."""
    return _classes()[name]


@cache
def _classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(
        name="podresources_v1.proto", package="v1", syntax="proto3"
    )
    for name, parts in _MESSAGES.items():
        kind = file.message_type.add(name=name)
        for part, (number, text) in parts.items():
            plain = text.strip("[]")
            one = kind.field.add(name=part, number=number, label=3 if text != plain else 1)
            if plain in _KINDS:
                one.type = _KINDS[plain]
            else:
                one.type = 11
                one.type_name = f".v1.{plain}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"v1.{name}"))
        for name in _MESSAGES
    }


@dataclass(frozen=True)
class Container:
    """`devices` by resource name; `dra` are (driver, pool, device)."""

    name: str = "main"
    devices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    dra: tuple[tuple[str, str, str], ...] = ()
    cpus: int = 0


@dataclass(frozen=True)
class Pod:
    namespace: str
    name: str
    containers: tuple[Container, ...] = ()


def pod(namespace: str, name: str, *ids: str, resource: str = "nvidia.com/gpu") -> Pod:
    """A pod of one container with these devices."""
    return Pod(namespace, name, (Container(devices={resource: ids} if ids else {}),))


def answer_of(pods: Iterable[Pod]) -> Any:
    """The ListPodResourcesResponse as the kubelet writes it."""
    answer = message("ListPodResourcesResponse")()
    for one in pods:
        told = answer.pod_resources.add(name=one.name, namespace=one.namespace)
        for container in one.containers:
            inner = told.containers.add(name=container.name, cpu_ids=range(container.cpus))
            for resource, ids in container.devices.items():
                # The kubelet tells the devices of each NUMA node for themselves.
                for device in ids:
                    devices = inner.devices.add(resource_name=resource, device_ids=[device])
                    devices.topology.nodes.add(ID=1)
            for number, (driver, pool, device) in enumerate(container.dra):
                claim = inner.dynamic_resources.add(
                    claim_name=f"claim-{number}", claim_namespace=one.namespace
                )
                claim.claim_resources.add(
                    driver_name=driver, pool_name=pool, device_name=device
                ).cdi_devices.add(name=f"k8s.{driver}/claim={device}")
    return answer


@dataclass
class Fault:
    """One answer that is not the ordinary one: a status, or a wait at the gate first."""

    code: grpc.StatusCode | None = None
    details: str = "not now"
    gate: threading.Event | None = None


class Kubelet:
    """`stop` and `start` again is a restart: the socket goes and comes."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "kubelet.sock"
        self.pods: list[Pod] = []
        self.allocatable: dict[str, tuple[str, ...]] = {}
        self.faults: deque[Fault | None] = deque()
        self.calls: list[str] = []
        self.headers: list[dict[str, Any]] = []
        self._server: Any = None
        self._pool: futures.ThreadPoolExecutor | None = None

    def set_pods(self, *pods: Pod) -> None:
        self.pods = list(pods)

    def start(self) -> Kubelet:
        self._pool = futures.ThreadPoolExecutor(2)
        self._server = grpc.server(
            self._pool, options=[("grpc.max_send_message_length", -1), ("grpc.so_reuseport", 0)]
        )
        handlers = {
            "List": self._handler("List", lambda: answer_of(self.pods)),
            "GetAllocatableResources": self._handler("GetAllocatableResources", self._allocatable),
        }
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE, handlers),)
        )
        self._server.add_insecure_port(f"unix://{self.path}")
        self._server.start()
        return self

    def stop(self, grace_seconds: float | None = 0) -> None:
        if self._server is not None and self._pool is not None:
            self._server.stop(grace_seconds).wait(10)
            self._pool.shutdown()
            self._server = self._pool = None
        self.path.unlink(missing_ok=True)

    def _allocatable(self) -> Any:
        answer = message("AllocatableResourcesResponse")()
        for resource, ids in self.allocatable.items():
            answer.devices.add(resource_name=resource, device_ids=ids)
        return answer

    def _handler(self, name: str, make: Any) -> Any:
        def answer(_request: bytes, context: grpc.ServicerContext) -> bytes:
            self.calls.append(name)
            self.headers.append(dict(context.invocation_metadata()))
            fault = (self.faults.popleft() if self.faults else None) or Fault()
            if fault.gate is not None:
                fault.gate.wait(20)
            if fault.code is not None:
                context.abort(fault.code, fault.details)
            written: bytes = make().SerializeToString()
            return written

        return grpc.unary_unary_rpc_method_handler(answer)


@contextmanager
def kubelet(folder: Path) -> Iterator[Kubelet]:
    one = Kubelet(folder).start()
    try:
        yield one
    finally:
        one.stop()
