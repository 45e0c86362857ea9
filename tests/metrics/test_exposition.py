from __future__ import annotations

import gzip
import logging
import shutil
import subprocess
import threading
from collections.abc import Iterable

import pytest
from prometheus_client import Gauge, Histogram
from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from costmeter.metrics.catalog import CATALOG
from costmeter.metrics.collector import OwnCollector, Samples, own_registry
from costmeter.metrics.exposition import SCRAPE_SECONDS, Exposition
from costmeter.metrics.faults import FAILURES
from costmeter.metrics.registry import GuardedRegistry
from costmeter.model import Snapshot
from costmeter.tally import Tally
from fakes.clock import FakeClock
from metrics.pages import (
    NOW_MS,
    OPENMETRICS,
    expected,
    full_snapshot,
    full_tally,
    header_of,
    of_source,
    page_of,
    parsed,
)


class Stage:
    """An exposition over one snapshot that a test may replace."""

    def __init__(self, registry: GuardedRegistry | None = None) -> None:
        self.clock = FakeClock(NOW_MS)
        self.tally = Tally()
        self.snapshot: Snapshot | None = full_snapshot()
        self.registry = registry or own_registry(self.tally)
        self.exposition = Exposition(
            lambda: self.snapshot, self.registry, self.clock, (), self.tally
        )

    def names(self, *wanted: str, accept: str = "") -> set[str]:
        page = page_of(self.exposition.respond(accept, "gzip", wanted))
        return {name for name, _ in parsed(page, as_openmetrics=bool(accept))}


class Broken:
    def collect(self) -> Iterable[Metric]:
        yield GaugeMetricFamily("half_done", "Written before the failure.", value=1)
        raise RuntimeError("the device is gone")


class Unwritable:
    def collect(self) -> Iterable[Metric]:
        family = GaugeMetricFamily("unwritable", "A value that is no number.")
        family.add_metric([], "many")  # type: ignore[arg-type]
        yield family


@pytest.mark.parametrize("encoding", ["", "gzip"])
@pytest.mark.parametrize("accept", ["", OPENMETRICS])
def test_ledger_and_own_families_share_a_page(accept: str, encoding: str) -> None:
    stage = Stage()
    stage.tally.add("costmeter_events_accepted_total", "feed-1", by=7)
    answer = stage.exposition.respond(accept, encoding)
    assert answer.status == 200
    assert header_of(answer, b"content-encoding") == encoding
    assert header_of(answer, b"content-length") == str(len(answer.body))
    assert header_of(answer, b"vary") == "accept, accept-encoding"
    assert header_of(answer, b"content-type") == (
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
        if accept
        else "text/plain; version=0.0.4; charset=utf-8"
    )
    page = page_of(answer)
    values = parsed(page, as_openmetrics=bool(accept))
    assert stage.snapshot
    for key, value in expected(stage.snapshot).items():
        assert values[key] == value
    assert values["costmeter_events_accepted_total", frozenset({("feed", "feed-1")})] == 7
    assert ("process_resident_memory_bytes", frozenset()) in values
    assert page.count(b"# EOF\n") == bool(accept)
    assert page.endswith(b"# EOF\n") is bool(accept)


def test_a_compressed_page_is_the_page() -> None:
    stage = Stage(GuardedRegistry())
    plain = stage.exposition.respond("", "gzip;q=0, identity").body
    assert gzip.decompress(stage.exposition.respond("", "gzip").body) == plain


def test_a_stale_snapshot_leaves_the_exporters_own_health() -> None:
    stage = Stage()
    stage.clock.advance(10)
    assert "llm_cost_total" in stage.names()
    stage.clock.advance(0.001)
    assert not {name for name in stage.names() if name.startswith("llm_")}
    assert {"costmeter_build_info", "process_cpu_seconds_total"} <= stage.names()
    stage.snapshot = None
    assert "costmeter_build_info" in stage.names()


@pytest.mark.parametrize("accept", ["", OPENMETRICS])
def test_names_filter_every_family(accept: str) -> None:
    stage = Stage()
    wanted = ("llm_cost_total", "costmeter_build_info", "process_cpu_seconds_total")
    assert stage.names(*wanted, accept=accept) == set(wanted)
    assert stage.names("llm_cost", "process_cpu_seconds", accept=accept) == {
        "llm_cost_total",
        "process_cpu_seconds_total",
    }
    assert stage.names("no_such_metric", accept=accept) == set()
    assert stage.names("", accept=accept) >= {"llm_cost_total", "costmeter_build_info"}


