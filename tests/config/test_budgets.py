"""Budgets: exact amounts, time zones that fit the ledger, matchers, thresholds."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costmeter.config import Budget, Config, ConfigError
from costmeter.config.kinds import Amount
from costmeter.config.problems import Reading, Wrong
from costmeter.config.zones import fits_cells, is_zone
from costmeter.engine.terms import budgets_of, thresholds_of
from costmeter.model import Contact, Planned

Load = Callable[..., Config]
Refuse = Callable[..., list[str]]


def one(fields: str) -> str:
    return f"budgets:\n  items:\n    - {{name: b, limit_usd: 10, {fields}}}\n"


@given(st.integers(1, 9_000_000_000 * 10**9), st.integers(0, 3))
def test_every_amount_is_exact_to_the_nano(nano: int, zeros: int) -> None:
    kind = Amount()
    text = f"{nano // 10**9}.{nano % 10**9:09d}{'0' * zeros}"
    assert kind.parse(text, None) == nano  # type: ignore[arg-type]
    assert kind.parse(kind.show(nano), None) == nano  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "abc",
        "nan",
        ".nan",
        "inf",
        "-.inf",
        "1e400",
        "1e3",
        "0x10",
        "1,000",
        "500 USD",
        "$5",
        "1__0",
        "١٢",
        "5.",
        ".5",
        "1" * 40,
        "-0.1",
        "-5",
        "0.0000000001",
        "9000000000.000000001",
        "1.0000000000000000000000000000001",
        "10000000000",
    ],
)
def test_what_is_no_amount(text: str, refuse: Refuse) -> None:
    told = refuse(f"budgets:\n  items:\n    - name: b\n      limit_usd: '{text}'\n")
    assert len(told) == 1
    assert told[0].startswith("costmeter.yml:4: budgets.items[0].limit_usd: ")


def test_an_amount_is_taken_as_it_is_written(load: Load) -> None:
    text = "budgets: {monthly_usd: 0.1, items: [{name: a, limit_usd: 8999999999.999999999}]}"
    budgets = load(text).budgets
    assert budgets.monthly_nano == 100_000_000
    assert budgets.items[0].limit_nano == 8_999_999_999_999_999_999


@pytest.mark.parametrize("text", ["true", "null", "[1]", "{a: 1}", "2026-01-01", "0b1"])
def test_other_types_are_no_amount(text: str, refuse: Refuse) -> None:
    (told,) = refuse(f"budgets: {{items: [{{name: b, limit_usd: {text}}}]}}")
    assert "write a number of USD such as 500 or 499.99" in told


def test_a_missing_name_and_limit_are_told_at_the_item(refuse: Refuse) -> None:
    assert refuse("budgets:\n  items:\n    - owner: me\n    - {}\n") == [
        f"costmeter.yml:{line}: budgets.items[{item}].{key}: is missing; write {write}"
        for line, item in ((3, 0), (4, 1))
        for key, write in (
            ("name", "up to 128 letters, digits, '_', '.' and '-'"),
            ("limit_usd", "a number of USD such as 500 or 499.99"),
        )
    ]


def test_a_name_stands_once(refuse: Refuse) -> None:
    text = "budgets:\n  items:\n    - {name: a, limit_usd: 1}\n    - {name: a, limit_usd: 2}\n"
    assert refuse(text) == [
        (
            "costmeter.yml:4: budgets.items[1].name: 'a' is taken already, in line 3;"
            " every name stands once"
        )
    ]


def test_the_mistake_of_one_budget_does_not_move_the_next(refuse: Refuse) -> None:
    text = (
        "budgets:\n  items:\n    - 12\n    - {name: a, limit_usd: x}\n"
        "    - {name: b, limit_usd: 1, warning_percent: 99}\n"
        "    - {name: c, limit_usd: 1, timezone: Asia/Kolkata}\n"
    )
    assert [line.split(": ")[:2] for line in refuse(text)] == [
        ["costmeter.yml:3", "budgets.items[0]"],
        ["costmeter.yml:4", "budgets.items[1].limit_usd"],
        ["costmeter.yml:5", "budgets.items[2].warning_percent"],
        ["costmeter.yml:6", "budgets.items[3].timezone"],
    ]


@pytest.mark.parametrize(
    ("fields", "ok"),
    [
        ("warning_percent: 79.5, critical_percent: 80", True),
        ("warning_percent: 80, critical_percent: 80", False),
        ("warning_percent: 96", False),
        ("critical_percent: 100", True),
        ("critical_percent: 100.1", False),
        ("warning_percent: 0", False),
        ("warning_percent: -1", False),
        ("warning_percent: 80%", False),
    ],
)
def test_thresholds(fields: str, ok: bool, load: Load) -> None:
    if ok:
        assert load(one(fields)).budgets.items
    else:
        with pytest.raises(ConfigError, match="_percent: "):
            load(one(fields))


def test_percentages_are_exact(load: Load) -> None:
    (budget,) = load(one("warning_percent: 33.3")).budgets.items
    assert budget.warning_percent == Decimal("33.3")
    assert budget.critical_percent == Decimal(95)


def test_matchers_are_what_was_written(load: Load) -> None:
    (budget,) = load(
        one("tenant_id: 007, team: 'true', model: gpt-4o, category: llm_api")
    ).budgets.items
    assert budget.matchers == {
        "tenant_id": "007",
        "team": "true",
        "model": "gpt-4o",
        "category": "llm_api",
    }
    assert Budget().matchers == {}


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ("team: ''", "'' is not a label value"),
        ("team: yes\n", ""),
        ("team: true", "the truth value true is not a label value"),
        ("category: gpu", "is not one of gpu_compute, cpu_compute"),
        ("period: decade", "'decade' is not one of hour, day, week, month, quarter"),
        ("period: custom", "custom needs start and end"),
        ("period: custom, start: 2026-11-02, end: 2026-11-02", "is not after start"),
        ("end: 2026-11-02", "is for a custom period"),
        ("start: 2026-11-02", "is for a custom period, or with repeats: never"),
        ("repeats: year", "is for a custom period; other ones renew by themselves"),
        ("repeats: never", "never needs start"),
        ("period: custom, start: 2026-01-01, end: 2027-02-01, repeats: year", "would overlap"),
        ("currency: EUR", "there is no rate for EUR; add one under currencies"),
        ("rollover_max_usd: 5", "does nothing without rollover"),
        ("limit_eur: 5", "write limit_usd, and beside it currency"),
        ("planned: [{name: a, amount: 5, at: 2026-13-01}]", "is no day of the calendar"),
        ("tenant: acme", "Did you mean 'tenant_id'?"),
        ("name: x y", "stands twice"),
        ("contacts: me", "a single value stands here, not a list of addresses"),
        ("active: yes", "'yes' is not true or false; write one of them"),
    ],
)
def test_what_a_budget_does_not_take(fields: str, reason: str, load: Load, refuse: Refuse) -> None:
    if not reason:
        assert load(one(fields)).budgets.items[0].team == "yes"
        return
    (told,) = refuse(one(fields))
    assert reason in told


def test_a_budget_of_nothing_is_one(load: Load) -> None:
    (budget,) = load("budgets: {items: [{name: b, limit_usd: 0}]}").budgets.items
    assert budget.limit_nano == 0


def test_everything_that_a_budget_can_say(load: Load) -> None:
    text = one(
        "period: custom, start: 2026-12-01, end: 2026-12-15, repeats: length, rollover: true, "
        "rollover_max_usd: 5, user_id: ann, service: web, "
        "planned: [{name: job, amount: 2.5, at: '2026-12-01T02:00', hours: 6, repeats: month}], "
        "notify: [{to: '#ops', level: critical}, {to: a@b.example, projections: false}]"
    )
    (budget,) = budgets_of(load(text))
    assert (budget.start, budget.end, budget.repeats) == ("2026-12-01", "2026-12-15", "length")
    assert (budget.rollover, budget.rollover_nano) == (True, 5 * 10**9)
    assert budget.match == (("service", "web"), ("user_id", "ann"))
    assert budget.planned == (Planned("job", 2_500_000_000, "2026-12-01T02:00", 6, "month"),)
    assert budget.notify == (
        Contact("#ops", "slack", "critical"),
        Contact("a@b.example", "email", projections=False),
    )


def test_amounts_of_categories(load: Load, refuse: Refuse) -> None:
    text = "budgets: {categories: [{category: storage, warning_usd: 5, critical_usd: 9}]}"
    assert thresholds_of(load(text)) == (
        ("storage", "warning", 5 * 10**9),
        ("storage", "critical", 9 * 10**9),
    )
    (told,) = refuse("budgets: {categories: [{category: storage}]}")
    assert "warning_usd: is missing" in told
    (told,) = refuse(text.replace("9", "5"))
    assert "is not below critical_usd" in told


def test_a_budget_without_a_zone_has_the_reporting_zone(load: Load) -> None:
    text = one("") + "ledger: {reporting_timezone: America/New_York}"
    loaded = load(text)
    assert loaded.budgets.items[0].timezone == loaded.jobs.timezone == "America/New_York"


@pytest.mark.parametrize("zone", ["Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe"])
def test_a_zone_off_the_hour_needs_quarter_hour_cells(
    zone: str, load: Load, refuse: Refuse
) -> None:
    text = one(f"timezone: {zone}")
    (told,) = refuse(text)
    assert told == (
        f"costmeter.yml:3: budgets.items[0].timezone: days in {zone} do not begin on a full hour"
        " UTC, as this ledger's cells do; create the ledger with ledger.cell_minutes: 15,"
        " or change the zone"
    )
    assert load(text + "ledger: {cell_minutes: 15}").budgets.items[0].timezone == zone
    (told,) = refuse(one("") + f"ledger: {{reporting_timezone: {zone}}}")
    assert told.startswith("costmeter.yml:4: ledger.reporting_timezone: ")


def test_which_zones_fit_an_hourly_ledger() -> None:
    assert fits_cells("America/St_Johns", 60) is False
    # Half an hour off until 2018 only.
    assert fits_cells("Asia/Pyongyang", 60) is True
    for zone in ("UTC", "Europe/Berlin", "Pacific/Auckland", "Etc/GMT+12"):
        assert fits_cells(zone, 60) is True
    assert fits_cells("Pacific/Chatham", 15) is True


@pytest.mark.parametrize(
    "text",
    [
        "",
        "localtime",
        "posixrules",
        "../../etc/passwd",
        "/etc/localtime",
        "America",
        "utc ",
        "CET+",
        "Europe",
        "a" * 300,
        "zone.tab",
        "tzdata.zi",
        "Europe/Berlin\x00",
        "�",
        "GMT+25",
    ],
)
def test_what_is_no_zone(text: str) -> None:
    assert is_zone(text) is False


@pytest.mark.parametrize(
    ("text", "near"),
    [("europe/berlin", "Europe/Berlin"), ("Kolkata", "Asia/Kolkata"), ("New York", "New_York")],
)
def test_the_zone_that_was_meant_is_named(text: str, near: str) -> None:
    from costmeter.config.kinds import Zone

    with pytest.raises(Wrong, match=near):
        Zone().read_text(text, None, Reading())  # type: ignore[arg-type]
