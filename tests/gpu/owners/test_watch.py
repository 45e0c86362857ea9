"""Pods listed and watched at a small API server that does what real ones do."""

from __future__ import annotations

import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from costmeter.clock import SystemClock
from costmeter.gpu.owners.health import Counts
from costmeter.gpu.owners.json_stream import ListReader
from costmeter.gpu.owners.kube_api import ApiError, KubeApi, in_cluster
from costmeter.gpu.owners.podresources_messages import DraDevice
from costmeter.gpu.owners.slices import Slices
from costmeter.gpu.owners.watch import PodWatch
from fakes import kube_api as fake
from gpu.owners.tree import until, uuid

NAMES = frozenset({"team", "tenant"})


class Rig:
    def __init__(self, server: fake.KubeApi, folder: Path) -> None:
        self.server = server
        self.token = fake.write_token(folder / "token")
        self.counts = Counts()
        self.api = KubeApi(server.url, self.token, folder / "ca.pem", self.counts)
        self.changes = 0
        self.watch = PodWatch(
            self.api, fake.NODE, NAMES, SystemClock(), self._changed, first_wait_seconds=0.01
        )

    def _changed(self) -> None:
        self.changes += 1

    def knows(self, name: str, **labels: str) -> Callable[[], bool]:
        def known() -> bool:
            pod = self.watch.book.of("ml", name)
            return pod is not None and pod.labels == labels

        return known


@pytest.fixture
def server() -> Iterator[fake.KubeApi]:
    with fake.kube_api() as one:
        yield one


@pytest.fixture
def rig(server: fake.KubeApi, tmp_path: Path) -> Iterator[Rig]:
    one = Rig(server, tmp_path)
    yield one
    one.watch.stop()


def test_pods_that_are_there_and_pods_that_come(rig: Rig) -> None:
    rig.server.put(fake.pod("ml", "a", labels={"team": "search", "app": "x"}))
    rig.server.put(fake.pod("ml", "elsewhere", node="node-2"))
    rig.watch.start()
    until(rig.knows("a", team="search"))
    rig.server.put(fake.pod("ml", "b", annotations={"team": "ads"}))
    until(rig.knows("b", team="ads"))
    rig.server.put(fake.pod("ml", "b", labels={"team": "web"}, annotations={"team": "ads"}))
    until(rig.knows("b", team="web"))
    rig.server.put(fake.pod("ml", "b", phase="Succeeded"))
    until(lambda: rig.watch.book.is_gone("ml", "b", 0))
    rig.server.delete("ml", "a")
    until(lambda: rig.watch.book.of("ml", "a") is None)
    assert rig.watch.book.is_gone("ml", "a", 0)
    assert rig.watch.book.of("ml", "elsewhere") is None
    assert (rig.server.lists(), rig.server.watches()) == (1, 1)
    asked = rig.server.requests[0][1]
    assert asked == {"fieldSelector": "spec.nodeName=node-1", "resourceVersion": "0"}
    assert rig.changes >= 5


def test_a_watch_that_is_cut_goes_on_from_where_it_was(rig: Rig) -> None:
    rig.server.put(fake.pod("ml", "a"))
    rig.watch.start()
    until(lambda: rig.server.watches() == 1)
    rig.server.put(fake.pod("ml", "b"))
    rig.server.bookmark()
    until(rig.knows("b"))
    rig.server.cut()
    rig.server.put(fake.pod("ml", "c"))
    until(rig.knows("c"))
    assert rig.server.lists() == 1
    assert rig.watch.restarts >= 2
    versions = [int(q["resourceVersion"]) for _, q in rig.server.requests if "watch" in q]
    assert versions == sorted(versions)
    assert versions[-1] >= 103