def test_names_pick_single_samples_of_a_histogram() -> None:
    registry = GuardedRegistry()
    Histogram("wait_seconds", "A histogram.", registry=registry).observe(1)
    Gauge("other", "Another family.", registry=registry).set(1)
    stage = Stage(registry)
    assert stage.names("wait_seconds_count") == {"wait_seconds_count"}
    # The filter is the one of prometheus_client's own server.
    theirs = registry.restricted_registry(["wait_seconds_count", "other"]).collect()
    assert stage.names("wait_seconds_count", "other") == {
        sample.name for family in theirs for sample in family.samples
    }


@pytest.mark.parametrize("accept", ["", OPENMETRICS])
def test_a_failing_collector_takes_only_itself_down(
    accept: str, caplog: pytest.LogCaptureFixture
) -> None:
    stage = Stage()
    stage.registry.register(Broken())
    stage.registry.register(Unwritable())
    Gauge("after_them", "Registered after the broken ones.", registry=stage.registry).set(1)
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            shown = stage.names(accept=accept)
            assert {"llm_cost_total", "costmeter_build_info", "after_them"} <= shown
            assert not {"half_done", "unwritable"} & shown
    assert stage.tally.read()[FAILURES] == {("Broken",): 3, ("Unwritable",): 3}
    assert [record.getMessage() for record in caplog.records] == [
        "Broken is missing from /metrics: the device is gone",
        caplog.records[1].getMessage(),
    ]
    assert caplog.records[1].getMessage().startswith("Unwritable is missing from /metrics: ")
    assert FAILURES in stage.names(accept=accept)


def test_an_unregistered_collector_is_gone() -> None:
    registry = GuardedRegistry()
    gauge = Gauge("passing", "Here and gone.", registry=registry)
    stage = Stage(registry)
    assert stage.names("passing") == {"passing"}
    registry.unregister(gauge)
    assert stage.names("passing") == set()


def test_the_time_of_a_scrape_is_shown_by_the_next() -> None:
    stage = Stage()
    assert SCRAPE_SECONDS not in stage.names()
    assert 0 < stage.tally.read()[SCRAPE_SECONDS][()] < 10
    assert SCRAPE_SECONDS in stage.names()


def test_concurrent_scrapes_all_get_the_page() -> None:
    stage = Stage(GuardedRegistry())
    bodies: list[bytes] = []

    def scrape() -> None:
        bodies.extend(page_of(stage.exposition.respond("", "gzip")) for _ in range(10))

    threads = [threading.Thread(target=scrape) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(bodies) == 40
    assert set(bodies) == {stage.exposition.respond("", "").body}


class EveryGpuFamily:
    def collect(self) -> Iterable[Metric]:
        for family in of_source("gpu"):
            samples = Samples(family)
            samples.add(1.5, **{label: f"a {label}" for label in family.labels})
            yield samples.metric()


@pytest.mark.parametrize("series", [2, 300])
def test_promtool_finds_nothing_to_say_about_any_family(series: int) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.fail("promtool is missing: install the package prometheus (Debian, Ubuntu)")
    registry = GuardedRegistry()
    registry.register(OwnCollector(full_tally(), strict=True))
    registry.register(EveryGpuFamily())
    exposition = Exposition(lambda: full_snapshot(series), registry, FakeClock(NOW_MS))
    # The one name that promtool dislikes: _count belongs to histograms, and this name is older
    # than this exporter.
    # The agent writes its page itself: tests/agent/test_page.py has the same question for it.
    shown = {name for name, family in CATALOG.items() if family.source != "agent"}
    names = shown - {"gpu_instance_count"}
    page = exposition.respond("", "", sorted(names)).body
    assert {name for name, _ in parsed(page)} == names
    ran = subprocess.run([promtool, "check", "metrics"], input=page, capture_output=True)
    assert (ran.stdout + ran.stderr).decode() == ""
    assert ran.returncode == 0
