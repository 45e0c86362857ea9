"""Explanations name few values, the right ones, and add up to the nano."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from costmeter.analysis.anomaly.explain import REST, Part, expect_shares, explain, parts_of

amounts = st.integers(-(10**15), 10**15)
values = st.dictionaries(st.sampled_from("abcdefgh"), amounts, max_size=8)


def test_the_one_tenant_behind_a_spike_is_named_before_its_model() -> None:
    tenants = parts_of("tenant_id", {"acme": 100, "zeta": 90}, {"acme": 105, "zeta": 390})
    models = parts_of("model", {"large": 100, "small": 90}, {"large": 260, "small": 235})
    found = explain(190, 495, [*models, *tenants])
    assert [name for name, _ in found.dimensions] == ["tenant_id", "model"]
    assert [(one.value, one.difference) for one in found.shares] == [("zeta", 300), (REST, 5)]


def test_what_only_grew_with_the_whole_is_not_preferred() -> None:
    even = parts_of("team", {"search": 800, "chat": 200}, {"search": 1600, "chat": 400})
    one = parts_of("feature", {"answers": 100, "rest": 900}, {"answers": 1100, "rest": 900})
    assert explain(1000, 2000, [*even, *one]).dimensions[0][0] == "feature"


def test_a_drop_is_explained_too() -> None:
    found = explain(1000, 400, parts_of("provider", {"a": 700, "b": 300}, {"a": 100, "b": 300}))
    assert [(one.value, one.difference) for one in found.shares] == [("a", -600), (REST, 0)]


def test_without_a_change_there_is_nothing_to_explain() -> None:
    assert explain(5, 5, parts_of("team", {"a": 5}, {"a": 5})).dimensions == ()


@given(amounts, amounts, values, values)
def test_every_dimension_adds_up(
    expected: int, actual: int, before: dict[str, int], now: dict[str, int]
) -> None:
    parts: list[Part] = parts_of("team", before, now) + parts_of("model", now, before)
    for _, shares in explain(expected, actual, parts).dimensions:
        assert sum(one.expected for one in shares) == expected
        assert sum(one.actual for one in shares) == actual
        assert sum(one.difference for one in shares) == actual - expected
        assert len(shares) <= 4


@given(amounts, values)
def test_expected_shares_add_up(expected: int, past: dict[str, int]) -> None:
    shares = expect_shares(expected, past)
    if any(nano > 0 for nano in past.values()):
        assert sum(shares.values()) == expected
    else:
        assert shares == {}
