from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from costmeter.metrics.blocks import Block, joined
from costmeter.metrics.catalog import CATALOG, labels_of
from costmeter.metrics.faults import FAILURES, Faults
from costmeter.metrics.render import STALE_AFTER_MS, Renderer
from costmeter.model import Chunk, Release, Snapshot, Veil
from costmeter.tally import Tally
from metrics.pages import NOW_MS, Values, expected, full_snapshot, of_source, parsed, snapshot

COST = "llm_cost_total"
MINUTE_MS = 60_000


def series(count: int, start: int = 0) -> tuple[tuple[str, ...], ...]:
    return tuple(
        ("llm_api", "openai", f"model-{i}", "acme", "prod") for i in range(start, start + count)
    )


def page(
    renderer: Renderer,
    state: Snapshot | None,
    names: frozenset[str] | None = None,
    *,
    openmetrics: bool = False,
    now_ms: int = NOW_MS,
) -> bytes:
    text = joined(renderer.render(state, now_ms, names, openmetrics))
    return text + b"# EOF\n" if openmetrics else text


def cost_of(values: Values) -> list[float]:
    return [value for (name, _), value in values.items() if name == COST]


class FromSnapshot:
    """The same data through prometheus_client's own classes."""

    def __init__(self, state: Snapshot) -> None:
        self._values = expected(state)

    def collect(self) -> Iterator[Metric]:
        for family in of_source("ledger"):
            kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
            metric = kind(family.name, family.help, labels=family.labels)
            for (name, labels), value in self._values.items():
                if name == family.name:
                    metric.add_metric([dict(labels)[label] for label in family.labels], value)
            yield metric


@pytest.mark.parametrize("openmetrics", [False, True])
@pytest.mark.parametrize("count", [1, 300])
def test_every_family_equals_prometheus_clients_page(openmetrics: bool, count: int) -> None:
    state = full_snapshot(count)
    registry = CollectorRegistry()
    registry.register(FromSnapshot(state))
    theirs = generate_openmetrics(registry) if openmetrics else generate_latest(registry)
    ours = page(Renderer(()), state, openmetrics=openmetrics)
    assert parsed(ours, as_openmetrics=openmetrics) == parsed(theirs, as_openmetrics=openmetrics)
    comments = [line for line in theirs.splitlines() if line.startswith(b"#")]
    assert [line for line in ours.splitlines() if line.startswith(b"#")] == comments


@pytest.mark.parametrize("openmetrics", [False, True])
def test_many_chunks_and_one_say_the_same(openmetrics: bool) -> None:
    labels, values = series(500), tuple(1_000_000_001 * i for i in range(500))
    one = snapshot({COST: [Chunk(labels, values)]})
    two = snapshot({COST: [Chunk(labels[:256], values[:256]), Chunk(labels[256:], values[256:])]})
    pages = [page(Renderer(()), state, openmetrics=openmetrics) for state in (one, two)]
    plain, large = (parsed(text, as_openmetrics=openmetrics) for text in pages)
    assert plain == large == expected(one)
    assert b" 1.000000001\n" in pages[0]
    assert b" 1000000001e-9\n" in pages[1]


def test_extra_labels_follow_the_catalogs() -> None:
    extra = ("team", "feature")
    state = snapshot({COST: [Chunk((("llm_api", "a", "b", "c", "prod", "search", "x"),), (5,))]})
    assert parsed(page(Renderer(extra), state)) == expected(state, extra)
    assert labels_of(COST, extra)[-2:] == extra


def test_families_stand_in_catalog_order_and_series_in_chunk_order() -> None:
    state = full_snapshot(3)
    backwards = snapshot(dict(reversed(state.families.items())), scalars=state.scalars)
    assert page(Renderer(()), backwards) == page(Renderer(()), state)
    lines = page(Renderer(()), state).decode().splitlines()
    names = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert names == [family.name for family in of_source("ledger")]
    assert [line[-1] for line in lines if line.startswith("llm_budget_limit{")] == ["0", "1", "2"]


