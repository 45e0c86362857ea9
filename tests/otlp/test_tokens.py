"""Counts of the conventions into disjoint classes."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costmeter.ingest.otlp.tokens import classes
from costmeter.model import TOKEN_CLASSES

COUNT = st.integers(0, 10**9)


@pytest.mark.parametrize(
    ("said", "found"),
    [
        # The conventions: parts of the whole.
        (
            {"input": 100, "cache_read": 60, "cache_write": 10, "output": 20, "reasoning": 5},
            {"input": 30, "cache_read": 60, "cache_write_5m": 10, "output": 15, "reasoning": 5},
        ),
        # Anthropic's own counting: more cached than input, so it is beside it.
        (
            {"input": 4, "cache_read": 2000, "output": 9},
            {"input": 4, "cache_read": 2000, "output": 9},
        ),
        # The total says that the caches are beside the input.
        (
            {"input": 100, "cache_read": 60, "output": 20, "total": 180},
            {"input": 100, "cache_read": 60, "output": 20},
        ),
        # The total says that they are inside.
        (
            {"input": 100, "cache_read": 60, "output": 20, "total": 120},
            {"input": 40, "cache_read": 60, "output": 20},
        ),
        # Reasoning beside the output: more than the output, or by the total.
        ({"input": 1, "output": 5, "reasoning": 9}, {"input": 1, "output": 5, "reasoning": 9}),
        (
            {"input": 1, "output": 9, "reasoning": 5, "total": 15},
            {"input": 1, "output": 9, "reasoning": 5},
        ),
        # All of the input was cached.
        ({"input": 60, "cache_read": 60}, {"cache_read": 60}),
        # Only a total, or a total and one half.
        ({"total": 7}, {"input": 7}),
        ({"total": 7, "output": 3}, {"input": 4, "output": 3}),
        ({"total": 7, "input": 3}, {"input": 3, "output": 4}),
        ({"input": 0, "output": 0}, {}),
    ],
)
def test_classes(said: Mapping[str, int], found: Mapping[str, int]) -> None:
    assert classes(said) == found


def test_an_instrumentation_that_leaves_caches_out_can_be_named() -> None:
    said = {"input": 100, "cache_read": 60, "output": 20}
    assert classes(said, excludes_caches=True) == {"input": 100, "cache_read": 60, "output": 20}


@given(st.tuples(COUNT, COUNT, COUNT), st.tuples(COUNT, COUNT))
def test_what_is_taken_apart_adds_up(
    inputs: tuple[int, int, int], outputs: tuple[int, int]
) -> None:
    text, read, written = inputs
    output, reasoning = outputs
    found = classes(
        {
            "input": text + read + written,
            "cache_read": read,
            "cache_write": written,
            "output": output + reasoning,
            "reasoning": reasoning,
        }
    )
    assert found == {
        name: count
        for name, count in {
            "input": text,
            "cache_read": read,
            "cache_write_5m": written,
            "output": output,
            "reasoning": reasoning,
        }.items()
        if count
    }


@given(
    st.dictionaries(
        st.sampled_from(["input", "output", "total", "cache_read", "cache_write", "reasoning"]),
        COUNT,
    )
)
def test_no_class_is_ever_negative_or_unknown(said: dict[str, int]) -> None:
    found = classes(said)
    assert all(count > 0 for count in found.values())
    assert set(found) <= set(TOKEN_CLASSES)
    # What was said of caches and reasoning is kept as it was said.
    assert found.get("cache_read", 0) == said.get("cache_read", 0)
    assert found.get("reasoning", 0) == said.get("reasoning", 0)
