"""Every query of every dashboard, asked as Grafana asks it, on a platform that was simulated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import promql_parser
import pytest

from costmeter.ledger.history import budget_spend, spend, unpriced
from costmeter.ledger.store import open_for_reading
from costmeter.model import MS_PER_HOUR, NANO_PER_USD
from dashboards.selection import (
    CALLS_HOUR,
    MONTH,
    NET_HOUR,
    TODAY,
    TOKENS_HOUR,
    Figure,
    total,
)
from simulation import Shown
from simulation.grafana import Dashboard, Target, dashboards
from simulation.scenario import SCRAPE_OFFSET_MS

Chosen = Mapping[str, Sequence[str]]
Found = dict[tuple[tuple[str, str], ...], list[float]]

#: Variables that have no All: the ledger, and whose forecast is shown.
JOB = {"ledger": ["costmeter"], "dimension": ["ledger"], "value": [""]}
ALL: Chosen = JOB
SEVERAL: Chosen = {
    **JOB,
    "tenant": ["acme", "globex", "initech"],
    "dimension": ["budget"],
    "value": ["acme"],
}
ONE: Chosen = {**JOB, "tenant": ["acme"], "dimension": ["tenant_id"], "value": ["acme"]}
NARROW: Chosen = {
    **JOB,
    "dimension": ["team"],
    "value": ["support"],
    "tenant": ["acme", "globex"],
    "model": ["gpt-4o", "claude-sonnet-4-5", "gpt-5"],
    "environment": ["prod"],
}
MODELS: Chosen = {
    **JOB,
    "model": ["gpt-4o", "claude-sonnet-4-5", "NVIDIA L4"],
    "dimension": ["model"],
    "value": ["gpt-4o"],
}
CHOICES = {
    "all": ALL,
    "several tenants": SEVERAL,
    "one tenant": ONE,
    "some models": MODELS,
    "narrow": NARROW,
}

_ALL_OVER = "the budgets of these tenants are used up already, or last"
WITH_TENANTS = [name for name, chosen in CHOICES.items() if "tenant" in chosen]

#: Queries that may have no result on this platform, and why that is right: by choice, "" for all.
EMPTY: Mapping[tuple[str, str], Mapping[str, str]] = {
    ("Top tenants", "B"): {"": "no tenant is past the limit of series"},
    ("Waiting to be booked", "B"): {"": "no sender was turned away"},
    ("Restated in a day", "B"): {"": "no bill was lowered"},
    ("Last month", "A"): {
        "some models": "it is kept by tenant, not by model or environment",
        "narrow": "it is kept by tenant, not by model or environment",
    },
    ("Cost of GPU time", "C"): dict.fromkeys(WITH_TENANTS, "it belongs to no tenant"),
    ("Cost of GPU time", "D"): dict.fromkeys(WITH_TENANTS, "it belongs to no tenant"),
    ("The last 24 hours", "C"): dict.fromkeys(WITH_TENANTS, "it belongs to no tenant"),
    ("The last 24 hours", "D"): dict.fromkeys(WITH_TENANTS, "it belongs to no tenant"),
    ("Calls without a price", "A"): {
        "some models": "the chosen models have prices",
        "narrow": "the chosen models have prices",
    },
    ("Cost by model", "B"): {
        "several tenants": "they use no more models than are shown one by one",
        "one tenant": "it uses no more models than are shown one by one",
        "some models": "no more models are chosen than are shown one by one",
        "narrow": "no more models are chosen than are shown one by one",
    },
    **{
        ("Month to date, and where it ends", bound): {
            "some models": "a forecast is of a tenant, not of a model within it",
            "narrow": "a forecast is of a tenant, not of a model within it",
        }
        for bound in "ABCDE"
    },
    **{
        place: dict.fromkeys(WITH_TENANTS, _ALL_OVER)
        for place in (("Budgets", "E"), ("Every budget", "F"), ("Next one used up", "A"))
    },
    **{("Planned spend", ref): {"one tenant": "its budget plans nothing"} for ref in "AB"},
    **{
        (panel, ref): {"several tenants": "a budget is not looked at for anomalies"}
        for panel, refs in (
            ("A final day, expected and actual", "ABCD"),
            ("The newest final day", "ABCDE"),
        )
        for ref in refs
    },
    **{
        place: {"some models": "the first forecast of 7 days is scored after more than a week"}
        for place in (("Off by, in 7 days", "A"), ("Error of the forecasts", "B"))
    },
}

#: 1e-6 USD: doubles carry a nano exactly up to 9 M USD, but a sum of them rounds.
EXACT_USD = 1e-6


def named(name: str) -> Dashboard:
    return next(dashboard for dashboard in dashboards() if dashboard.name == name)


def targets(name: str, shown: Shown, chosen: Chosen) -> list[Target]:
    return list(named(name).targets(chosen, shown.built.end_ms))


def answer(shown: Shown, target: Target) -> Found:
    """Values by labels; those of an instant query one each."""
    if target.instant:
        found = shown.prometheus.query(target.expression, target.end_ms / 1000)
        return {labels: [value] for labels, value in found.items()}
    rows = shown.prometheus.matrix(
        target.expression, target.start_ms, target.end_ms, target.step_ms
    )
    return {labels: [float(value) for _, value in values] for labels, values in rows}


def panel(shown: Shown, title: str, ref: str = "A", chosen: Chosen = ALL) -> Found:
    """The answer to one query of the spend dashboard."""
    found = [t for t in targets(SPEND, shown, chosen) if (t.panel, t.ref) == (title, ref)]
    assert len(found) == 1, f"there are {len(found)} queries {ref} in a panel {title!r}"
    return answer(shown, found[0])


def last(found: Found, label: str) -> dict[str, float]:
    """The newest value by one label."""
    return {dict(labels).get(label, ""): values[-1] for labels, values in found.items()}


def month_start_ms(shown: Shown) -> int:
    moment = datetime.fromtimestamp(shown.built.end_ms / 1000, UTC)
    return int(datetime(moment.year, moment.month, 1, tzinfo=UTC).timestamp()) * 1000


def booked_usd(shown: Shown, *by: str, where: Sequence[tuple[str, str]] = ()) -> dict[str, float]:
    """What the ledger itself says of this month, net, by one dimension or in all."""
    store = open_for_reading(shown.built.ledger)
    try:
        rows = spend(store.connection, by, since_ms=month_start_ms(shown), where=where)
    finally:
        store.close()
    return {"/".join(row.group): row.net / NANO_PER_USD for row in rows}


def booked_by_variables(shown: Shown) -> dict[tuple[str, ...], float]:
    """What the ledger says of this month, net, by tenant, model and environment."""
    store = open_for_reading(shown.built.ledger)
    try:
        by = ("tenant_id", "model", "environment")
        rows = spend(store.connection, by, since_ms=month_start_ms(shown))
    finally:
        store.close()
    return {tuple(row.group): row.net / NANO_PER_USD for row in rows}


def asked(shown: Shown, expression: str, chosen: Chosen, end_ms: int) -> Found:
    """An expression of our own with the spend dashboard's variables, at one instant."""
    text = {"refId": "A", "expr": expression, "instant": True}
    place = {"title": "made up", "gridPos": {"w": 24}, "targets": [text]}
    made = Dashboard("made up", {**named(SPEND).data, "panels": [place]})
    (target,) = made.targets(chosen, end_ms)
    return answer(shown, target)


