"""GPU time of Google Cloud through the real client, against a server of its protos."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import grpc
import pytest

from costmeter.model import NANO_PER_USD, Usage
from costmeter.sources.contract import OwnerRule, Settings, SourceError
from costmeter.sources.gcp_gpu import BUSY, REQUESTED, SEEN, UPTIME
from costmeter.sources.gcp_machines import card, of_machine, region_of
from costmeter.sources.registry import make
from costmeter.sources.secret import Secret
from fakes.gcp_monitoring import Fault, GcpMonitoring, serving
from sources.rig import DAY, HOUR, TODAY, pages, running

YESTERDAY = TODAY - DAY
MINUTE = 60


def settings(fake: GcpMonitoring, meter: str = "machines", **changes: Any) -> Settings:
    options = {"project": "acme-prod", "meter": meter, **changes.pop("options", {})}
    chosen = {"options": options, "timeout_seconds": 5, **changes}
    return Settings("gpus", Secret(), base_url=fake.url, **chosen)


def minutes(since: int, count: int, value: float) -> list[tuple[int, float]]:
    return [(since + (n + 1) * MINUTE, value) for n in range(count)]


def machine(
    fake: GcpMonitoring, name: str, kind: str, *samples: tuple[int, float],
    zone: str = "us-central1-a",
) -> None:  # fmt: skip
    where = {"project_id": "acme-prod", "zone": zone, "instance_id": name}
    fake.add(
        UPTIME.metric, "gce_instance", where, {"instance_name": name}, *samples,
        system={"machine_type": kind}, double=True,
    )  # fmt: skip


def container(
    fake: GcpMonitoring, pod: str, requested: list[tuple[int, float]],
    busy: list[tuple[int, float]] | None = None, *, namespace: str = "search",
    model: str = "nvidia-h100-80gb", resource: str = "nvidia.com/gpu", cards: int = 1,
) -> None:  # fmt: skip
    where = {
        "project_id": "acme-prod", "location": "us-central1-b", "cluster_name": "c1",
        "namespace_name": namespace, "pod_name": pod, "container_name": "main",
    }  # fmt: skip
    fake.add(REQUESTED.metric, "k8s_container", where, {"resource_name": resource}, *requested)
    for number in range(cards if busy is not None else 0):
        labels = {"make": "nvidia", "accelerator_id": f"{pod}-{number}", "model": model}
        fake.add(BUSY.metric, "k8s_container", where, labels, *(busy or []))


@pytest.fixture
def fake() -> Iterator[GcpMonitoring]:
    with serving(GcpMonitoring()) as found:
        yield found


def read(fake: GcpMonitoring, meter: str = "machines", **changes: Any) -> list[Usage]:
    found = pages(make("gcp_gpu", settings(fake, meter, **changes)), YESTERDAY, TODAY + DAY)
    return [usage for page in found for usage in page.usages]


def test_machines_that_run_by_their_type(fake: GcpMonitoring) -> None:
    at = YESTERDAY + 5 * HOUR
    machine(fake, "vm-1", "a3-highgpu-8g", *minutes(at, 60, 60.0))
    machine(fake, "vm-2", "a3-highgpu-8g", *minutes(at, 15, 60.0))
    machine(fake, "vm-3", "a2-highgpu-1g", (at + 60, 20.5))
    machine(fake, "vm-4", "n2-standard-8", *minutes(at, 60, 60.0))
    machine(fake, "vm-5", "ct5lp-hightpu-4t", *minutes(at, 60, 60.0), zone="us-west4-a")
    found = {usage.labels.model: usage for usage in read(fake)}
    assert {model: usage.quantities["gpu_ms"] for model, usage in found.items()} == {
        "H100-80GB": 8 * 75 * 60_000, "A100-40GB": 20_500, "tpu-ct5lp": 4 * 3_600_000,
    }  # fmt: skip
    labels = found["H100-80GB"].labels
    assert (labels.provider, labels.category, labels.region, labels.service) == (
        "gcp", "gpu_compute", "us-central1", "a3-highgpu-8g",
    )  # fmt: skip
    assert (labels.tenant_id, labels.project, labels.operation) == (
        "unattributed", "acme-prod", "on_demand",
    )  # fmt: skip
    assert found["tpu-ct5lp"].labels.region == "us-west4"


def test_they_are_priced_from_the_list_and_tpus_are_not(
    tmp_path: Path, fake: GcpMonitoring
) -> None:
    at = YESTERDAY + 5 * HOUR
    machine(fake, "vm-1", "a3-highgpu-8g", *minutes(at, 45, 60.0))
    machine(fake, "vm-5", "ct5lp-hightpu-4t", *minutes(at, 60, 60.0), zone="us-west4-a")
    with running(tmp_path, "gcp_gpu", settings(fake)) as rig:
        assert rig.poll() == "2 new"
        # 88.49 USD an hour for the machine, for three quarters of one.
        assert rig.cost() == 88_490_000_000 * 45 // 60
        assert rig.booked("gpu_ms") == (8 * 45 + 4 * 60) * 60_000
        assert rig.poll() == "2 same"
        fake.series[0].samples += minutes(at + 45 * MINUTE, 15, 60.0)
        rig.poll()
        assert rig.cost() == 88_490_000_000
        del fake.series[0].samples[30:]
        rig.poll()
        assert rig.cost() == 88_490_000_000 // 2
        del fake.series[1:]
        assert "1 gone" in rig.poll()
        assert rig.booked("gpu_ms") == 8 * 30 * 60_000


def test_containers_are_whose_namespace_they_are_in(tmp_path: Path, fake: GcpMonitoring) -> None:
    at = YESTERDAY + 2 * HOUR
    container(fake, "a", minutes(at, 60, 2), minutes(at, 60, 50), cards=2)
    container(fake, "b", minutes(at + 30 * MINUTE, 60, 1), minutes(at + 30 * MINUTE, 60, 100))
    container(fake, "c", minutes(at, 10, 1), minutes(at, 10, 0), namespace="ads")
    rules = (
        OwnerRule(api_key="c1/search", tenant_id="acme", team="search"),
        OwnerRule(project="acme-*", tenant_id="rest"),
    )
    found = read(fake, "containers", owners=rules)
    said = [
        ((u.at_ms // 1000 - at) // HOUR, u.labels.tenant_id, u.quantities["gpu_ms"] // 60_000)
        for u in found
    ]
    assert said == [(0, "rest", 10), (0, "acme", 2 * 60 + 30), (1, "acme", 30)]
    assert {u.labels.model for u in found} == {"H100-80GB"}
    assert '"busy_ms": 5400000' in found[1].detail  # 2 x 60 minutes by half, and 30 in full
    with running(tmp_path, "gcp_gpu", settings(fake, "containers")) as rig:
        rig.poll()
        # One price of the card in the region: 88.49 USD for eight, each piece rounded once.
        pieces = [Fraction(88_490_000_000 * n, 8 * 60) for n in (10, 150, 30)]
        assert rig.cost() == sum(round(piece) for piece in pieces)


def test_containers_whose_card_nobody_names(fake: GcpMonitoring) -> None:
    at = YESTERDAY + 2 * HOUR
    container(fake, "shared", minutes(at, 60, 1))
    container(fake, "tpu", minutes(at, 60, 4), resource="google.com/tpu", namespace="train")
    assert [(u.labels.model, u.quantities["gpu_ms"]) for u in read(fake, "containers")] == [
        ("nvidia.com/gpu", 3_600_000), ("google.com/tpu", 4 * 3_600_000),
    ]  # fmt: skip
    named = read(fake, "containers", options={"gpu_model": "L4"})
    assert {u.labels.model for u in named} == {"L4"}
    assert all("busy_ms" not in u.detail for u in named)


def test_cards_that_the_agent_sees(fake: GcpMonitoring) -> None:
    at = YESTERDAY + 4 * HOUR
    for number in range(2):
        fake.add(
            SEEN.metric, "gce_instance",
            {"project_id": "acme-prod", "zone": "europe-west4-c", "instance_id": "7"},
            {"gpu_number": str(number), "model": "NVIDIA L4"}, *minutes(at, 60, 25.0), double=True,
        )  # fmt: skip
    (one,) = read(fake, "agent")
    assert (one.labels.model, one.labels.region) == ("L4", "europe-west4")
    assert one.quantities["gpu_ms"] == 2 * 3_600_000
    assert '"busy_ms": 1800000' in one.detail


@pytest.mark.parametrize(
    ("machine_type", "expected"),
    [
        ("a2-highgpu-4g", ("A100-40GB", 4)),
        ("a2-megagpu-16g", ("A100-40GB", 16)),
        ("a2-ultragpu-8g", ("A100-80GB", 8)),
        ("a3-megagpu-8g", ("H100-80GB", 8)),
        ("a3-ultragpu-8g", ("H200-141GB", 8)),
        ("a4-highgpu-8g", ("B200-180GB", 8)),
        ("g2-standard-24", ("L4", 2)),
        ("g2-standard-96", ("L4", 8)),
        ("g2-standard-7", None),
        ("n1-standard-8", None),
        ("a9-newgpu-8g", None),
        ("ct6e-hightpu-8t", ("tpu-ct6e", 8)),
        ("", None),
    ],
)
def test_what_a_machine_holds(machine_type: str, expected: tuple[str, int] | None) -> None:
    assert of_machine(machine_type) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("nvidia-tesla-a100", "A100-40GB"),
        ("nvidia-a100-80gb", "A100-80GB"),
        ("nvidia-h100-80gb", "H100-80GB"),
        ("nvidia-h100-mega-80gb", "H100-80GB"),
        ("nvidia-h200-141gb", "H200-141GB"),
        ("nvidia-l4", "L4"),
        ("nvidia-tesla-t4", "T4"),
        ("NVIDIA A100-SXM4-40GB", "A100-40GB"),
        ("tpu-v5-lite-podslice", "tpu-v5-lite-podslice"),
        ("", ""),
    ],
)
def test_cards_by_one_name(name: str, expected: str) -> None:
    assert card(name) == expected


def test_regions_of_zones() -> None:
    assert region_of("us-central1-a") == "us-central1"
    assert region_of("northamerica-northeast2") == "northamerica-northeast2"
    assert region_of("global") == "global"


def test_a_machine_that_ran_for_longer_than_the_hour(fake: GcpMonitoring) -> None:
    machine(fake, "vm", "a2-highgpu-1g", (YESTERDAY + MINUTE, 4_000.0))
    with pytest.raises(SourceError, match="more than the hour"):
        read(fake)


FAULTS: dict[str, tuple[list[Fault], str | None]] = {
    "unavailable once": ([Fault(grpc.StatusCode.UNAVAILABLE)], None),
    "exhausted": ([Fault(grpc.StatusCode.RESOURCE_EXHAUSTED, retry_seconds=2)], None),
    "unavailable for long": ([Fault(grpc.StatusCode.UNAVAILABLE)] * 4, "server"),
    "denied": ([Fault(grpc.StatusCode.PERMISSION_DENIED)], "credentials"),
    "no protobuf": ([Fault(raw=b"\x0a\xff\xff")] * 4, "malformed"),
}


@pytest.mark.parametrize("meter", ["machines", "containers", "agent"])
def test_faults(tmp_path: Path, fake: GcpMonitoring, meter: str) -> None:
    at = YESTERDAY + HOUR
    machine(fake, "vm", "g2-standard-4", *minutes(at, 60, 60.0))
    container(fake, "pod", minutes(at, 60, 1), minutes(at, 60, 30), model="nvidia-l4")
    fake.add(
        SEEN.metric, "gce_instance", {"zone": "us-central1-a", "instance_id": "1"},
        {"gpu_number": "0", "model": "L4"}, *minutes(at, 60, 30.0), double=True,
    )  # fmt: skip
    fake.page_size = 1
    with running(tmp_path, "gcp_gpu", settings(fake, meter)) as rig:
        for fault, (answers, reason) in FAULTS.items():
            fake.faults.extend(answers)
            said = rig.poll()
            if reason is None:
                assert "failed" not in said, fault
            else:
                assert said.startswith(f"failed: {reason}"), (fault, said)
                rig.ledger.clock.advance(minutes=1)
                assert "failed" not in rig.poll(), fault
            assert rig.booked("gpu_ms") == 3_600_000, fault


def test_spot_machines_have_their_own_price(tmp_path: Path, fake: GcpMonitoring) -> None:
    machine(fake, "vm", "a3-highgpu-8g", *minutes(YESTERDAY, 60, 60.0))
    with running(tmp_path, "gcp_gpu", settings(fake, options={"purchase": "spot"})) as rig:
        rig.poll()
        assert rig.cost() == 53.09 * NANO_PER_USD


def test_mistakes(fake: GcpMonitoring) -> None:
    with pytest.raises(ValueError, match="option meter=nodes is none of machines, containers"):
        make("gcp_gpu", settings(fake, "nodes"))
