"""Scrapes of other servers and of real exporters: SGLang, TGI, dcgm-exporter, and their faults."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from costmeter.sources.contract import OwnerRule, Settings, SourceError
from costmeter.sources.exposition import samples
from costmeter.sources.gpu_scrape import cards_of
from costmeter.sources.registry import make
from costmeter.sources.secret import Secret
from fakes.reports import Fault, serving
from sources.rig import Rig, running
from sources.test_gpu_scrape import DCGM
from sources.test_inference import Server, totals

DATA = Path(os.environ.get("COSTMETER_DATA", Path(__file__).parents[3] / "shared" / "data"))
SCRAPES = DATA / "prom" / "nvidia_gpu_exporter"


def sglang(prompt: int, cached: int, output: int, requests: int, rank: int = 0) -> str:
    at = f'{{model_name="qwen",tp_rank="{rank}",pp_rank="0"}}'
    return (
        f"sglang:prompt_tokens_total{at} {prompt}\nsglang:cached_tokens_total{at} {cached}\n"
        f"sglang:generation_tokens_total{at} {output}\nsglang:num_requests_total{at} {requests}\n"
    )


def tgi(prompt: int, output: int, requests: int) -> str:
    return (
        f"tgi_request_input_length_sum {prompt}\ntgi_request_input_length_count {requests}\n"
        f"tgi_request_generated_tokens_sum {output}\ntgi_request_success {requests}\n"
    )


def own(fake: Server, **options: str) -> Settings:
    return Settings("own", Secret(), base_url=fake.url, options=options, timeout_seconds=0.5)


@pytest.mark.parametrize("server", ["auto", "sglang"])
def test_sglang_counts_each_call_once_whatever_its_ranks(tmp_path: Path, server: str) -> None:
    with serving(Server()) as fake, running(tmp_path, "inference", own(fake, server=server)) as rig:
        assert isinstance(fake, Server)
        fake.text = sglang(100, 10, 5, 1) + sglang(100, 10, 5, 1, rank=1)
        rig.poll()
        fake.text = sglang(160, 30, 9, 3) + sglang(160, 30, 9, 3, rank=1)
        assert rig.poll() == "1 new"
        assert totals(rig) == (40, 20, 4, 2)


def test_tgi_has_no_cache_and_one_model(tmp_path: Path) -> None:
    with serving(Server()) as fake, running(tmp_path, "inference", own(fake, model="own")) as rig:
        assert isinstance(fake, Server)
        fake.text = tgi(10, 2, 1)
        rig.poll()
        fake.text = tgi(25, 6, 3)
        rig.poll()
        assert totals(rig) == (15, 0, 4, 2)
        rows = rig.ledger.store.connection.execute("SELECT DISTINCT model FROM dim").fetchall()
        assert rows == [("own",)]


def test_a_server_that_is_none_of_them(tmp_path: Path) -> None:
    with serving(Server()) as fake, running(tmp_path, "inference", own(fake)) as rig:
        assert isinstance(fake, Server)
        fake.text = "up 1\n"
        assert "no metrics of vLLM, SGLang or TGI; set option server" in rig.poll()
        fake.text = sglang(1, 0, 1, 1)
        rig.poll()
    chosen = own(fake, server="ollama")
    with pytest.raises(ValueError, match="server=ollama is none of auto, vllm, sglang, tgi"):
        make("inference", chosen)


FAULTS = [
    ([Fault(status=500)] * 4, "server"),
    ([Fault(status=429, headers={"Retry-After": "300"})], "throttled"),
    ([Fault(cut=30)] * 4, "malformed"),
    ([Fault(body=b"up 1\n")], "malformed"),
    ([Fault(status=403)], "credentials"),
]


@pytest.mark.parametrize(("faults", "said"), FAULTS, ids=[said for _, said in FAULTS])
def test_a_fault_leaves_the_cards_as_they_were(
    tmp_path: Path, faults: list[Fault], said: str
) -> None:
    with serving(Server()) as fake, running(tmp_path, "gpu_scrape", own(fake)) as rig:
        assert isinstance(fake, Server)
        fake.text = DCGM
        rig.poll()
        fake.faults.extend(faults)
        rig.ledger.clock.advance(60)
        assert rig.poll().startswith(f"failed: {said}")
        assert rig.booked("gpu_ms") == 0
        before = sum(rig.pauses)
        rig.ledger.clock.advance(60)
        rig.poll()
        # Pauses between tries have moved the clock, too; more than three intervals are a gap.
        assert rig.booked("gpu_ms") == (120 + before) * 1000


def test_a_scrape_that_hangs_ends_at_its_timeout(tmp_path: Path) -> None:
    gate = threading.Event()
    with serving(Server()) as fake, running(tmp_path, "gpu_scrape", own(fake)) as rig:
        assert isinstance(fake, Server)
        fake.text = DCGM
        fake.faults.extend([Fault(gate=gate)] * 4)
        assert rig.poll().startswith("failed: timeout")
        gate.set()


def test_a_card_is_priced_for_the_owner_of_its_namespace(tmp_path: Path) -> None:
    rules = (OwnerRule(project="search", tenant_id="acme", team="ranking"),)
    with serving(Server()) as fake:
        assert isinstance(fake, Server)
        chosen = Settings(
            "gpus", Secret(), base_url=fake.url, owners=rules,
            options={"provider": "aws", "region": "us-east-1", "machine_type": "g6.4xlarge"},
        )  # fmt: skip
        fake.text = DCGM
        with running(tmp_path, "gpu_scrape", chosen) as rig:
            _hour(rig)
            found = rig.ledger.store.connection.execute(
                "SELECT tenant_id, team, project, category, provider, model FROM dim"
            ).fetchall()
            assert found == [("acme", "ranking", "search", "gpu_compute", "aws", "L4")]
            # The list price of one hour of a g6.4xlarge, whose only card it is: sixty pieces
            # add up to it exactly.
            assert rig.cost() == 1_323_200_000


def _hour(rig: Rig) -> None:
    """Scrapes for sixty minutes."""
    for _ in range(61):
        rig.poll()
        rig.ledger.clock.advance(60)


@pytest.mark.real_data
@pytest.mark.skipif(not SCRAPES.exists(), reason=f"there is no {SCRAPES}; set COSTMETER_DATA")
def test_cards_of_real_scrapes() -> None:
    models = set()
    for path in sorted(SCRAPES.rglob("*")):
        if path.is_file():
            try:
                cards = cards_of(path.read_text("utf-8"))
            except SourceError:
                assert "nvidia_smi_gpu_info" not in path.read_text("utf-8"), path
                continue
            models |= {card.model for card in cards.values()}
    assert models == {"L40S", "NVIDIA GeForce RTX 4080 SUPER"}


def test_cards_of_made_up_scrapes() -> None:
    """The twin of the real ones."""
    text = (
        '# TYPE nvidia_smi_gpu_info gauge\nnvidia_smi_gpu_info{uuid="a",name="NVIDIA L40S"} 1\n'
        'nvidia_smi_gpu_info{uuid="b",name="NVIDIA GeForce RTX 4080 SUPER"} 1\n'
    )
    assert sorted(cards_of(text)) == ["a", "b"]
    assert len(list(samples(text))) == 2
