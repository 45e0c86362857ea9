"""How the dashboard's variables select series: the level that fits the choice.

A rollup of `alert_rules/dashboards.rules.yml` has one name and three levels: without tenant_id and
model, with tenant_id, and with model. All of `$tenant` and `$model` is the expression `()`, which
matches an absent label alone (Grafana takes an empty All for a list of every value). So the same
selector reads a handful of series under All and the tenant's own where one is chosen.

What tells tenants or models apart needs each of them under All as well. `(^.*)?` behind a variable
does that: after the nothing of `()` the text still begins, so `^.*` takes any value; after a
chosen value it cannot begin again, so only the value itself matches.
"""

from __future__ import annotations

from collections.abc import Container
from typing import NamedTuple

#: The All of `$tenant` and `$model`: the absent label.
ABSENT = "()"
#: The All of a variable whose label every level has.
ANYTHING = ".*"

LEDGER = 'job="$ledger"'
TENANT = 'tenant_id=~"$tenant"'
MODEL = 'model=~"$model"'
ENVIRONMENT = 'environment=~"$environment"'

_EACH = "(^.*)?"
#: The same, with every value under All. They match the absent label, too.
EACH_TENANT = f'tenant_id=~"$tenant{_EACH}"'
EACH_MODEL = f'model=~"$model{_EACH}"'
#: What belongs to the chosen tenants or to nobody.
TENANT_OR_NONE = f'tenant_id=~"$tenant{_EACH}|"'
#: What every query of spend, calls and tokens is narrowed by.
CHOSEN = f"{LEDGER}, {TENANT}, {MODEL}, {ENVIRONMENT}"
#: Budgets know their tenant only; a budget of the whole ledger has an empty one.
CHOSEN_BUDGETS = f"{LEDGER}, {EACH_TENANT}"


class Figure(NamedTuple):
    """What is recorded in levels; `series` has every label, with {} for its matchers."""

    rollup: str
    series: str


MONTH = Figure("rollup:llm_cost_month_to_date:sum", "series:llm_cost_month_to_date:max{}")
TODAY = Figure("rollup:llm_cost_day_to_date:sum", "series:llm_cost_day_to_date:max{}")
NET_HOUR = Figure("rollup:llm_net_cost:increase1h", "series:llm_net_cost:increase1h{}")
CALLS_HOUR = Figure(
    "rollup:llm_requests:increase1h", "increase(series:llm_requests_total:clamped{}[1h])"
)
TOKENS_HOUR = Figure(
    "rollup:llm_tokens:increase1h", "increase(series:llm_tokens_total:clamped{}[1h])"
)


def total(figure: Figure, by: str, also: str = "") -> str:
    """A figure of what is chosen, summed by labels; `also` are more matchers.

    Where `by` has tenant_id or model, each value has its own sum under All as well. One of the
    two sides is always empty: no level of a rollup has both labels, and the series are taken
    only where both have a value.
    """
    labels = by.split(", ")
    matchers = [LEDGER, *_tenant(labels), *_model(labels), ENVIRONMENT, *([also] if also else [])]
    levels = [*matchers, *_told(labels)]
    every = [*matchers, *_picked(labels)]
    series = figure.series.replace("{}", f"{{{', '.join(every)}}}")
    if "model" in labels:
        # As the rollup calls what has no model.
        series = f'label_replace({series}, "model", "none", "model", "")'
    return f"sum by ({by}) ({figure.rollup}{{{', '.join(levels)}}} or {series})"


def _tenant(labels: Container[str]) -> list[str]:
    return [EACH_TENANT if "tenant_id" in labels else TENANT]


def _model(labels: Container[str]) -> list[str]:
    return [EACH_MODEL if "model" in labels else MODEL]


def _told(labels: Container[str]) -> list[str]:
    """Of a rollup: the level that has what is told apart."""
    return [f'{label}!=""' for label in ("tenant_id", "model") if label in labels]


def _picked(labels: Container[str]) -> list[str]:
    """Of the series: only where a value is chosen of what is not told apart."""
    return [f'{label}!=""' for label in ("tenant_id", "model") if label not in labels]