def test_a_version_that_is_too_old_makes_a_new_list(rig: Rig) -> None:
    rig.server.put(fake.pod("ml", "a"))
    rig.server.put(fake.pod("ml", "b"))
    rig.watch.start()
    until(lambda: rig.server.watches() == 1)
    rig.server.expire()
    rig.server.delete("ml", "a")
    until(lambda: rig.server.lists() == 2)
    until(lambda: rig.watch.book.of("ml", "a") is None)
    assert rig.watch.book.is_gone("ml", "a", 0)
    newest = [query for path, query in rig.server.requests if "watch" not in query][-1]
    assert "resourceVersion" not in newest
    assert rig.counts.errors()["watch", "expired"] == 1
    assert rig.watch.problem == ""


def test_410_by_its_status_does_the_same(rig: Rig) -> None:
    rig.server.refuse_next.append(("watch", 410))
    rig.watch.start()
    until(lambda: rig.server.lists() == 2)
    until(lambda: rig.server.watches() == 1)


def test_a_token_that_was_replaced(rig: Rig) -> None:
    rig.watch.start()
    until(lambda: rig.server.watches() == 1)
    rig.server.token = "second-token"
    rig.server.cut()
    until(lambda: ("watch", "unauthorized") in rig.counts.errors())
    until(lambda: "does not know the token" in rig.watch.problem)
    rig.token.write_text("second-token\n")
    rig.server.put(fake.pod("ml", "a"))
    until(rig.knows("a"))
    assert rig.watch.problem == ""
    assert not rig.watch.refused


def test_missing_rbac_is_said_in_plain_words(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig.server.refuse["pods"] = 403
    rig.watch.start()
    until(lambda: rig.counts.errors().get(("pods", "forbidden"), 0) >= 3)
    assert rig.watch.refused
    assert rig.watch.settled
    for part in ('apiGroups: [""]', "resources: [pods]", "verbs: [get, list, watch]"):
        assert part in rig.watch.problem
    assert caplog.text.count("RBAC is missing") == 1
    del rig.server.refuse["pods"]
    rig.server.put(fake.pod("ml", "a"))
    until(rig.knows("a"))
    assert not rig.watch.refused


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_in_trouble_is_asked_again(rig: Rig, status: int) -> None:
    rig.server.refuse_next.extend([("pods", status)] * 3)
    rig.server.put(fake.pod("ml", "a"))
    rig.watch.start()
    until(rig.knows("a"))
    assert sum(rig.counts.errors().values()) == 3


def test_a_server_that_is_away(tmp_path: Path) -> None:
    with fake.kube_api() as server:
        rig = Rig(server, tmp_path)
    rig.watch.start()
    until(lambda: rig.counts.errors().get(("pods", "network"), 0) >= 2)
    rig.watch.stop()
    assert rig.watch.settled
    assert not rig.watch.refused
    assert "refused" in rig.watch.problem


def test_stopping_does_not_wait_for_the_watch(rig: Rig) -> None:
    rig.watch.start()
    until(lambda: rig.server.watches() == 1)
    rig.watch.stop()
    assert not [one for one in threading.enumerate() if one.name == "gpu-owners-pods"]


def _certificate(folder: Path, name: str) -> dict[str, Path]:
    files = {"ca": folder / f"{name}.pem", "key": folder / f"{name}.key"}
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "2", "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", str(files["key"]), "-out", str(files["ca"])],
        check=True, capture_output=True,
    )  # fmt: skip
    return files


def test_tls_and_who_is_trusted(tmp_path: Path) -> None:
    files = _certificate(tmp_path, "ca")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files["ca"], files["key"])
    with fake.kube_api(context) as server:
        server.nodes["node-1"] = {"metadata": {}}
        rig = Rig(server, tmp_path)
        assert rig.api.json("node", "/api/v1/nodes/node-1") == {"metadata": {}}
        files["ca"].unlink()
        with pytest.raises(ApiError, match="No such file"):
            rig.api.json("node", "/api/v1/nodes/node-1")
        files["ca"].write_bytes(_certificate(tmp_path, "other")["ca"].read_bytes())
        with pytest.raises(ApiError, match="no trusted connection") as caught:
            rig.api.json("node", "/api/v1/nodes/node-1")
        assert caught.value.reason == "tls"