def test_a_family_without_series_is_left_out() -> None:
    state = snapshot({COST: [Chunk((), ())], "llm_cost_credit_total": []})
    assert page(Renderer(()), state) == b""


def test_negative_gauges_are_exact() -> None:
    state = snapshot({"llm_cost_day_to_date": [Chunk(series(2), (-1, -12_345_678_901))]})
    text = page(Renderer(()), state)
    assert text.endswith(b" -0.000000001\n" + text.splitlines()[-1] + b"\n")
    assert parsed(text) == expected(state)


def test_a_stale_snapshot_shows_nothing() -> None:
    renderer = Renderer(())
    state = full_snapshot()
    assert page(renderer, state, now_ms=NOW_MS + STALE_AFTER_MS)
    assert page(renderer, state, now_ms=NOW_MS + STALE_AFTER_MS + 1) == b""
    assert page(renderer, None) == b""
    assert parsed(page(renderer, state)) == expected(state)


def test_only_named_families_are_shown() -> None:
    renderer, state = Renderer(()), full_snapshot()
    wanted = frozenset({COST, "llm_requests", "llm_budget_monthly", "up"})
    shown = {name for name, _ in parsed(page(renderer, state, wanted))}
    assert shown == {COST, "llm_requests_total", "llm_budget_monthly"}
    assert page(renderer, state, frozenset({"up"})) == b""
    assert parsed(page(renderer, state)) == expected(state)


def test_what_did_not_change_is_the_same_object() -> None:
    renderer = Renderer(())
    labels = [series(256, 256 * i) for i in range(3)]
    chunks = [Chunk(names, tuple(range(256))) for names in labels]
    before = renderer.render(snapshot({COST: chunks}), NOW_MS, None, False)
    chunks[1] = Chunk(labels[1], tuple(range(1, 257)))
    after = renderer.render(snapshot({COST: chunks}), NOW_MS, None, True)
    assert [old is new for old, new in zip(before[1:], after[1:], strict=True)] == [
        True,
        False,
        True,
    ]


def test_entries_of_vanished_chunks_are_dropped() -> None:
    renderer = Renderer(())
    for turn in range(5):
        chunks = [Chunk(series(2, 100 * turn + 2 * i), (1, 2)) for i in range(3)]
        state = snapshot({COST: chunks})
        assert parsed(page(renderer, state)) == expected(state)
        assert len(renderer._kept[COST]) == 3
    page(renderer, snapshot({}))
    assert renderer._kept[COST] == {}


def test_a_growing_family_changes_its_form_not_its_values() -> None:
    renderer = Renderer(())
    first = Chunk(series(2), (1_500_000_000, 2))
    for chunks in ([first], [first, Chunk(series(2, 2), (3, 4))], [first]):
        state = snapshot({COST: chunks})
        assert parsed(page(renderer, state)) == expected(state)
        assert (b" 1.5\n" in page(renderer, state)) is (len(chunks) == 1)


def test_a_birth_hold_shows_the_value_before_it() -> None:
    renderer = Renderer(())
    veil = Veil(1, NOW_MS + 5 * MINUTE_MS, 0, ())
    chunk = Chunk(series(2), (7_000_000_000, 9_000_000_000), (veil,))
    shown = [
        cost_of(parsed(page(renderer, snapshot({COST: [chunk]}, clock_ms=NOW_MS + after))))
        for after in (0, MINUTE_MS, 5 * MINUTE_MS - 1, 5 * MINUTE_MS, 6 * MINUTE_MS)
    ]
    assert shown == [[7, 0], [7, 0], [7, 0], [7, 9], [7, 9]]


def test_a_late_amount_grows_with_the_release_clock() -> None:
    renderer = Renderer(())
    release = Release(8_000_000_000, NOW_MS, NOW_MS + 8 * MINUTE_MS)
    chunk = Chunk(series(1), (10_000_000_000,), (Veil(0, 0, 0, (release,)),))
    shown = [
        cost_of(parsed(page(renderer, snapshot({COST: [chunk]}, clock_ms=NOW_MS + minute))))
        for minute in range(0, 11 * MINUTE_MS, MINUTE_MS)
    ]
    assert shown == [[2], [3], [4], [5], [6], [7], [8], [9], [10], [10], [10]]


