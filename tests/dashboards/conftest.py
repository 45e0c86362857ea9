"""A Prometheus on the simulated platform, shown by one process and by a pair."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

import pytest

from simulation import MONTH, TWO_DAYS, WEEK, Scenario, Shown, copied, kept


def _shown(scenario: Scenario, factory: pytest.TempPathFactory) -> Iterator[Shown]:
    built = copied(kept(scenario), factory.mktemp("history"))
    with built.prometheus() as prometheus:
        yield Shown(built, prometheus)


@pytest.fixture(scope="session")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    """A week and the days that it is compared with."""
    # The month takes many minutes; whoever wants the whole picture says so.
    scenario = MONTH if os.environ.get("COSTMETER_SIMULATION") == "month" else WEEK
    yield from _shown(scenario, tmp_path_factory)


@pytest.fixture(scope="session")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    """One exporter, restarted twice."""
    yield from _shown(TWO_DAYS, tmp_path_factory)


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    """The same days shown by two on one ledger; the second takes over after the first has gone."""
    yield from _shown(replace(TWO_DAYS, replicas=2), tmp_path_factory)
