"""Pods of any kind come, go and end: who holds what, compared with a plain list of facts."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from costmeter.gpu.owners.kubernetes import KubernetesClaims
from costmeter.gpu.owners.settings import OwnerSettings
from fakes import kube_api as fake
from fakes.clock import FakeClock
from fakes.kubelet import Container, Kubelet, Pod
from gpu.owners.tree import reading, until, uuid

#: GPUs 0 and 1 are whole, 2 and 3 cut in seven, 4 and 5 shared.
MIGS = {2: 7, 3: 7}
GPUS = range(6)
DRIVER = "gpu.nvidia.com"
MARKS = count()


@dataclass
class World:
    """The facts: pods by name, and of each what it holds as (GPU, MIG number or 0)."""

    holds: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    told: dict[str, Container] = field(default_factory=dict)
    tenant: dict[str, str] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)

    def holders(self, gpu: int, instance: int) -> set[tuple[str, str]]:
        return {
            (name, self.tenant[name])
            for name, held in self.holds.items()
            if (gpu, instance) in held and name not in self.done
        }


def device(chance: random.Random) -> tuple[str, object, tuple[int, int]]:
    """("id" or "dra", how the kubelet tells it, what it is)."""
    gpu = chance.choice(GPUS)
    number = chance.randint(1, 7) if gpu in MIGS else 0
    mig = uuid(gpu * 10 + number, "MIG")
    ways: list[tuple[str, object]] = [("dra", (DRIVER, fake.NODE, f"gpu-{gpu}-{number}"))]
    if number:
        ways += [
            ("id", mig),
            ("id", f"MIG-{uuid(gpu)}/{number}/0"),
            ("id", f"nvidia{gpu}/gi{number}"),
        ]
    elif gpu in (4, 5):
        ways = [
            ("id", f"{uuid(gpu)}::{chance.randint(0, 9)}"),
            ("id", f"nvidia{gpu}/vgpu{chance.randint(0, 9)}"),
        ]
    else:
        ways += [("id", uuid(gpu)), ("id", f"nvidia{gpu}")]
    return (*chance.choice(ways), (gpu, number))


@pytest.fixture(scope="module")
def rig(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Kubelet, fake.KubeApi, KubernetesClaims, FakeClock]]:
    folder: Path = tmp_path_factory.mktemp("node")
    clock = FakeClock()
    kubelet = Kubelet(folder).start()
    with fake.kube_api() as server:
        devices = {
            f"gpu-{gpu}-{n}": {"uuid": {"string": uuid(gpu * 10 + n, "MIG") if n else uuid(gpu)}}
            for gpu in GPUS
            for n in range(8)
        }
        server.slices = [fake.resource_slice(devices)]
        server.put(fake.pod("ml", "always"))
        token = fake.write_token(folder / "token")
        claims = KubernetesClaims(
            OwnerSettings(
                node_name=fake.NODE, kubelet_socket=kubelet.path, api_server=server.url,
                token_file=token, refresh_seconds=60,
            ),
            clock,
        )  # fmt: skip
        claims.start()
        yield kubelet, server, claims, clock
        claims.stop()
    kubelet.stop()


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.randoms(use_true_random=False), st.integers(1, 12))
def test_whoever_holds_a_gpu_is_found(
    rig: tuple[Kubelet, fake.KubeApi, KubernetesClaims, FakeClock],
    chance: random.Random,
    steps: int,
) -> None:
    kubelet, server, claims, clock = rig
    world = World()
    for step in range(steps):
        _change(world, server, chance, step)
        kubelet.set_pods(
            Pod("ml", "always", (Container("main"),)),
            *(Pod("ml", name, (container,)) for name, container in world.told.items()),
        )
        # Marks that all that went before has arrived.
        mark = f"mark-{next(MARKS)}"
        server.put(fake.pod("ml", "always", labels={"tenant": mark}))

        def arrived(mark: str = mark) -> bool:
            pod = claims._book.of("ml", "always")
            return pod is not None and pod.labels.get("tenant") == mark

        until(arrived)
        clock.advance(2)
        claims.refresh()
        for gpu in GPUS:
            found = claims.of(reading(gpu, migs=MIGS.get(gpu, 0)))
            assert found is not None
            instances = range(1, 8) if gpu in MIGS else (0,)
            for number in instances:
                instance = uuid(gpu * 10 + number, "MIG") if number else ""
                held = {
                    (one.owner.pod, one.owner.tenant_id)
                    for one in found
                    if one.instance == instance
                }
                assert held == world.holders(gpu, number)
    for name in list(world.holds):
        server.delete("ml", name)


def _change(world: World, server: fake.KubeApi, chance: random.Random, step: int) -> None:
    """One pod comes, ends, or goes (which the kubelet may be slow to notice)."""
    what = chance.choice(["come", "come", "end", "go", "linger", "cut"])
    if what == "cut":
        server.cut()
        return
    if what == "come" or not world.holds:
        name = f"pod-{step}"
        tenant = chance.choice(["", "acme", "other"])
        ids, dra = [], []
        held = []
        for _ in range(chance.randint(1, 4)):
            kind, text, is_what = device(chance)
            if kind == "id":
                ids.append(str(text))
            else:
                dra.append(text)
            held.append(is_what)
        labels = {"tenant": tenant} if tenant else {}
        server.put(fake.pod("ml", name, labels=labels))
        world.holds[name] = held
        world.tenant[name] = tenant or "ml"
        devices = {"nvidia.com/gpu": tuple(ids)} if ids else {}
        world.told[name] = Container("main", devices, tuple(dra))  # type: ignore[arg-type]
        return
    name = chance.choice(sorted(world.holds))
    if what == "end":
        server.put(fake.pod("ml", name, phase="Succeeded"))
        world.done.add(name)
        return
    server.delete("ml", name)
    del world.holds[name]
    if what == "go" or name in world.done:
        del world.told[name]
