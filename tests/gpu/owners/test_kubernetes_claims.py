"""Who holds which GPU on a node: a real kubelet's protocol, a small API server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from costmeter.gpu.claims import Claim
from costmeter.gpu.owners.kubernetes import KubernetesClaims
from costmeter.gpu.owners.settings import OwnerSettings
from costmeter.segment import Owner
from fakes import kube_api as fake
from fakes.clock import FakeClock
from fakes.kubelet import Container, Fault, Kubelet, Pod, pod
from gpu.owners.tree import reading, until, uuid, write_process

CONTAINER = "4f" * 32
POD = "8f6d2c1a-0b3e-4c5d-9e7f-a1b2c3d4e5f6"


class Node:
    """A node without an API server; rounds are driven by the test."""

    def __init__(self, folder: Path, api: fake.KubeApi | None = None) -> None:
        self.clock = FakeClock()
        self.kubelet = Kubelet(folder).start()
        self.api = api
        self.proc = folder / "proc"
        self.claims = KubernetesClaims(
            OwnerSettings(
                node_name=fake.NODE,
                kubelet_socket=self.kubelet.path,
                api_server=api.url if api else "",
                token_file=fake.write_token(folder / "token"),
                proc=self.proc,
            ),
            self.clock,
        )

    def round(self, seconds: float = 5) -> float:
        self.clock.advance(seconds)
        return self.claims.refresh()

    def holders(self, number: int = 0, migs: int = 0) -> list[tuple[str, str, str]] | None:
        """(pod, instance, replica) of a GPU."""
        found = self.claims.of(reading(number, migs=migs))
        return found and [(one.owner.pod, one.instance, one.replica) for one in found]  # type: ignore[return-value]

    def close(self) -> None:
        self.claims.stop()
        self.kubelet.stop()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    one = Node(tmp_path)
    yield one
    one.close()


@pytest.fixture
def server() -> Iterator[fake.KubeApi]:
    with fake.kube_api() as one:
        yield one


@pytest.fixture
def cluster(tmp_path: Path, server: fake.KubeApi) -> Iterator[Node]:
    one = Node(tmp_path, server)
    yield one
    one.close()


def test_before_the_first_answer_nobody_can_tell(node: Node) -> None:
    assert node.claims.of(reading(0)) is None


def test_every_kind_of_device(node: Node) -> None:
    node.kubelet.set_pods(
        pod("ml", "whole", uuid(0)),
        pod("ml", "shared-a", f"{uuid(1)}::0", resource="nvidia.com/gpu.shared"),
        pod("ml", "shared-b", f"{uuid(1)}::1", f"{uuid(1)}::2", resource="nvidia.com/gpu.shared"),
        pod("ml", "mig", uuid(21, "MIG"), resource="nvidia.com/mig-1g.10gb"),
        pod("ml", "old-mig", f"MIG-{uuid(2)}/3/0"),
        pod("ml", "gke", "nvidia4/vgpu1"),
        pod("ml", "gke-mig", "nvidia2/gi5"),
        pod("net", "other", uuid(3), resource="example.com/fpga"),
        Pod("ml", "two", (Container("a", {"nvidia.com/gpu": (uuid(5),)}), Container("b"))),
    )
    node.round()
    assert node.holders(0) == [("whole", "", "")]
    assert node.holders(1) == [("shared-a", "", "0"), ("shared-b", "", "1"), ("shared-b", "", "2")]
    assert sorted(node.holders(2, migs=6) or ()) == [
        ("gke-mig", uuid(25, "MIG"), ""),
        ("mig", uuid(21, "MIG"), ""),
        ("old-mig", uuid(23, "MIG"), ""),
    ]
    assert node.holders(3) == ()
    assert node.holders(4) == [("gke", "", "1")]
    assert node.claims.of(reading(5)) == (
        Claim(Owner("ml", namespace="ml", pod="two", container="a")),
    )
    assert node.claims.health().unresolved_devices == 0


def test_pods_come_and_go(node: Node) -> None:
    node.kubelet.set_pods(pod("ml", "a", uuid(0)))
    node.round()
    assert node.holders() == [("a", "", "")]
    node.kubelet.set_pods()
    node.round()
    assert node.holders() == ()


def test_a_kubelet_that_is_away_is_believed_for_five_minutes(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    node.kubelet.set_pods(pod("ml", "a", uuid(0)))
    node.round()
    node.kubelet.stop()
    for _ in range(300 // 5):
        node.round()
    assert node.holders() == [("a", "", "")]
    node.round(1)
    assert node.holders() is None
    health = node.claims.health()
    assert "there is no kubelet socket" in health.problem
    assert caplog.text.count("there is no kubelet socket") == 1
    # 300 s of waits that double from one second to a minute: not sixty tries.
    assert 6 <= health.errors["kubelet", "UNAVAILABLE"] <= 12
    node.kubelet.start()
    node.round(60)
    assert node.holders() == [("a", "", "")]
    assert node.claims.health().problem == ""


@pytest.mark.parametrize("code", ["RESOURCE_EXHAUSTED", "UNAVAILABLE", "DEADLINE_EXCEEDED"])
def test_a_refusal_is_counted_and_tried_again_later(node: Node, code: str) -> None:
    node.round()
    node.kubelet.faults.extend([Fault(grpc.StatusCode[code])] * 2)
    node.round()
    assert node.claims.health().errors == {("kubelet", code): 1}
    calls = len(node.kubelet.calls)
    node.round(0.5)
    assert len(node.kubelet.calls) == calls
    node.round(1)
    node.round(1)
    assert len(node.kubelet.calls) == calls + 1
    node.round(2)
    assert node.claims.health().problem == ""


def test_what_there_is_to_give_is_a_figure(node: Node) -> None:
    node.kubelet.allocatable = {"nvidia.com/gpu": (uuid(0), uuid(1)), "rdma/hca": ("x",)}
    node.round()
    assert node.claims.health().allocatable_devices == 2


def test_devices_that_nobody_explains_are_counted(node: Node) -> None:
    node.kubelet.set_pods(
        pod("ml", "a", "nonsense"),
        pod("ml", "b", uuid(7)),
        Pod("ml", "c", (Container(dra=(("gpu.nvidia.com", "pool", "gpu-0"),)),)),
        Pod("ml", "d", (Container(dra=(("nic.example.com", "pool", "nic-0"),)),)),
    )
    node.round()
    # Any GPU that seems free may be the one that is held.
    assert node.holders(0) is None
    assert node.holders(7) == [("b", "", "")]
    assert node.claims.health().unresolved_devices == 2


def test_labels_of_pods(cluster: Node, server: fake.KubeApi) -> None:
    labels = {"tenant": "acme", "team": "search", "costmeter.dev/environment": "prod"}
    notes = {"costmeter.dev/model": "meta-llama/Llama-3.3-70B"}
    server.put(fake.pod("ml", "a", labels=labels, annotations=notes))
    server.put(fake.pod("web", "b"))
    cluster.kubelet.set_pods(pod("ml", "a", uuid(0)), pod("web", "b", uuid(1)))
    cluster.claims.start()
    until(lambda: cluster.claims.of(reading(0)))
    assert cluster.claims.of(reading(0)) == (
        Claim(
            Owner(
                "acme", "prod", "search", namespace="ml", pod="a", container="main",
                serves="meta-llama/Llama-3.3-70B",
            )
        ),
    )  # fmt: skip
    assert cluster.claims.of(reading(1)) == (
        Claim(Owner("web", namespace="web", pod="b", container="main")),
    )


def test_a_pod_that_the_api_server_does_not_know_yet_has_no_tenant_yet(
    cluster: Node, server: fake.KubeApi
) -> None:
    server.put(fake.pod("ml", "a"))
    cluster.kubelet.set_pods(pod("ml", "a", uuid(0)), pod("ml", "b", uuid(1)))
    cluster.claims.start()
    until(lambda: cluster.claims.of(reading(1)))
    found = cluster.claims.of(reading(1))
    assert found is not None
    assert (found[0].owner.pod, found[0].owner.tenant_id) == ("b", "unattributed")
    assert cluster.claims.health().unknown_pods == 1


def test_without_rbac_the_namespace_decides(cluster: Node, server: fake.KubeApi) -> None:
    server.refuse = {"pods": 403, fake.NODE: 403}
    cluster.kubelet.set_pods(pod("ml", "a", uuid(0)))
    cluster.claims.start()
    until(lambda: cluster.claims.of(reading(0)))
    cluster.claims.refresh()
    found = cluster.claims.of(reading(0))
    assert found is not None
    assert found[0].owner.tenant_id == "ml"
    assert "resources: [pods]" in cluster.claims.health().problem
    assert "resources: [nodes]" in cluster.claims.health().problem


def test_the_first_answer_waits_for_labels_but_not_for_ever(tmp_path: Path) -> None:
    with fake.kube_api() as server:
        one = Node(tmp_path, server)
    one.kubelet.set_pods(pod("ml", "a", uuid(0)))
    one.round()
    assert one.holders() is None
    one.round(6)
    assert one.holders() == [("a", "", "")]
    one.close()


def test_pods_that_are_over_hold_nothing(cluster: Node, server: fake.KubeApi) -> None:
    for name, phase in (("done", "Succeeded"), ("failed", "Failed"), ("runs", "Running")):
        server.put(fake.pod("ml", name, phase=phase))
    server.put(fake.pod("ml", "deleted"))
    names = ("done", "failed", "runs", "deleted", "lingers")
    cluster.kubelet.set_pods(*(pod("ml", name, uuid(0)) for name in names))
    cluster.claims.start()
    until(lambda: cluster.claims.of(reading(0)))
    server.delete("ml", "deleted")

    def holders() -> list[str]:
        cluster.round(1)
        return sorted(one[0] for one in cluster.holders() or ())

    until(lambda: holders() == ["lingers", "runs"])
    # What only the kubelet knows is new at first, and gone after a minute.
    server.bookmark()
    cluster.clock.advance(60)
    until(lambda: server.bookmark() or holders() == ["runs"])


def test_another_nodes_name_does_not_free_the_gpus(cluster: Node, server: fake.KubeApi) -> None:
    server.put(fake.pod("ml", "stranger"))
    cluster.kubelet.set_pods(pod("ml", "a", uuid(0)))
    cluster.claims.start()
    until(lambda: cluster.claims.of(reading(0)))
    cluster.round(61)
    server.bookmark()
    cluster.round(61)
    assert cluster.holders() == [("a", "", "")]


def test_devices_of_resource_claims(cluster: Node, server: fake.KubeApi) -> None:
    server.slices = [
        fake.resource_slice(
            {"gpu-0": {"uuid": {"string": uuid(0)}}, "m": {"uuid": {"string": uuid(11, "MIG")}}}
        )
    ]
    server.put(fake.pod("ml", "a"))
    claims = (("gpu.nvidia.com", fake.NODE, "gpu-0"), ("gpu.nvidia.com", fake.NODE, "m"))
    cluster.kubelet.set_pods(Pod("ml", "a", (Container(dra=claims),)))
    cluster.claims.start()
    until(lambda: cluster.claims.of(reading(0)))
    assert cluster.holders(0) == [("a", "", "")]
    assert cluster.holders(1, migs=2) == [("a", uuid(11, "MIG"), "")]


def test_processes_of_a_shared_gpu(cluster: Node, server: fake.KubeApi) -> None:
    other = "5e" * 32
    server.put(fake.pod("ml", "a", uid=POD, containers={"main": CONTAINER}))
    server.put(fake.pod("ml", "b", uid=POD.replace("8", "9")))
    cluster.kubelet.set_pods(pod("ml", "a", f"{uuid(0)}::0"), pod("ml", "b", f"{uuid(0)}::1"))
    write_process(cluster.proc, 1, f"0::/../cri-containerd-{CONTAINER}.scope")
    write_process(cluster.proc, 2, f"0::/kubepods/pod{POD}/{'77' * 32}")
    write_process(cluster.proc, 3, f"0::/kubepods/pod{POD.replace('8', '9')}/{other}")
    write_process(cluster.proc, 4, "0::/system.slice/x.service")
    write_process(cluster.proc, 5, f"0::/kubepods/pod{POD.replace('8', '0')}/{other}")
    cluster.claims.start()
    shared = reading(0, 1, 2, 3, 4, 5)

    def pids() -> dict[str, set[int]]:
        return {one.owner.pod: set(one.pids) for one in cluster.claims.of(shared) or ()}

    until(lambda: pids() == {"a": {1, 2}, "b": {3}})
    assert cluster.claims.health().processes == 5


def test_what_the_node_says_of_itself(cluster: Node, server: fake.KubeApi) -> None:
    labels = {"topology.kubernetes.io/region": "us-east-1", "karpenter.sh/capacity-type": "spot"}
    spec = {"providerID": "aws:///us-east-1a/i-1"}
    assert cluster.claims.node() is None
    cluster.round()
    assert "the node's" not in cluster.claims.health().problem
    assert f'nodes "{fake.NODE}" not found' in cluster.claims.health().problem
    server.nodes[fake.NODE] = {"metadata": {"labels": labels}, "spec": spec}
    cluster.round(30)
    facts = cluster.claims.node()
    assert facts is not None
    assert (facts.provider, facts.region, facts.purchase) == ("aws", "us-east-1", "spot")


def test_stop_and_nothing_is_left(tmp_path: Path, server: fake.KubeApi) -> None:
    before = set(threading.enumerate())
    one = Node(tmp_path, server)
    one.claims.start()
    until(server.watches)
    one.claims.stop()
    left = {thread.name for thread in set(threading.enumerate()) - before}
    assert not [name for name in left if name.startswith("gpu-owners")]
    one.kubelet.stop()


def test_pods_with_gpus_that_show_metrics_are_named(cluster: Node, server: fake.KubeApi) -> None:
    notes = {"prometheus.io/scrape": "true", "prometheus.io/port": "8000"}
    server.put(fake.pod("ml", "chat", annotations=notes, address="10.0.0.7"))
    server.put(fake.pod("ml", "train", address="10.0.0.8"))
    server.put(fake.pod("web", "no-gpu", annotations=notes, address="10.0.0.9"))
    cluster.kubelet.set_pods(pod("ml", "chat", uuid(0), uuid(1)), pod("ml", "train", uuid(2)))
    assert cluster.claims.serving() == ()
    cluster.claims.start()
    until(lambda: len(cluster.claims.serving()) == 1)
    (one,) = cluster.claims.serving()
    assert (one.namespace, one.pod, one.url) == ("ml", "chat", "http://10.0.0.7:8000/metrics")
