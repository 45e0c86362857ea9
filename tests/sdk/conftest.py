"""Servers and meters that end with their test."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from costmeter import Meter
from fakes.exporter import Exporter
from sdk.collector import Collector


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the machine that runs the tests has set."""
    for name in [name for name in os.environ if name.startswith("COSTMETER_")]:
        if name != "COSTMETER_DATA":
            monkeypatch.delenv(name)


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        yield server


@pytest.fixture
def exporter(tmp_path: Path) -> Iterator[Exporter]:
    with Exporter(tmp_path / "exporter") as process:
        yield process.start()


@pytest.fixture
def meter_for() -> Iterator[Callable[..., Meter]]:
    """Makes meters with little patience, so that a test need not have more."""
    made: list[Meter] = []

    def make(url: str, **settings: Any) -> Meter:
        quick = {"linger_seconds": 0.02, "max_backoff_seconds": 0.1, "timeout_seconds": 5.0}
        made.append(Meter(url, **{**quick, **settings}))
        return made[-1]

    yield make
    for meter in made:
        meter.close(0.2)
