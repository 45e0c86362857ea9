"""Agent and server killed at any moment: nothing is lost and nothing is booked twice."""

from __future__ import annotations

import contextlib
import json
import random
import sqlite3
import time

import pytest

from agent.conftest import Node

_CLASSES = ("gpu_ms", "gpu_idle_ms", "gpu_unallocated_ms", "gpu_unobserved_ms")


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_every_second_is_booked_exactly_once_through_kills(node: Node, seed: int) -> None:
    chance = random.Random(seed)
    server = node.server()
    agent = node.agent(
        "gpu: {owners: configured, tenant_id: acme, segment_seconds: 1}\n"
        f"forward: {{url: 'http://127.0.0.1:{server.port}', interval_seconds: 1}}\n"
    )
    accepted = 'costmeter_agent_segments_forwarded_total{outcome="accepted"}'
    agent.wait(accepted, 1)
    for _ in range(5):
        time.sleep(chance.uniform(0.2, 1.6))
        victim = chance.choice((agent, server))
        victim.kill()
        time.sleep(chance.uniform(0, 0.4))
        victim.start()
    agent.wait(accepted, 1, 40)
    # What is left is sent once more at the end, and a server that was just started answers then.
    server.wait("costmeter_ledger_up", 1, 40)
    assert agent.stop() == 0
    assert list((node.folder / "costmeter-agent").glob("*.spool")) == []
    assert server.stop() == 0

    for uuid, pieces in _booked(node).items():
        # Each piece begins where the one before it ends: by the millisecond where one
        # process cut both, and within the clock's own tolerance over a restart.
        ends = [start + length for start, length in pieces]
        gaps = [start - end for (start, _), end in zip(pieces[1:], ends, strict=False)]
        assert max(map(abs, gaps), default=0) <= 5, (uuid, gaps)
        assert sum(length for _, length in pieces) >= 5_000
    assert len(_booked(node)) == 2


def _booked(node: Node) -> dict[str, list[tuple[int, int]]]:
    """By GPU: start and length of each booked segment, in the order of time."""
    found: dict[str, dict[str, tuple[int, int]]] = {}
    with contextlib.closing(sqlite3.connect(node.folder / "costmeter-data/ledger.db")) as ledger:
        rows = ledger.execute("SELECT * FROM usage_event")
        names = [column[0] for column in rows.description]
        for values in rows:
            row = dict(zip(names, values, strict=True))
            _, uuid, _, _ = row["id"].split("/")
            key = row["id"].rpartition("/")[0]
            quantities = json.loads(row["quantities"])
            length = sum(quantities.get(name, 0) for name in _CLASSES)
            start, before = found.setdefault(uuid, {}).get(key, (row["at_ms"], 0))
            found[uuid][key] = (start, before + length)
    return {uuid: sorted(pieces.values()) for uuid, pieces in found.items()}
