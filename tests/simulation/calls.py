"""The calls of a workload as bodies for the exporter, drawn from a seed.

A workload's calls are drawn from a few hundred patterns that are encoded once: a month has a
third of a million calls, and only their number and instant differ then.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import msgspec

from costmeter.model import MS_PER_HOUR
from simulation.scenario import Scenario
from simulation.workloads import Workload, rate

_PATTERNS = 300


class Caller:
    """One workload's stream of calls; the same seed gives the same stream."""

    def __init__(self, number: int, workload: Workload, scenario: Scenario) -> None:
        self.workload = workload
        self._scenario = scenario
        self._number = number
        self._made = 0
        self._pick = random.Random(f"{scenario.seed}/{number}/{workload.model}")
        self._patterns = [self._pattern() for _ in range(_PATTERNS)]

    def between(self, from_ms: int, to_ms: int) -> list[bytes]:
        """The calls of [from, to) as JSON objects, in order."""
        expected = (
            rate(self.workload, from_ms, self._scenario.start_ms, self._scenario.end_ms)
            * self._scenario.density
            * (to_ms - from_ms)
            / MS_PER_HOUR
        )
        pick = self._pick
        times = sorted(
            from_ms + int(pick.random() * (to_ms - from_ms)) for _ in range(poisson(pick, expected))
        )
        found = []
        for at_ms in times:
            self._made += 1
            pattern = self._patterns[int(pick.random() * _PATTERNS)]
            found.append(b'{"request_id":"%s","timestamp":%d,%s' % (self._id(), at_ms, pattern))
        return found

    def _id(self) -> bytes:
        return b"%d-%d" % (self._number, self._made)

    def _pattern(self) -> bytes:
        """A call without its number and instant, up to the closing brace."""
        workload, pick = self.workload, self._pick
        failed = pick.random() < workload.errors
        # One factor for the whole call: a long question has a long context, too. Its mean is 1.
        size = pick.lognormvariate(-0.08, 0.4) / self._scenario.density
        tokens = {
            name: max(1, round(middle * size * pick.lognormvariate(-0.02, 0.2)))
            for name, middle in workload.tokens.items()
        }
        if failed:
            # What was sent is counted; an answer never came.
            tokens = {"input": tokens["input"]}
        status = ("aborted" if pick.random() < 0.2 else "error") if failed else "ok"
        event = {
            "provider": workload.provider,
            "model": workload.model,
            "tenant_id": workload.tenant_id,
            "environment": workload.environment,
            "team": workload.team,
            "feature": workload.feature,
            "user_id": f"{workload.tenant_id}-{int(math.sqrt(pick.random() * 900)):02d}",
            "operation": "generation",
            "status": status,
            "latency_ms": round(workload.latency_ms * pick.lognormvariate(0, 0.4)),
            "tokens": tokens,
        }
        return msgspec.json.encode(event)[1:]


def body(events: Sequence[bytes]) -> bytes:
    """What is sent to /api/v1/usage."""
    return b'{"events":[' + b",".join(events) + b"]}"


def poisson(pick: random.Random, mean: float) -> int:
    """How many of a Poisson stream fall into a span in which `mean` are to be expected."""
    limit, found, product = math.exp(-mean), 0, pick.random()
    while product > limit:
        found += 1
        product *= pick.random()
    return found
