"""Counters of inference servers through the poller and the ledger: nothing lost, nothing twice."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from costmeter.sources.contract import Settings
from costmeter.sources.secret import Secret
from fakes.clock import FakeClock
from fakes.reports import Fault, Reports, serving
from sources.rig import NOW, Rig, running


class Server(Reports):
    """Anything with a /metrics."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""

    def allowed(self, headers: Mapping[str, str]) -> bool:
        return "authorization" not in headers

    def route(self, path: str, query: Any) -> Any:
        return self.text

    def vllm(
        self, prompt: int, cached: int, output: int, requests: int, started: float = 0
    ) -> None:
        at = '{model_name="llama",engine="0"}'
        self.text = (
            f"vllm:prompt_tokens_total{at} {float(prompt)!r}\n"
            f"vllm:prompt_tokens_cached_total{at} {float(cached)!r}\n"
            f"vllm:generation_tokens_total{at} {float(output)!r}\n"
            f'vllm:request_success_total{{model_name="llama",finished_reason="stop"}} {requests}\n'
        )
        if started:
            self.text += f"process_start_time_seconds {started!r}\n"


@pytest.fixture
def fake() -> Iterator[Server]:
    with serving(Server()) as found:
        assert isinstance(found, Server)
        yield found


def settings(fake: Reports, **options: str) -> Settings:
    return Settings("own", Secret(), base_url=fake.url, options=options, timeout_seconds=0.5)


def totals(rig: Rig) -> tuple[int, ...]:
    return tuple(rig.booked(name) for name in ("input", "cache_read", "output", "requests"))


def test_growth_resets_hours_and_the_same_poll_twice(tmp_path: Path, fake: Server) -> None:
    with running(tmp_path, "inference", settings(fake)) as rig:
        fake.vllm(1_000, 400, 50, 9)
        rig.poll()
        assert totals(rig) == (0, 0, 0, 0)  # where to begin
        fake.vllm(1_500, 600, 80, 11)
        assert rig.poll() == "1 new"
        assert rig.poll() == "1 same"
        assert totals(rig) == (300, 200, 30, 2)
        fake.vllm(100, 0, 7, 1)  # started anew
        assert rig.poll() == "1 restated"
        assert totals(rig) == (400, 200, 37, 3)
        rig.ledger.clock.advance(3_600)
        fake.vllm(110, 10, 8, 2)
        assert rig.poll() == "1 new"
        assert totals(rig) == (400, 210, 38, 4)


@pytest.mark.parametrize(
    ("faults", "said"),
    [
        ([Fault(status=500)] * 4, "server"),
        ([Fault(status=429, headers={"Retry-After": "300"})], "throttled"),
        ([Fault(cut=30)] * 4, "malformed"),
        ([Fault(body=b"vllm:prompt_tokens_total 1")], "malformed"),
        ([Fault(body=b"<html>\n")], "malformed"),
        ([Fault(status=403)], "credentials"),
    ],
)
def test_faults_lose_nothing(tmp_path: Path, fake: Server, faults: list[Fault], said: str) -> None:
    with running(tmp_path, "inference", settings(fake)) as rig:
        fake.vllm(10, 0, 1, 1)
        rig.poll()
        fake.vllm(30, 5, 4, 2)
        fake.faults.extend(faults)
        assert rig.poll().startswith(f"failed: {said}")
        assert totals(rig) == (0, 0, 0, 0)
        assert rig.poll() == "1 new"
        assert totals(rig) == (15, 5, 3, 1)


def test_a_server_that_hangs(tmp_path: Path, fake: Server) -> None:
    gate = threading.Event()
    with running(tmp_path, "inference", settings(fake)) as rig:
        fake.vllm(10, 0, 1, 1)
        fake.faults.extend([Fault(gate=gate)] * 4)
        assert rig.poll().startswith("failed: timeout")
        gate.set()


def test_a_restart_goes_on_from_what_was_committed(tmp_path: Path, fake: Server) -> None:
    fake.vllm(10, 0, 1, 1)
    with running(tmp_path, "inference", settings(fake)) as rig:
        rig.poll()
        fake.vllm(20, 0, 2, 2)
        rig.poll()
    fake.vllm(35, 0, 3, 3)
    with running(tmp_path, "inference", settings(fake), clock=FakeClock(NOW * 1000)) as rig:
        assert rig.poll() == "1 restated"
        assert totals(rig) == (25, 0, 2, 2)


