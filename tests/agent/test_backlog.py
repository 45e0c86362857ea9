"""A spool of two days arrives at once, is cut off in the middle, and comes a second time."""

from __future__ import annotations

import random
import shutil
import time
from contextlib import closing
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest

from agent.conftest import Node, Program
from costmeter.agent.spool import Spool
from costmeter.agent.wire import segment_line
from costmeter.clock import SystemClock
from costmeter.ledger.gpu_spend import gpu_spend
from costmeter.ledger.store import open_for_reading
from costmeter.ledger.verify import verify
from costmeter.model import GPU_TIME_CLASSES
from costmeter.segment import Owner, Placement, Segment, Share
from costmeter.tally import Tally

MINUTE, HOUR = 60_000, 3_600_000
HOURS, GPUS = 48, ("GPU-a", "GPU-b", "GPU-c")
USD_PER_HOUR = "2.99"
PLACE = Placement("onprem", region="here", instance_type="box", node="n1")
PRICES = (
    "prices:\n"
    "  - {provider: onprem, model: H100, source: test, purchase: on_demand, "
    f"usd_per_hour: {{gpu: '{USD_PER_HOUR}'}}}}\n"
)


def share_of(rng: random.Random, state: str, length_ms: int) -> Share:
    if state in ("unallocated_ms", "unobserved_ms"):
        return Share(**{state: length_ms})
    owner = Owner(tenant_id=rng.choice(("acme", "bolt")), team=rng.choice(("x", "y")))
    return Share(owner, **{state: length_ms})


def two_days(first_ms: int) -> list[Segment]:
    """Every minute of every GPU, shared by owners and states that change all the time."""
    rng = random.Random(7)
    states = ("used_ms", "idle_ms", "unallocated_ms", "unobserved_ms")
    segments = []
    for minute in range(HOURS * 60):
        for uuid in GPUS:
            cuts = sorted(rng.randrange(1, MINUTE) for _ in range(rng.randrange(4)))
            shares = tuple(
                share_of(rng, rng.choice(states), end - begin)
                for begin, end in pairwise([0, *cuts, MINUTE])
                if end > begin
            )
            start = first_ms + minute * MINUTE
            segments.append(
                Segment("run", len(segments), start, MINUTE, uuid, "H100", PLACE, shares)
            )
    return segments


def left(folder: Path) -> list[Path]:
    return list((folder / "costmeter-agent").glob("*.spool"))


def forwarder(node: Node, server: Program) -> Program:
    """An agent on a node whose driver is gone: it has nothing to add, and sends what waits."""
    file = node.folder / "agent.yml"
    file.write_text(
        f"forward: {{url: 'http://127.0.0.1:{server.port}', interval_seconds: 1}}\n"
        "gpu: {owners: configured}\n"
    )
    made = Program(["agent", "--config.file", str(file)], node.folder)
    node.programs.append(made)
    return made.start()


@pytest.mark.slow
def test_two_days_at_once_are_booked_exactly_once(node: Node) -> None:
    now_ms = round(time.time() * 1000)
    segments = two_days(now_ms - now_ms % HOUR - HOURS * HOUR)
    waiting = Spool(node.folder / "costmeter-agent", 64 << 20, SystemClock(), Tally())
    for at in range(0, len(segments), 500):
        waiting.append([segment_line(one) for one in segments[at : at + 500]])
    waiting.close()
    shutil.copytree(node.folder / "costmeter-agent", node.folder / "again")
    (node.folder / "prices.yml").write_text(PRICES)

    server = node.server("gpu: {enabled: false}\nprices: {files: [prices.yml]}\n")
    agent = forwarder(node, server)
    agent.wait('costmeter_agent_segments_forwarded_total{outcome="accepted"}', 500, 40)
    assert left(node.folder), "the server is killed in the middle"
    server.kill()
    server.start()
    agent.until(lambda: len(left(node.folder)), lambda count: count == 0, "the spool", 90)
    assert agent.stop() == 0

    # The agent's disk is restored from a backup: everything is sent a second time.
    shutil.copytree(node.folder / "again", node.folder / "costmeter-agent", dirs_exist_ok=True)
    agent.start()
    agent.until(lambda: len(left(node.folder)), lambda count: count == 0, "the spool again", 90)
    assert agent.stop() == 0
    assert server.stop() == 0
    check(node.folder / "costmeter-data/ledger.db", segments)


def check(path: Path, segments: list[Segment]) -> None:
    """By state to the millisecond, and in all to the nano; and the ledger agrees with itself."""
    with closing(open_for_reading(path)) as store:
        assert list(verify(store)) == []
        (found,) = gpu_spend(store.connection, [])
        by_owner = gpu_spend(store.connection, ["tenant_id", "team"])
        longest = store.connection.execute("SELECT max(quantity) FROM accrual").fetchone()[0]
    assert found.net == Fraction(USD_PER_HOUR) * 10**9 * HOURS * len(GPUS)
    assert sum(one.net for one in by_owner) == found.net
    booked = {name: found.pieces.get(name, 0) for name in GPU_TIME_CLASSES}
    sent = dict.fromkeys(GPU_TIME_CLASSES, 0)
    for segment in segments:
        for share in segment.shares:
            sent["gpu_ms"] += share.used_ms
            sent["gpu_idle_ms"] += share.idle_ms
            sent["gpu_unallocated_ms"] += share.unallocated_ms
            sent["gpu_unobserved_ms"] += share.unobserved_ms
    assert booked == sent
    assert longest == HOUR