def plainly(figure: Figure, by: str, chosen: Chosen) -> str:
    """The sum of the full series in words of one's own: no rollup, no variable."""
    labels = {"tenant": "tenant_id", "model": "model", "environment": "environment"}
    matchers = ['job="costmeter"'] + [
        f'{label}=~"{"|".join(chosen[name])}"' for name, label in labels.items() if name in chosen
    ]
    series = figure.series.replace("{}", f"{{{', '.join(matchers)}}}")
    return f'sum by ({by}) (label_replace({series}, "model", "none", "model", ""))'


#: What the panels sum, and by what.
SUMS = [
    (MONTH, "job"),
    (MONTH, "job, provider, model"),
    (MONTH, "job, tenant_id"),
    (TODAY, "job"),
    (NET_HOUR, "job, category"),
    (NET_HOUR, "job, provider, model"),
    (CALLS_HOUR, "job, status"),
    (CALLS_HOUR, "job, provider"),
    (TOKENS_HOUR, "job, token_class"),
    (TOKENS_HOUR, "job, provider, model"),
]
SPEND, HEALTH = "llm-cost-monitoring", "exporter-health"
BILLS, GPUS = "bills-and-sources", "gpu-efficiency"
BUDGETS, FORECAST = "budgets", "forecast-and-anomalies"
NAMES = [dashboard.name for dashboard in dashboards()]


def test_the_dashboards_are_those_that_are_known_here() -> None:
    assert NAMES == [BILLS, BUDGETS, HEALTH, FORECAST, GPUS, SPEND]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("choice", CHOICES)
def test_every_expression_is_promql(name: str, choice: str) -> None:
    end_ms = 1_795_186_800_000
    found = list(named(name).targets(CHOICES[choice], end_ms))
    assert found
    for target in found:
        promql_parser.parse(target.expression)
        assert "$" not in target.expression


