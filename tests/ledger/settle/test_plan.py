"""Matching and spreading: the parts equal the whole, whatever the bill says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from costmeter.attribution import Scope
from costmeter.ledger.settle.match import Charge, Meter, match
from costmeter.ledger.settle.plan import FINAL, METERED, PROVISIONAL, Plan, plan
from costmeter.ledger.settle.spread import spread
from costmeter.model import UNATTRIBUTED
from ledger.settle.parts import BILLED, labels, line


def meter(tenant: str, nano: int, model: str = "cheap", tokens: int = 0, **more: str) -> Meter:
    return Meter(labels(tenant, model, **more), nano, tokens, unpriced=not nano and tokens > 0)


def borne(made: Plan) -> dict[str, int]:
    """Who bears what in the end, metered and settled."""
    found: dict[str, int] = {}
    meters = [m for share in made.shares for m in share.group.meters] + list(made.unbilled)
    for item in meters:
        found[item.labels.tenant_id] = found.get(item.labels.tenant_id, 0) + item.nano
    for (_, who), nano in made.wanted.items():
        found[who.tenant_id] = found.get(who.tenant_id, 0) + nano
    return {tenant: nano for tenant, nano in found.items() if nano}


@given(st.integers(-(10**20), 10**20), st.lists(st.integers(0, 10**15), min_size=1, max_size=30))
def test_parts_add_up_and_differ_from_the_exact_share_by_less_than_one(amount, weights) -> None:
    if not any(weights):
        weights = [*weights, 1]
    parts = spread(amount, weights)
    assert sum(parts) == amount
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part * sum(weights) - amount * weight) < sum(weights)


def test_ties_go_to_the_first() -> None:
    assert spread(5, [1, 1, 1]) == [2, 2, 1]
    assert spread(-5, [1, 1, 1]) == [-2, -2, -1]


@pytest.mark.parametrize("weights", [[], [0, 0], [2, -1]])
def test_nothing_to_spread_by_is_refused(weights) -> None:
    with pytest.raises(ValueError, match="positive"):
        spread(1, weights)


def test_the_meters_hold_until_every_line_is_final_and_known_in_usd() -> None:
    meters = [meter("a", 100)]
    final, estimated = line(0, "cheap", 90), line(0, "cheap:2", 5, maturity="estimated")
    unknown = line(0, "cheap:3", None, currency="EUR")
    for lines in ([], [final, estimated], [final, unknown]):
        made = plan(BILLED, lines, meters)
        assert (made.status, made.value, made.wanted) == (METERED, 100, {})
    made = plan(BILLED, [final], meters)
    assert (made.status, made.value) == (FINAL, 90)


def test_a_scope_of_bills_alone_follows_the_latest_figures() -> None:
    scope = replace(BILLED, detail_from="none")
    lines = [line(0, "cheap", 7, maturity="estimated"), line(0, "dear", None)]
    made = plan(scope, lines, [])
    assert (made.status, made.value, borne(made)) == (PROVISIONAL, 7, {UNATTRIBUTED: 7})


def test_up_at_most_a_tenth_and_down_without_limit() -> None:
    meters = [meter("a", 1_000), meter("b", 3_000)]
    up = plan(BILLED, [line(0, "cheap", 5_000)], meters)
    assert borne(up) == {"a": 1_100, "b": 3_300, UNATTRIBUTED: 600}
    down = plan(BILLED, [line(0, "cheap", 4)], meters)
    assert borne(down) == {"a": 1, "b": 3}
    wide = plan(replace(BILLED, spread_up_permille=1_000), [line(0, "cheap", 5_000)], meters)
    assert borne(wide) == {"a": 1_250, "b": 3_750}


def test_lines_find_the_meters_of_their_own_model() -> None:
    meters = [meter("a", 100), meter("b", 100, "dear")]
    made = plan(BILLED, [line(0, "cheap", 105), line(0, "dear", 50)], meters)
    assert borne(made) == {"a": 105, "b": 50}


def test_a_model_without_a_meter_is_unattributed_under_its_own_name() -> None:
    made = plan(BILLED, [line(0, "cheap", 100), line(0, "rogue", 40)], [meter("a", 100)])
    assert made.wanted == {("bill", labels(UNATTRIBUTED, "rogue")): 40}


def test_what_finds_no_model_is_matched_by_account_alone() -> None:
    meters = [meter("a", 100, account="x"), meter("b", 100, "dear", account="x")]
    lines = [
        line(0, "cheap", 90, labels=labels("", "cheap", account="x")),
        line(0, "dear-2026", 80, labels=labels("", "dear-2026", account="x")),
    ]
    assert borne(plan(BILLED, lines, meters)) == {"a": 90, "b": 80}


def test_accounts_that_differ_never_match() -> None:
    lines = [line(0, "cheap", 90, labels=labels("", account="y"))]
    made = plan(BILLED, lines, [meter("a", 100, account="x")])
    assert borne(made) == {UNATTRIBUTED: 90}


def test_a_meter_that_says_no_account_takes_the_only_one_of_the_bill() -> None:
    lines = [line(0, "cheap", 120, labels=labels("", account="x"))]
    meters = [meter("a", 50, account="x"), meter("b", 70)]
    assert borne(plan(BILLED, lines, meters)) == {"a": 50, "b": 70}


def test_a_line_without_an_account_is_borne_by_what_is_left() -> None:
    charges = [
        Charge("1", "usage", labels("", "cheap", account="x"), 10),
        Charge("2", "usage", labels("", "cheap"), 20),
    ]
    meters = [meter("a", 10, account="x"), meter("b", 20, account="y")]
    found = match(charges, meters, ("account", "model"))
    assert [(g.charges[0].line, g.meters[0].labels.tenant_id) for g in found.groups] == [
        ("1", "a"),
        ("2", "b"),
    ]


def test_usage_without_a_price_is_spread_by_tokens() -> None:
    meters = [meter("a", 0, "new", 100), meter("b", 0, "new", 300)]
    assert borne(plan(BILLED, [line(0, "new", 1_000)], meters)) == {"a": 250, "b": 750}


def test_beside_priced_usage_the_unpriced_bears_the_rest() -> None:
    meters = [meter("a", 600), meter("b", 0, "cheap", 10, team="x"), meter("c", 0, tokens=30)]
    made = plan(BILLED, [line(0, "cheap", 1_000)], meters)
    assert borne(made) == {"a": 600, "b": 100, "c": 300}


def test_usage_that_no_line_speaks_of_costs_nothing() -> None:
    meters = [meter("a", 100), meter("b", 100, "dear")]
    assert borne(plan(BILLED, [line(0, "cheap", 100)], meters)) == {"a": 100}


@pytest.mark.parametrize("charge", ["tax", "purchase", "support", "credit", "adjustment"])
def test_what_is_no_usage_stands_by_itself(charge) -> None:
    nano = -30 if charge == "credit" else 30
    lines = [line(0, "cheap", 100), line(0, "fee", nano, charge=charge)]
    made = plan(BILLED, lines, [meter("a", 100)])
    assert made.wanted == {("bill", labels(UNATTRIBUTED, "fee")): nano}
    assert (made.usage_billed, made.billed, made.unattributed) == (100, 100 + nano, nano)


def test_a_line_that_names_its_tenant_is_borne_by_it() -> None:
    tagged = line(0, "disk", 40, labels=labels("acme", "disk"))
    assert borne(plan(BILLED, [tagged], [])) == {"acme": 40}


_METERS = st.builds(
    meter,
    st.sampled_from("abc"),
    st.integers(-5, 10**6),
    st.sampled_from(["cheap", "dear", "new"]),
    st.integers(0, 50),
    account=st.sampled_from(["", "x", "y"]),
)
_LINES = st.builds(
    lambda number, nano, model, account, charge: line(
        0, f"{model}:{number}", nano, charge=charge, labels=labels("", model, account=account)
    ),
    st.integers(0, 10**9),
    st.integers(-(10**6), 10**6),
    st.sampled_from(["cheap", "dear", "rogue", ""]),
    st.sampled_from(["", "x", "y", "z"]),
    st.sampled_from(["usage", "usage", "tax"]),
)


@given(
    st.lists(_LINES, min_size=1, max_size=8, unique_by=lambda item: item.line),
    st.lists(_METERS, max_size=8, unique_by=lambda item: item.labels),
    st.sampled_from([("account", "model"), ("model",), ("region", "account", "model"), ()]),
)
def test_what_is_borne_and_what_is_left_is_the_bill(lines, meters, keys) -> None:
    made = plan(replace(BILLED, match_keys=keys), lines, meters)
    assert made.value == made.billed == sum(item.usd_nano for item in lines)
    # Every line and every meter stands in one place, so no dollar is there twice.
    seen = sorted(charge.line for share in made.shares for charge in share.group.charges)
    seen += [charge.line for charge in made.others]
    assert sorted(seen) == sorted(item.line for item in lines)
    used = [m.labels for share in made.shares for m in share.group.meters]
    used += [m.labels for m in made.unbilled]
    assert sorted(used) == sorted(m.labels for m in meters)
    again = plan(replace(BILLED, match_keys=keys), lines[::-1], meters[::-1])
    assert again.wanted == made.wanted


def test_a_scope_without_a_feed_books_no_usage() -> None:
    scope = Scope("rest", amount_from="aws", detail_from="none")
    assert not scope.books("none")
    assert not scope.books("http")
