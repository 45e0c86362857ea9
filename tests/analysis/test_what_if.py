"""Scenarios: the stated formulas, computed again by hand."""

from __future__ import annotations

from decimal import Decimal

import pytest

from costmeter.analysis.what_if import (
    BY_USERS,
    FIXED,
    SEMI_VARIABLE,
    Mix,
    Part,
    Scenario,
    switch,
    what_if,
)

USD = 1_000_000_000
STILL = {"growth_per_year": Decimal(0), "efficiency_per_year": Decimal(0)}


def test_a_year_of_growth_and_efficiency_by_default():
    rows = what_if([Part("tokens", 1000 * USD)], Scenario(), 12)
    assert rows[11].scenario == 1078 * USD  # 1.1 x 0.98
    assert rows[11].change == Decimal("0.078")
    assert rows[11].saved_so_far == sum(1000 * USD - row.scenario for row in rows)


@pytest.mark.parametrize(("mix", "cost"), [(FIXED, 1000), (SEMI_VARIABLE, 1400)])
def test_fixed_and_semi_variable_costs(mix: Mix, cost: int):
    double = Scenario(Decimal(1), Decimal(0))
    assert what_if([Part("x", 1000 * USD, mix)], double, 12)[11].scenario == cost * USD


def test_twice_the_users():
    twice = Scenario(**STILL, users=Decimal(2))
    expected = 1000 * USD * (0.2 + 0.5 * 2 + 0.3 * 2**0.7)
    found = what_if([Part("x", 1000 * USD)], twice, 1)[0].scenario
    assert found == pytest.approx(expected, rel=1e-12)
    assert BY_USERS.factor(Decimal(0)) == Decimal("0.2")


def test_a_price_change_leaves_what_has_no_list_price():
    parts = [Part("salaries", 500 * USD, FIXED, priced=False), Part("tokens", 500 * USD)]
    row = what_if(parts, Scenario(**STILL, price_change=Decimal("-0.2")), 1)[0]
    assert row.parts == (("salaries", 500 * USD), ("tokens", 400 * USD))
    assert (row.baseline, row.saved) == (1000 * USD, 100 * USD)


def test_another_model_by_its_prices():
    prices = {"input": Decimal("0.5"), "output": Decimal(2)}
    found = switch({"input": 3_000_000, "output": 1_000_000}, prices)
    assert found.nano == 3_500_000_000
    row = what_if([Part("x", 9 * USD, switched=found.nano)], Scenario(**STILL), 1)[0]
    assert row.scenario == 3_500_000_000
    missing = switch({"input": 1, "cached": 5}, prices)
    assert (missing.nano, missing.unpriced) == (None, ("cached",))


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="add up to 1"):
        Mix(Decimal("0.5"), Decimal("0.4"))
    with pytest.raises(ValueError, match="1 to 120"):
        what_if([], Scenario(), 0)