def test_what_may_be_empty_is_there() -> None:
    known = {
        (target.panel, target.ref)
        for dashboard in dashboards()
        for target in dashboard.targets(ALL, 0)
    }
    assert set(EMPTY) <= known
    assert {choice for reasons in EMPTY.values() for choice in reasons} <= {"", *CHOICES}


def test_an_empty_all_is_refused() -> None:
    """Grafana would send a list of every value in its place."""
    spend_dashboard = named(SPEND)
    entries = [{**entry, "allValue": ""} for entry in spend_dashboard.variables]
    emptied = Dashboard("emptied", {**spend_dashboard.data, "templating": {"list": entries}})
    with pytest.raises(ValueError, match="tenant says nothing for its All"):
        list(emptied.targets(ALL, 0))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("choice", CHOICES)
def test_every_query_returns_data(shown: Shown, name: str, choice: str) -> None:
    silent = []
    for target in targets(name, shown, CHOICES[choice]):
        reasons = EMPTY.get((target.panel, target.ref), {})
        if "" not in reasons and choice not in reasons and not answer(shown, target):
            silent.append(target.name)
    assert silent == []


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("choice", CHOICES)
def test_a_second_replica_changes_no_figure(alone: Shown, pair: Shown, choice: str) -> None:
    assert booked_usd(alone) == booked_usd(pair)
    for one, two in zip(
        targets(SPEND, alone, CHOICES[choice]), targets(SPEND, pair, CHOICES[choice]), strict=True
    ):
        expected, found = answer(alone, one), answer(pair, two)
        assert expected.keys() == found.keys(), one.name
        for labels, values in expected.items():
            assert found[labels] == pytest.approx(values, rel=1e-9, abs=1e-9), one.name


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize(("figure", "by"), SUMS)
def test_each_level_is_the_sum_of_its_series(
    shown: Shown, figure: Figure, by: str, choice: str
) -> None:
    chosen = CHOICES[choice]
    for hours in (0, 7, 50):
        # The instant of the last scrape, at which the rules of the simulation are evaluated.
        at_ms = shown.built.end_ms - hours * MS_PER_HOUR - 60_000 + SCRAPE_OFFSET_MS + 1_000
        found = asked(shown, total(figure, by), chosen, at_ms)
        wanted = asked(shown, plainly(figure, by, chosen), chosen, at_ms)
        assert found.keys() == wanted.keys()
        assert found
        for labels, values in wanted.items():
            assert found[labels] == pytest.approx(values, rel=1e-9, abs=1e-9), labels


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", NAMES)
def test_every_variable_offers_values(shown: Shown, name: str) -> None:
    wanted = {
        "ledger": {"costmeter"},
        "tenant": {"acme", "globex", "initech"},
        "model": {"gpt-4o", "claude-sonnet-4-5", "NVIDIA L4"},
        "environment": {"prod", "staging"},
        "instance": {"costmeter-0:9952"},
        "node": {"gpu-a", "gpu-train-1", "gpu-serve-1"},
        "gpu_model": {"NVIDIA A100-SXM4-80GB", "NVIDIA H100 80GB HBM3"},
        "namespace": {"search", "lab", "chat"},
        "scope": {"openai", "anthropic", "openrouter"},
        "source": {"openai-bill", "anthropic-bill", "openrouter-bill"},
        "budget": {"organization", "acme", "research", "search", "gpus"},
        "owner": {"Ada Okafor", "Platform", "Chen Wei"},
        "period": {"month", "week", "day", "quarter"},
        "dimension": {"ledger", "category", "provider", "model", "tenant_id", "team", "budget"},
        "value": {"acme", "globex", "initech"},
    }
    for variable in named(name).variables:
        query = variable["query"]
        text = query["query"] if isinstance(query, dict) else query
        selector, _, label = text.removeprefix("label_values(").removesuffix(")").rpartition(",")
        selector = selector.replace("$ledger", "costmeter").replace("$tenant", "()")
        selector = selector.replace("$dimension", "tenant_id")
        assert wanted[variable["name"]] <= offered(shown, label.strip(), selector), variable["name"]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_both_of_a_pair_are_offered(pair: Shown) -> None:
    found = offered(pair, "instance", "costmeter_build_info")
    assert {"costmeter-0:9952", "costmeter-1:9952"} <= found


def offered(shown: Shown, label: str, selector: str) -> set[str]:
    """The values of a label that a dashboard's variable offers."""
    values = shown.prometheus.ask(
        f"label/{label}/values",
        {
            "match[]": selector,
            "start": str(shown.built.start_ms / 1000),
            "end": str(shown.built.end_ms / 1000),
        },
    )
    return set(values)


