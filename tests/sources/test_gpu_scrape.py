"""GPU time from scrapes through the poller and the ledger."""

from __future__ import annotations

import json
from pathlib import Path

from costmeter.sources.contract import OwnerRule, Settings
from costmeter.sources.secret import Secret
from fakes.clock import FakeClock
from fakes.reports import Fault, serving
from sources.rig import NOW, running
from sources.test_inference import Server

DCGM = (
    'DCGM_FI_DEV_SM_CLOCK{gpu="0",UUID="GPU-a",modelName="NVIDIA L4",'
    'namespace="search",pod="p-1"} 210\n'
    'DCGM_FI_DEV_GPU_UTIL{gpu="0",UUID="GPU-a",modelName="NVIDIA L4",'
    'namespace="search",pod="p-1"} 5\n'
)


def test_time_between_scrapes_gaps_faults_and_a_restart(tmp_path: Path) -> None:
    with serving(Server()) as fake:
        assert isinstance(fake, Server)
        fake.text = DCGM
        rules = (OwnerRule(project="search", tenant_id="acme"),)
        chosen = Settings("gpus", Secret(), base_url=fake.url, owners=rules)
        with running(tmp_path, "gpu_scrape", chosen) as rig:
            rig.poll()
            assert rig.booked("gpu_ms") == 0
            rig.ledger.clock.advance(60)
            assert rig.poll() == "1 new"
            assert rig.poll() == "1 same"
            fake.faults.append(Fault(body=b"<html>\n"))
            rig.ledger.clock.advance(60)
            assert rig.poll().startswith("failed: malformed")
            rig.ledger.clock.advance(60)
            rig.poll()
            assert rig.booked("gpu_ms") == 180_000
            rig.ledger.clock.advance(181)  # nobody saw it
            rig.poll()
            assert rig.booked("gpu_ms") == 180_000
        with running(
            tmp_path, "gpu_scrape", chosen, clock=FakeClock((NOW + 361 + 60) * 1000)
        ) as rig:
            rig.poll()
            assert rig.booked("gpu_ms") == 240_000


def test_an_hour_is_never_more_than_an_hour(tmp_path: Path) -> None:
    with serving(Server()) as fake:
        assert isinstance(fake, Server)
        fake.text = 'nvidia_smi_gpu_info{uuid="a",name="NVIDIA L40S"} 1\n'
        chosen = Settings("gpus", Secret(), base_url=fake.url)
        with running(tmp_path, "gpu_scrape", chosen) as rig:
            rig.poll()
            for _ in range(40):
                rig.ledger.clock.advance(170)
                rig.poll()
            assert rig.booked("gpu_ms") == 40 * 170_000
            rows = rig.ledger.store.connection.execute(
                "SELECT value FROM state WHERE kind = 'polled:gpus:gpu'"
            )
            hours = [
                sum(piece.get("gpu_ms", 0) for piece in json.loads(row[0])["pieces"])
                or json.loads(row[0]).get("observed", {}).get("gpu_ms", 0)
                for row in rows
            ]
            assert len(hours) == 3
            assert max(hours) == 3_600_000


def test_a_name_that_another_kind_had(tmp_path: Path) -> None:
    with serving(Server()) as fake:
        assert isinstance(fake, Server)
        chosen = Settings("own", Secret(), base_url=fake.url)
        fake.vllm(1, 0, 1, 1)
        with running(tmp_path, "inference", chosen) as rig:
            rig.poll()
        fake.text = DCGM
        with running(tmp_path, "gpu_scrape", chosen, clock=FakeClock(NOW * 1000)) as rig:
            assert rig.poll() == "nothing there"
            rig.ledger.clock.advance(60)
            assert rig.poll() == "1 new"


def test_a_card_that_changes_hands_or_has_several(tmp_path: Path) -> None:
    with serving(Server()) as fake:
        assert isinstance(fake, Server)
        chosen = Settings("gpus", Secret(), base_url=fake.url)
        fake.text = DCGM + DCGM.replace("p-1", "p-2")
        with running(tmp_path, "gpu_scrape", chosen) as rig:
            rig.poll()
            rig.ledger.clock.advance(60)
            fake.text = DCGM.replace("search", "chat").replace("p-1", "p-3")
            rig.poll()
            rig.ledger.clock.advance(30)
            rig.poll()
            assert rig.booked("gpu_ms") == 90_000
            details = rig.ledger.store.connection.execute("SELECT detail FROM usage_event")
            assert rig.ledger.store.connection.execute(
                "SELECT DISTINCT resource, sum(quantity) FROM accrual"
            ).fetchall() == [("GPU-a", 90_000)]
            pods = [json.loads(row[0])["pod"] for row in details]
            assert sorted(pods) == ["p-1", "p-3"]