def test_a_veiled_chunk_is_rendered_again_only_when_it_moves() -> None:
    renderer = Renderer(())
    hold = NOW_MS + 5 * MINUTE_MS
    release = Release(10**9, hold, hold + 10 * MINUTE_MS)
    chunk = Chunk(series(1), (10**10,), (Veil(0, hold, 0, (release,)),))

    def block(after_ms: int) -> Block:
        state = snapshot({COST: [chunk]}, clock_ms=NOW_MS + after_ms)
        return renderer.render(state, NOW_MS, None, False)[1]

    held = block(0)
    assert block(MINUTE_MS) is held
    assert block(5 * MINUTE_MS) is not held
    moving = block(6 * MINUTE_MS)
    assert block(6 * MINUTE_MS) is moving
    assert block(6 * MINUTE_MS + 1) is not moving
    settled = block(15 * MINUTE_MS)
    assert block(99 * MINUTE_MS) is settled


veils = st.builds(
    lambda hold, amount, start, span: Veil(
        0, NOW_MS + hold, 0, (Release(amount, NOW_MS + start, NOW_MS + start + span),)
    ),
    st.integers(-100, 1_000),
    st.integers(0, 10**9),
    st.integers(-100, 1_000),
    st.integers(1, 1_000),
)


@settings(max_examples=60)
@given(st.lists(veils, max_size=3), st.lists(st.integers(0, 400), min_size=1, max_size=8))
def test_whatever_is_kept_equals_a_fresh_page_and_never_falls(
    drawn: list[Veil], steps: list[int]
) -> None:
    placed = tuple(veil._replace(position=i) for i, veil in enumerate(drawn))
    values = [10**9] * 4
    kept = Renderer(())
    clock_ms, last = NOW_MS, [0.0] * 4
    labels = series(4)
    chunk = Chunk(labels, tuple(values), placed)
    for step in steps:
        clock_ms += step
        if step % 3 == 0:
            values[3] += step
            chunk = Chunk(labels, tuple(values), placed)
        state = snapshot({COST: [chunk]}, clock_ms=clock_ms)
        text = page(kept, state)
        assert text == page(Renderer(()), state)
        shown = cost_of(parsed(text))
        assert all(new >= old for new, old in zip(shown, last, strict=True))
        last = shown


@pytest.mark.parametrize(
    "chunk", [Chunk((("too", "few"),), (1,)), Chunk(series(2), (1,)), Chunk(series(1), (1, 2))]
)
def test_a_family_of_the_wrong_shape_is_left_out_and_noted(chunk: Chunk) -> None:
    tally = Tally()
    renderer = Renderer((), Faults(tally))
    good = full_snapshot()
    families = {**good.families, COST: (chunk,)}
    bad = snapshot(families, scalars=good.scalars)
    shown = {name for name, _ in parsed(page(renderer, bad))}
    assert shown == {family.name for family in of_source("ledger")} - {COST}
    assert tally.read()[FAILURES] == {(COST,): 1}
    assert parsed(page(renderer, good)) == expected(good)


def test_concurrent_renderings_are_whole_pages() -> None:
    renderer = Renderer(())
    labels = [series(50, 50 * i) for i in range(6)]
    states = [
        snapshot({COST: [Chunk(names, (turn * 10**9,) * 50) for names in labels]})
        for turn in range(8)
    ]
    pages = [page(Renderer(()), state) for state in states]
    torn: list[int] = []

    def scrape(start: int) -> None:
        for turn in range(200):
            number = (start + turn) % len(states)
            if page(renderer, states[number]) != pages[number]:
                torn.append(number)

    threads = [threading.Thread(target=scrape, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert torn == []


def test_every_ledger_family_has_a_scale_that_can_be_written() -> None:
    assert {CATALOG[family.name].scale for family in of_source("ledger")} == {
        "nano",
        "count",
        "milli",
    }
