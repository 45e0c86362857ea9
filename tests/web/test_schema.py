"""The described API against the real one: schemathesis makes up what may be sent."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings

from costmeter.ingest.openapi import description
from fakes.clock import FakeClock
from fakes.served import Rig, serving

ROUTES = ("/api/v1/usage", "/api/v1/corrections")
SCHEMA = schemathesis.openapi.from_dict(description("0", 10_000))


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with serving(Rig(clock=FakeClock(time.time_ns() // 1_000_000))) as rig:
        yield rig


@pytest.mark.slow
@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode))
def test_the_server_keeps_to_its_description(
    rig: Rig, path: str, mode: schemathesis.GenerationMode
) -> None:
    operation = SCHEMA[path]["POST"]
    statuses: list[int] = []

    @settings(
        max_examples=250,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def send(case: schemathesis.Case) -> None:
        answer = case.call(base_url=f"http://127.0.0.1:{rig.port}")
        statuses.append(answer.status_code)
        assert answer.status_code < 500
        operation.validate_response(answer)

    send()
    assert len(statuses) >= 200
    assert 200 in statuses
