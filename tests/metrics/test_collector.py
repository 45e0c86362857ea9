from __future__ import annotations

import logging
import platform

import pytest
from prometheus_client import CollectorRegistry, Gauge

from costmeter import __version__
from costmeter.metrics.catalog import CATALOG
from costmeter.metrics.collector import (
    ContractError,
    OwnCollector,
    Samples,
    own_registry,
    snapshot_figures,
)
from costmeter.metrics.faults import FAILURES
from costmeter.tally import Tally
from metrics.pages import NOW_MS, full_snapshot, full_tally, of_source

ACCEPTED = "costmeter_events_accepted_total"


def values_of(collector: OwnCollector) -> dict[tuple[str, tuple[str, ...]], float]:
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in collector.collect()
        for sample in family.samples
    }


def test_every_own_family_is_collected() -> None:
    values = values_of(OwnCollector(full_tally(), strict=True))
    assert {name for name, _ in values} == {family.name for family in of_source("self")}
    for number, family in enumerate(of_source("self")):
        if family.name != "costmeter_build_info":
            labels = tuple(f"a {label}" for label in family.labels)
            assert values[family.name, labels] == number + 0.5


def test_build_info_says_what_runs() -> None:
    key = ("costmeter_build_info", (__version__, platform.python_version()))
    assert values_of(OwnCollector(Tally(), strict=True)) == {key: 1}


def test_gauges_are_read_at_each_scrape() -> None:
    queue = [3.0]
    collector = OwnCollector(
        Tally(), lambda: {"costmeter_ingest_queue_events": {(): queue[0]}}, strict=True
    )
    assert values_of(collector)["costmeter_ingest_queue_events", ()] == 3
    queue[0] = 4
    assert values_of(collector)["costmeter_ingest_queue_events", ()] == 4


@pytest.mark.parametrize(
    ("name", "labels", "words"),
    [
        (ACCEPTED, (), "takes the labels feed and was given"),
        (ACCEPTED, ("feed-1", "extra"), "takes the labels feed and was given"),
        ("costmeter_ledger_up", ("extra",), "takes the labels none and was given"),
        ("costmeter_no_such_total", (), "is not one of the exporter's own families"),
        ("llm_cost_total", ("a", "b", "c", "d", "e"), "is not one of the exporter's own families"),
    ],
)
def test_what_the_catalog_does_not_know(
    name: str, labels: tuple[str, ...], words: str, caplog: pytest.LogCaptureFixture
) -> None:
    tally = Tally()
    tally.add(ACCEPTED, "feed-2")
    tally.add(name, *labels)
    with pytest.raises(ContractError, match=f"^{name} {words}"):
        values_of(OwnCollector(tally, strict=True))
    collector = OwnCollector(tally)
    with caplog.at_level(logging.ERROR):
        for _ in range(2):
            values = values_of(collector)
            assert values[ACCEPTED, ("feed-2",)] == 1
            assert (name, labels) not in values
    assert [record.getMessage().startswith(name) for record in caplog.records] == [True]
    assert values_of(collector)[FAILURES, (name,)] == 2


def test_failing_gauges_leave_the_counters() -> None:
    def gauges() -> dict[str, dict[tuple[str, ...], float]]:
        raise OSError("the disk is gone")

    tally = Tally()
    tally.add(ACCEPTED, "feed-1", by=5)
    collector = OwnCollector(tally, gauges)
    assert values_of(collector)[ACCEPTED, ("feed-1",)] == 5
    assert values_of(collector)[FAILURES, ("gauges",)] == 2
    with pytest.raises(OSError, match="the disk is gone"):
        values_of(OwnCollector(tally, gauges, strict=True))


def test_a_name_in_both_places_is_refused() -> None:
    tally = Tally()
    tally.set("costmeter_ledger_up", to=1)
    collector = OwnCollector(tally, lambda: {"costmeter_ledger_up": {(): 0}}, strict=True)
    with pytest.raises(ContractError, match="was given two values"):
        values_of(collector)


def test_samples_take_every_label_by_name_once() -> None:
    samples = Samples(CATALOG["costmeter_events_rejected_total"])
    samples.add(1, feed="a", reason="b")
    samples.add(2, reason="c", feed="a")
    with pytest.raises(ContractError, match=r"takes the labels feed, reason and was given feed$"):
        samples.add(3, feed="a")
    with pytest.raises(ContractError, match=r"was given feed, reason, tenant$"):
        samples.add(3, feed="a", reason="b", tenant="c")
    with pytest.raises(ContractError, match="was given two values"):
        samples.add(3, feed="a", reason="b")
    written = [(sample.labels, sample.value) for sample in samples.metric().samples]
    assert written == [({"feed": "a", "reason": "b"}, 1), ({"feed": "a", "reason": "c"}, 2)]


def test_a_registry_refuses_a_second_family_of_that_name() -> None:
    registry = CollectorRegistry()
    registry.register(OwnCollector(Tally()))
    with pytest.raises(ValueError, match="Duplicated timeseries"):
        Gauge("costmeter_ledger_up", "Mine.", registry=registry)


def test_own_registry_adds_the_process() -> None:
    registry = own_registry(Tally())
    names = {sample.name for family in registry.collect() for sample in family.samples}
    assert {"costmeter_build_info", "process_resident_memory_bytes"} <= names


def test_a_snapshot_speaks_of_itself() -> None:
    figures = snapshot_figures(full_snapshot(4), NOW_MS + 2_500)
    assert figures["costmeter_snapshot_age_seconds"] == {(): 2.5}
    assert figures["costmeter_ledger_epoch"] == {(): 3}
    assert figures["costmeter_series"]["llm_cost_total",] == 4
    assert snapshot_figures(None, NOW_MS) == {}
    assert values_of(OwnCollector(Tally(), lambda: figures, strict=True))
    # A wall clock that stepped back gives no negative age.
    early = snapshot_figures(full_snapshot(), NOW_MS - 5_000)
    assert early["costmeter_snapshot_age_seconds"] == {(): 0}
