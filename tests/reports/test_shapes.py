"""Shapes of one series: whatever happened, growth is kept, no value is below 0."""

from __future__ import annotations

import io
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from costmeter.reports.shapes import QUIET_MS, counter, growth
from costmeter.reports.timeline import Grid, Part, Timeline, series_head

HOUR = 3_600_000
START = 1_763_769_600_000
COUNT = 24 * 20


def drawn(shape, changes, *more, bounds=(0, COUNT + 1)) -> list[tuple[int, int]]:
    """(hours since the start, value) of a shape; seconds are fractions left out."""
    files = [io.BytesIO() for _ in bounds[1:]]
    parts = [
        Part(file, START + first * HOUR, START + last * HOUR)
        for file, first, last in zip(files, bounds, bounds[1:], strict=False)
    ]
    out = Timeline(parts)
    grid: Grid = out.grid(range(START, START + COUNT * HOUR + 1, HOUR))
    shape(out, grid, b"x ", [(START + hour * HOUR, amount) for hour, amount in changes], *more)
    lines = [line for file in files for line in file.getvalue().decode().splitlines()]
    assert len(lines) == out.samples
    return [(int(stamp) * 1000 - START, int(value)) for _, value, stamp in map(str.split, lines)]


CHANGES = st.lists(
    st.tuples(st.integers(0, COUNT - 1), st.integers(1, 10**12)),
    max_size=30,
    unique_by=lambda change: change[0],
).map(sorted)


@given(CHANGES, st.integers(0, 10**13))
def test_a_counter_ends_where_it_is_told_and_keeps_all_growth(changes, end) -> None:
    found = drawn(counter, changes, end, 0)
    if not changes:
        assert found == []
        return
    values = [value for _, value in found]
    total = sum(amount for _, amount in changes)
    steps = list(pairwise(values))
    assert sum(b - a if b >= a else b for a, b in steps) == total
    assert min(values) >= 0
    assert len({at for at, _ in found}) == len(found)
    assert [at for at, _ in found] == sorted(at for at, _ in found)
    # An end of 0, when all was history, is a beginning that live values make themselves.
    assert values[-1] == (end or total)
    assert sum(b < a for a, b in steps) <= 1


@given(CHANGES, st.integers(1, COUNT))
def test_files_hold_what_one_would(changes, cut) -> None:
    assert drawn(growth, changes, 0) == drawn(growth, changes, 0, bounds=(0, cut, COUNT + 1))


@given(CHANGES)
def test_growth_is_each_hours_own(changes) -> None:
    found = drawn(growth, changes, 0)
    assert [(at // HOUR - 1, n) for at, n in found if n] == changes


def test_a_quiet_series_is_left_out_until_it_moves() -> None:
    quiet = QUIET_MS // HOUR
    found = drawn(counter, [(5, 10), (5 + 2 * quiet, 1)], 11, 0)
    at = [hours // HOUR for hours, _ in found]
    assert at[0] == 5  # at 0, so that the first growth is seen
    assert found[0][1] == 0
    gap = next((a, b) for a, b in pairwise(at) if b - a > 1)
    assert gap == (6 + quiet, 5 + 2 * quiet)
    assert found[-1][1] == 11


def test_heads_escape_and_leave_out_empty_labels() -> None:
    head = series_head("x", [("a", 'q"\\\n'), ("b", ""), ("job", "\udcff")])
    assert head == b'x{a="q\\"\\\\\\n",job="?"} '
    assert series_head("x", [("b", "")]) == b"x "