def test_where_the_api_server_is() -> None:
    port = {"KUBERNETES_SERVICE_PORT": "6443"}
    assert in_cluster({"KUBERNETES_SERVICE_HOST": "10.0.0.1", **port}) == "https://10.0.0.1:6443"
    assert in_cluster({"KUBERNETES_SERVICE_HOST": "fd00::1"}) == "https://[fd00::1]:443"
    assert in_cluster({}) == ""


@pytest.mark.parametrize("version", ["v1", "v1beta2", "v1beta1"])
def test_slices_of_every_version(rig: Rig, version: str) -> None:
    rig.server.slice_versions = (version,)
    basic = version == "v1beta1"
    rig.server.slices = [
        fake.resource_slice({"gpu-0": {"uuid": {"string": uuid(9)}}}, generation=1, basic=basic),
        fake.resource_slice(
            {
                "gpu-0": {"gpu.nvidia.com/uuid": {"string": uuid(0)}, "type": {"string": "gpu"}},
                "mig-0": {"uuid": {"string": uuid(1, "MIG")}, "type": {"string": "mig"}},
                "gpu-3": {"minor": {"int": 3}},
                "odd": {"type": {"string": "vfio"}, "index": {"int": 4}},
            },
            generation=2,
            basic=basic,
        ),
        fake.resource_slice({"nic-0": {"index": {"int": 0}}}, driver="nic.example.com"),
    ]
    slices = Slices(rig.api, fake.NODE, ("gpu.nvidia.com",))

    def place(name: str, driver: str = "gpu.nvidia.com") -> object:
        device = slices.of(DraDevice(driver, fake.NODE, name), 0)
        return device and device.place

    assert [place(name) for name in ("gpu-0", "mig-0", "gpu-3", "odd")] == [
        uuid(0), uuid(1, "MIG"), 3, None,
    ]  # fmt: skip
    assert place("nic-0", "nic.example.com") is None
    assert slices.problem == ""


def test_slices_are_asked_for_only_when_something_is_unknown(rig: Rig) -> None:
    slices = Slices(rig.api, fake.NODE, ("gpu.nvidia.com",))
    device = DraDevice("gpu.nvidia.com", fake.NODE, "gpu-0")

    def asked(now_ms: int) -> int:
        slices.of(device, now_ms)
        return len(rig.server.requests)

    assert [asked(now) for now in (0, 1000, 29_999)] == [1, 1, 1]
    rig.server.slices = [fake.resource_slice({"gpu-0": {"uuid": {"string": uuid(0)}}})]
    assert [asked(now) for now in (30_000, 60_000, 629_999, 630_000)] == [2, 2, 2, 3]
    rig.server.refuse["resourceslices"] = 403
    found = slices.of(device, 2_000_000)
    assert found is not None
    assert "resources: [resourceslices]" in slices.problem


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_a_list_is_read_in_pieces(size: int) -> None:
    body = (
        '{"kind": "PodList", "items" : [ {"a": "ü]}"}, 12, [] ],\n "metadata":{"n":{"x":1}},'
        '"last":34}'
    ).encode()
    at = 0

    def read(_: int) -> bytes:
        nonlocal at
        at += size
        return body[at - size : at]

    reader = ListReader(read)
    assert list(reader) == [{"a": "ü]}"}, 12, []]
    assert reader.fields == {"kind": "PodList", "metadata": {"n": {"x": 1}}, "last": 34}


@pytest.mark.parametrize(
    "body", ["", "[]", '{"items":[1', '{"items":[1}', '{"a" 1}', '{"items":[{"a"']
)
def test_a_list_that_is_cut_off(body: str) -> None:
    pieces = [body.encode()]
    with pytest.raises(ValueError, match=r"\w"):
        list(ListReader(lambda _: pieces.pop() if pieces else b""))
