from __future__ import annotations

import pytest

from benchmarks.bench_scrape import CHANGES, Server, samples


@pytest.mark.parametrize("peer", ["counter", "collector"])
def test_ours_and_prometheus_clients_server_say_the_same(peer: str) -> None:
    """Over real HTTP with gzip, after each way to change 3,000 series in 12 chunks."""
    with Server("ours", 3_000) as ours, Server(peer, 3_000) as theirs:
        before = samples(ours.scrape()[1])
        assert len(before) == 3_000
        assert before == samples(theirs.scrape()[1])
        for change in CHANGES:
            ours.tell(change)
            theirs.tell(change)
            after = samples(ours.scrape()[1])
            assert after == pytest.approx(samples(theirs.scrape()[1]), rel=1e-12)
            moved = sum(after[key] > before[key] for key in before)
            assert moved == {"all": 3_000, "near": 30, "far": 30, "none": 0}[change]
            before = after
