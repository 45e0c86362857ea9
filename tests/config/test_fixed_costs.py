"""Fixed costs, inventory and currencies: what they take, and what they say to mistakes."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from costmeter.config import Config

Load = Callable[..., Config]
Refuse = Callable[..., list[str]]

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_defaults_are_those_of_the_documentation(load: Load) -> None:
    (person,) = load("fixed_costs: {personnel: [{name: a, salary: 1}]}").fixed_costs.personnel
    assert (person.benefits_factor, person.headcount) == (Decimal("1.3"), 1)
    assert (person.allocation_percent, person.hourly_rate) == (100, 150 * 10**9)
    assert (person.per, person.role, person.tenant_id) == ("year", "engineering", "unattributed")
    text = "inventory: {compute: [{name: a, provider: aws, price_per_hour: 1}]}"
    (machine,) = load(text).inventory.compute
    assert (machine.hours_per_month, machine.count, machine.purchase) == (730, 1, "on_demand")


@pytest.mark.parametrize(
    ("purchase", "discount"), [("on_demand", 0), ("reserved", 40), ("spot", 70)]
)
def test_discounts_by_purchase(load: Load, purchase: str, discount: int) -> None:
    entry = f"{{name: a, provider: aws, on_demand_per_hour: 1, purchase: {purchase}}}"
    (machine,) = load(f"inventory: {{compute: [{entry}]}}").inventory.compute
    assert machine.discount == discount


@pytest.mark.parametrize("page", ["fixed-costs.md", "currencies.md"])
def test_examples_of_the_documentation_are_taken(load: Load, tmp_path: Path, page: str) -> None:
    (tmp_path / "rates.csv").write_text("date,currency,rate\n")
    blocks = re.findall(
        r"^```yaml\n(.*?)^```", (DOCS / page).read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    assert blocks
    for block in blocks:
        load(block)


PERSON = "fixed_costs:\n  personnel:\n    - "
ITEM = "fixed_costs:\n  items:\n    - "
COMPUTE = "inventory:\n  compute:\n    - "
STORAGE = "inventory:\n  storage:\n    - "


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (PERSON + "{name: a}", "personnel[0].salary: is missing; write salary, or hours_per_month"),
        (
            PERSON + "{name: a, salary: 5, hours_per_month: 2}",
            "personnel[0].hours_per_month: stands beside salary; keep one of them",
        ),
        (
            PERSON + "{name: a, hours_per_month: 2, headcount: 3}",
            "personnel[0].headcount: does not count for hours; remove it, or write salary",
        ),
        (
            PERSON + "{name: a, salary: 5, role: boss}",
            "personnel[0].role: 'boss' is not one of engineering, operations, management, support.",
        ),
        (
            PERSON + "{name: a, salary: 5, allocation_percent: 140}",
            (
                "personnel[0].allocation_percent: '140' is out of range; write a number over 0 and"
                " up to 100, such as 80"
            ),
        ),
        (
            PERSON + "{name: a, salary: 5, start: 2026-02-30}",
            (
                "personnel[0].start: '2026-02-30' is no day of the calendar; write one such as"
                " 2026-01-31"
            ),
        ),
        (
            PERSON + "{name: a, salary: 5, start: 2026-02-02, end: 2026-02-01}",
            "personnel[0].end: 2026-02-01 is before start (2026-02-02); write a later day",
        ),
        (
            ITEM + "{name: a, kind: training, amount: 5, per: once}",
            "items[0].start: is missing; write the day from which the payment is spread",
        ),
        (
            ITEM + "{name: a, kind: training, amount: 5, months: 12}",
            "items[0].months: does not count for `per: month`; remove it, or write per: once",
        ),
        (
            ITEM + "{name: a, kind: training, amount: 5, per: once, start: 2026-01-01,"
            " end: 2026-05-01}",
            "items[0].end: stands beside `per: once`, which ends after `months`; remove it",
        ),
        (
            ITEM + "{name: a, kind: training, amount: 5, currency: eur}",
            (
                "items[0].currency: 'eur' is not a currency; write its three capital letters, such"
                " as EUR"
            ),
        ),
        (
            ITEM + "{name: a, kind: training, amount: 5, currency: EUR}",
            (
                "items[0].currency: there is no rate for EUR; add one to currencies.rates, or name"
                " a file with rates in currencies.rates_file"
            ),
        ),
        (ITEM + "{name: a, kind: training, amount: -5}", "items[0].amount: '-5' is not more than"),
        (ITEM + "{name: a, kind: toys, amount: 5}", "items[0].kind: 'toys' is not one of"),
        (
            COMPUTE + "{name: a, provider: aws}",
            "compute[0].price_per_hour: is missing; write it, or on_demand_per_hour, or gpu",
        ),
        (
            COMPUTE + "{name: a, provider: aws, price_per_hour: 1, discount_percent: 5}",
            (
                "compute[0].discount_percent: stands beside price_per_hour, which is final; keep"
                " one of them"
            ),
        ),
        (
            COMPUTE + "{name: a, provider: aws, gpu: L4, currency: EUR}\n"
            "currencies: {rates: [{date: 2026-01-01, currency: EUR, rate: 1}]}",
            "compute[0].currency: the price list is in USD; write a price, or remove the currency",
        ),
        (
            STORAGE + "{name: a, provider: aws, gb: 5, price_per_gb_month: 1, iops: 3}",
            "storage[0].price_per_iops_month: is missing; write it, or remove iops",
        ),
    ],
)
def test_mistakes_say_what_to_write(refuse: Refuse, text: str, told: str) -> None:
    (said,) = refuse(text)
    assert said.startswith(f"costmeter.yml:3: {text.partition(':')[0]}.{told}")


def test_fixed_costs_are_kept_out_of_bills(refuse: Refuse, load: Load) -> None:
    text = ITEM + "{name: a, kind: training, amount: 5}\nscopes:\n"
    assert refuse(text + "  - {name: all, amount_from: bill}") == [
        (
            "costmeter.yml:3: fixed_costs.items[0]: falls into the scope 'all', where the bill of"
            " bill says what is spent; put a scope with `match: {provider: internal}` alone"
            " before it"
        )
    ]
    (said,) = refuse(text + "  - {name: all, detail_from: gateway}")
    assert "the feed gateway says what is spent" in said
    load(text + "  - {name: own, match: {provider: internal}}\n  - {name: all, amount_from: bill}")


def test_names_stand_once_in_their_list(refuse: Refuse) -> None:
    entry = "{name: a, kind: training, amount: 5}"
    (said,) = refuse(f"fixed_costs: {{items: [{entry}, {entry}]}}")
    assert "items[1].name: 'a' is taken already" in said


def test_inventory_beside_something_else_is_a_warning(load: Load) -> None:
    text = "inventory:\n  services:\n    - {name: a, provider: aws, amount: 5}\nscopes:\n"
    config = load(text + "  - {name: aws, detail_from: none, amount_from: bill}")
    assert [str(warning).partition("costmeter.yml")[2] for warning in config.warnings] == [
        ":3: inventory.services[0]: 'a' is not booked: bill says what the scope 'aws' costs"
    ]
    assert load(text + "  - {name: aws, detail_from: inventory}").warnings == ()


def test_rates_are_checked(refuse: Refuse) -> None:
    text = "currencies:\n  rates:\n"
    usd = "    - {date: 2026-01-01, currency: USD, rate: 1}\n"
    euro = "    - {date: 2026-01-01, currency: EUR, rate: 1.1}\n"
    assert refuse(text + usd + euro + euro) == [
        "costmeter.yml:3: currencies.rates[0].currency: 'USD' needs no rate; remove the entry",
        (
            "costmeter.yml:5: currencies.rates[2]: EUR has a rate for 2026-01-01 already; keep one"
            " of them"
        ),
    ]
    (said,) = refuse(text + euro.replace("1.1", "0"))
    assert said == (
        "costmeter.yml:3: currencies.rates[0].rate: '0' is out of range; write the USD for one "
        "unit, such as 1.0843"
    )
    (said,) = refuse("currencies: {rates_file: missing.csv}")
    assert "currencies.rates_file: there is no file" in said


def test_a_budget_in_a_currency_without_a_rate_is_refused(refuse: Refuse) -> None:
    text = "budgets: {items: [{name: a, limit_usd: 5, currency: EUR}]}"
    assert refuse(text) == [
        (
            "costmeter.yml:1: budgets.items[0].currency: there is no rate for EUR; "
            "add one under currencies"
        )
    ]