def test_a_restart_that_no_counter_shows(tmp_path: Path, fake: Server) -> None:
    with running(tmp_path, "inference", settings(fake)) as rig:
        fake.vllm(100, 0, 10, 1, started=1_000.25)
        rig.poll()
        fake.vllm(150, 50, 30, 2, started=2_000.5)
        rig.poll()
        assert totals(rig) == (100, 50, 30, 2)
        fake.vllm(160, 50, 31, 3, started=2_000.501)
        rig.poll()
        assert totals(rig) == (110, 50, 31, 3)


def test_another_model_name_or_address_counts_nothing_twice(tmp_path: Path, fake: Server) -> None:
    with running(tmp_path, "inference", settings(fake)) as rig:
        fake.vllm(100, 0, 10, 1)
        rig.poll()
        fake.vllm(130, 0, 20, 2)
        rig.poll()
    clock = FakeClock(NOW * 1000)
    with running(tmp_path, "inference", settings(fake, model="mine"), clock=clock) as rig:
        fake.vllm(135, 0, 22, 3)
        rig.poll()
        assert totals(rig) == (35, 0, 12, 2)
    clock = FakeClock(NOW * 1000)
    chosen = settings(fake, path="/metrics2")
    with running(tmp_path, "inference", chosen, clock=clock) as rig:
        fake.vllm(900, 0, 900, 90)
        rig.poll()  # where to begin, and what was booked stands
        fake.vllm(901, 0, 900, 90)
        rig.poll()
        assert totals(rig) == (36, 0, 12, 2)


SGLANG = """
sglang:prompt_tokens_total{model_name="m",tp_rank="0"} %d
sglang:prompt_tokens_total{model_name="m",tp_rank="1"} %d
sglang:cached_tokens_total{model_name="m",cache_source="device"} %d
sglang:cached_tokens_total{model_name="m",cache_source="host"} 0
sglang:generation_tokens_total{model_name="m",tp_rank="0"} 0
sglang:num_requests_total{model_name="m",tp_rank="0"} 0
"""
TGI = """
tgi_request_input_length_sum %d
tgi_request_generated_tokens_sum %d
tgi_request_success{method="single"} %d
"""
OLDER = """
vllm:prompt_tokens_total{model_name="m"} %d
vllm:prefix_cache_hits_total{model_name="m"} %d
vllm:iteration_tokens_total_sum{model_name="m"} 7
"""


@pytest.mark.parametrize(
    ("text", "first", "second", "booked"),
    [
        (SGLANG, (0, 0, 0), (90, 90, 30), (60, 30, 0, 0)),
        (TGI, (5, 1, 1), (25, 4, 3), (20, 0, 3, 2)),
        (OLDER, (10, 10), (30, 15), (15, 5, 0, 0)),
    ],
)
def test_each_server(
    tmp_path: Path, fake: Server, text: str, first: Any, second: Any, booked: Any
) -> None:
    with running(tmp_path, "inference", settings(fake)) as rig:
        fake.text = text % first
        rig.poll()
        fake.text = text % second
        rig.poll()
        assert totals(rig) == booked


def test_a_crash_between_scrape_and_commit(tmp_path: Path, fake: Server) -> None:
    with running(tmp_path, "inference", settings(fake)) as rig:
        fake.vllm(10, 0, 1, 1)
        rig.poll()
        fake.vllm(25, 0, 2, 2)
        # What the poll would keep cannot be written: its records go with it.
        ledger = rig.ledger.store.connection
        ledger.execute(
            "CREATE TRIGGER full BEFORE INSERT ON state WHEN new.kind = 'source' AND "
            "new.value LIKE '%25%' BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"
        )
        assert rig.poll().startswith("failed")
        assert totals(rig) == (0, 0, 0, 0)
        ledger.execute("DROP TRIGGER full")
        fake.vllm(26, 0, 2, 2)
        assert rig.poll() == "1 new"
        assert totals(rig) == (16, 0, 1, 1)