@pytest.mark.slow
@pytest.mark.timeout(1800)
class TestTheLedgersOwnNumbers:
    """What a panel says is what the ledger says."""

    @pytest.mark.parametrize("choice", CHOICES)
    def test_month_to_date(self, shown: Shown, choice: str) -> None:
        chosen = CHOICES[choice]
        booked = booked_by_variables(shown)
        wanted = sum(
            usd
            for values, usd in booked.items()
            if all(
                value in chosen.get(name, (value,))
                for name, value in zip(("tenant", "model", "environment"), values, strict=True)
            )
        )
        (found,) = panel(shown, "Month to date", chosen=chosen).values()
        assert found[0] == pytest.approx(wanted, abs=EXACT_USD)
        assert 10_000 < sum(booked.values()) < 60_000

    def test_models_add_up(self, shown: Shown) -> None:
        by_model = booked_usd(shown, "model")
        top = last(panel(shown, "Cost by model"), "model")
        (rest,) = panel(shown, "Cost by model", "B").values()
        assert sum(top.values()) + rest[0] == pytest.approx(sum(by_model.values()), abs=EXACT_USD)
        for model, value in top.items():
            assert value == pytest.approx(by_model[model.replace("none", "")], abs=EXACT_USD)

    def test_tenants(self, shown: Shown) -> None:
        by_tenant = booked_usd(shown, "tenant_id")
        top = last(panel(shown, "Top tenants"), "tenant_id")
        assert set(top) == {name for name in by_tenant if name != "unattributed"}
        for tenant, value in top.items():
            assert value == pytest.approx(by_tenant[tenant], abs=EXACT_USD)

    def test_days_add_up_to_what_was_counted(self, shown: Shown) -> None:
        # The columns come from counters, whose increase Prometheus extrapolates; what was
        # imported from before the ledger is in none of them. GPU time is booked every quarter of
        # an hour here: what comes between the last scrape of an hour and the first of the next is
        # in no increase over a whole hour, a fifth of a sixth of the spend.
        columns = panel(shown, "Daily cost by category")
        store = open_for_reading(shown.built.ledger)
        try:
            (booked,) = spend(store.connection, [], since_ms=shown.built.start_ms)
        finally:
            store.close()
        shown = sum(sum(values) for values in columns.values())
        assert shown == pytest.approx(booked.net / NANO_PER_USD, rel=0.04)

    def test_budgets(self, shown: Shown) -> None:
        spent = last(panel(shown, "Budgets", "A"), "budget")
        used = last(panel(shown, "Budgets", "C"), "budget")
        assert len(spent) == 10
        starts_ms = self.periods(shown)
        store = open_for_reading(shown.built.ledger)
        try:
            for name, value in spent.items():
                found = budget_spend(store.connection, name, starts_ms[name], 1 << 62, 0)
                assert value == pytest.approx(found.spent / NANO_PER_USD, abs=EXACT_USD), name
        finally:
            store.close()
        assert used["acme"] > 1
        assert 0.75 < used["initech"] < 0.95

    @pytest.mark.parametrize(
        ("dimension", "value"),
        [
            ("ledger", ""),
            ("category", "llm_api"),
            ("provider", "anthropic"),
            ("model", "gpt-5"),
            ("tenant_id", "initech"),
            ("team", "support"),
            ("budget", "acme"),
        ],
    )
    def test_spend_of_a_scope(self, shown: Shown, dimension: str, value: str) -> None:
        chosen = {**JOB, "dimension": [dimension], "value": [value]}
        asking = [
            target
            for target in targets(FORECAST, shown, chosen)
            if (target.panel, target.ref) == ("Month to date, and its forecast", "F")
        ]
        ((*_, found),) = answer(shown, asking[0]).values()
        if dimension == "ledger":
            wanted = booked_usd(shown)[""]
        else:
            by = "tenant_id" if dimension == "budget" else dimension
            wanted = booked_usd(shown, by)[value]
        assert found == pytest.approx(wanted, abs=EXACT_USD)

    def periods(self, shown: Shown) -> dict[str, int]:
        """When each budget's period began, Unix milliseconds."""
        raw = "max by (job, budget) (llm_budget_period_start_timestamp_seconds)"
        found = asked(shown, raw, ALL, shown.built.end_ms)
        assert len({*last(found, "budget").values()}) == 4, "a day, a week, a month and a quarter"
        return {name: round(at * 1_000) for name, at in last(found, "budget").items()}

    def test_unpriced_calls(self, shown: Shown) -> None:
        store = open_for_reading(shown.built.ledger)
        try:
            wanted = {item.model: item.requests for item in unpriced(store.connection)}
        finally:
            store.close()
        (found,) = panel(shown, "Unpriced calls").values()
        assert found[0] == sum(wanted.values()) > 0
        assert last(panel(shown, "Calls without a price"), "model").keys() >= wanted.keys()
