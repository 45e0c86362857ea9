"""The kubelet's API by a real gRPC server on a real unix socket."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from costmeter.gpu.owners.podresources import PodResources, RpcError
from costmeter.gpu.owners.podresources_messages import DraDevice, Held, allocatable, holders
from costmeter.gpu.owners.protobuf import Malformed
from fakes.kubelet import Container, Fault, Kubelet, Pod, answer_of, kubelet, message, pod


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[Kubelet]:
    with kubelet(tmp_path) as one:
        yield one


@pytest.fixture
def client(fake: Kubelet) -> Iterator[PodResources]:
    one = PodResources(fake.path, deadline_seconds=5)
    yield one
    one.close()


def reason(client: PodResources) -> tuple[str, str]:
    with pytest.raises(RpcError) as caught:
        client.holders()
    return caught.value.reason, str(caught.value)


def test_devices_of_every_kind(fake: Kubelet, client: PodResources) -> None:
    claim = ("gpu.nvidia.com", "node-1", "gpu-0")
    two = {"nvidia.com/gpu": ("GPU-a", "GPU-b"), "rdma/hca": ("mlx5_0",)}
    fake.set_pods(
        Pod("ml", "train", (Container("main", two, cpus=96), Container("log", cpus=2))),
        pod("web", "nothing"),
        Pod("ml", "chat", (Container("server", dra=(claim,)),)),
    )
    assert client.holders() == [
        Held(
            "ml",
            "train",
            "main",
            (("nvidia.com/gpu", "GPU-a"), ("nvidia.com/gpu", "GPU-b"), ("rdma/hca", "mlx5_0")),
        ),
        Held("ml", "chat", "server", (), (DraDevice(*claim),)),
    ]


def test_what_there_is_to_give(fake: Kubelet, client: PodResources) -> None:
    fake.allocatable = {"nvidia.com/gpu": ("GPU-a", "GPU-b"), "rdma/hca": ("mlx5_0",)}
    assert client.allocatable() == {"nvidia.com/gpu": 2, "rdma/hca": 1}


def test_one_connection_for_many_calls(fake: Kubelet, client: PodResources) -> None:
    for number in range(20):
        fake.set_pods(pod("ml", f"p{number}", "GPU-a"))
        assert [one.pod for one in client.holders()] == [f"p{number}"]
    assert {headers["user-agent"] for headers in fake.headers} == {"costmeter"}


def test_an_answer_of_several_megabytes(fake: Kubelet, client: PodResources) -> None:
    name = "x" * 250
    fake.set_pods(*(Pod(name, f"{name}{n}", (Container(cpus=2000),)) for n in range(1500)))
    fake.pods.append(pod("ml", "train", "GPU-a"))
    assert answer_of(fake.pods).ByteSize() > 5 << 20
    assert [one.pod for one in client.holders()] == ["train"]


def test_an_answer_that_is_too_large(fake: Kubelet, client: PodResources) -> None:
    fake.set_pods(*(pod("n", "x" * 1_000_000, "GPU-a") for _ in range(17)))
    assert reason(client) == ("RESOURCE_EXHAUSTED", "the answer is larger than 16777221 bytes")
    fake.set_pods(pod("ml", "train", "GPU-a"))
    assert len(client.holders()) == 1


@pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.INTERNAL,
    ],
    ids=lambda code: code.name,
)
def test_refusals_keep_their_names(
    fake: Kubelet, client: PodResources, code: grpc.StatusCode
) -> None:
    fake.faults.append(Fault(code, "später, 100% busy"))
    assert reason(client) == (code.name, "the kubelet refuses: später, 100% busy")
    assert client.holders() == []


def test_a_kubelet_that_hangs(fake: Kubelet) -> None:
    gate = threading.Event()
    fake.faults.append(Fault(gate=gate))
    client = PodResources(fake.path, deadline_seconds=0.2)
    name, text = reason(client)
    gate.set()
    client.close()
    assert name == "DEADLINE_EXCEEDED"
    # The deadline goes along with the call, so that either end may be the first to notice.
    assert text in (
        "the kubelet did not answer within 0.2 seconds",
        "the kubelet refuses: Deadline Exceeded",
    )


def test_a_restart_of_the_kubelet_costs_no_call(fake: Kubelet, client: PodResources) -> None:
    fake.set_pods(pod("ml", "train", "GPU-a"))
    assert len(client.holders()) == 1
    for grace in (0, 1, None):
        fake.stop(grace)
        fake.start()
        assert len(client.holders()) == 1


def test_no_kubelet(fake: Kubelet, client: PodResources) -> None:
    fake.stop()
    name, text = reason(client)
    assert name == "UNAVAILABLE"
    assert f"mount the folder {fake.path.parent}" in text
    fake.path.touch()
    assert reason(client) == ("UNAVAILABLE", f"the kubelet at {fake.path}: Connection refused")


def test_a_path_that_no_socket_can_have(tmp_path: Path) -> None:
    with pytest.raises(RpcError, match="longer than the 107 characters"):
        PodResources(tmp_path / ("x" * 107)).holders()


@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    for read in (holders, allocatable):
        with suppress(Malformed):
            assert len(read(body)) <= len(body)


_NAMES = st.text(max_size=5)
_CONTAINERS = st.builds(
    Container,
    _NAMES,
    st.dictionaries(_NAMES, st.lists(_NAMES, max_size=3).map(tuple), max_size=3),
    st.lists(st.tuples(_NAMES, _NAMES, st.text(min_size=1, max_size=3)), max_size=3).map(tuple),
    st.integers(0, 300),
)
_PODS = st.lists(
    st.builds(Pod, _NAMES, _NAMES, st.lists(_CONTAINERS, max_size=3).map(tuple)), max_size=4
)


@given(_PODS)
def test_the_official_runtime_reads_the_same(pods: list[Pod]) -> None:
    body = answer_of(pods).SerializeToString()
    told = message("ListPodResourcesResponse").FromString(body)
    expected = []
    for one in told.pod_resources:
        for container in one.containers:
            devices = tuple(
                (held.resource_name, name) for held in container.devices for name in held.device_ids
            )
            dra = tuple(
                DraDevice(claim.driver_name, claim.pool_name, claim.device_name)
                for resource in container.dynamic_resources
                for claim in resource.claim_resources
            )
            if devices or dra:
                expected.append(Held(one.namespace, one.name, container.name, devices, dra))
    assert holders(body) == expected


def test_fields_of_a_newer_kubelet_are_passed_over() -> None:
    newer = b"\x55" + b"\x01\x02\x03\x04" + b"\x59" + b"\x01" * 8 + b"\x98\x06\xff\x01"
    body = answer_of([pod("ml", "train", "GPU-a")]).SerializeToString()
    assert holders(newer + body + b"\xfa\x3f\x02hi") == holders(body)
