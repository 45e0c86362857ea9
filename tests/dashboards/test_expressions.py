"""What can be said about the queries without running them."""

import json
import re
from collections import Counter
from typing import Any

import promql_parser
import pytest
import yaml

from costmeter.metrics.catalog import BUDGET_LABELS, CATALOG, COST_LABELS, FAMILIES, OWNER_LABELS
from dashboards import build

ROOT = build.FOLDER.parents[1]
DASHBOARDS = {name: json.loads(text) for name, text in build.texts().items()}
PANELS = {
    name: [panel for panel in data["panels"] if panel["type"] != "row"]
    for name, data in DASHBOARDS.items()
}
COST, HEALTH = "llm-cost-monitoring.json", "exporter-health.json"
BILLS = "bills-and-sources.json"
GPU = "gpu-efficiency.json"
BUDGETS, FORECAST = "budgets.json", "forecast-and-anomalies.json"
EXPRESSIONS = [
    (f"{name}: {panel['title']} {target['refId']}", target["expr"])
    for name, panels in PANELS.items()
    for panel in panels
    for target in panel["targets"]
]

#: What Prometheus and its Python client write, and their labels.
FOREIGN = {
    "ALERTS": ("tenant_id", "alertname", "alertstate", "severity", "budget", "period", "owner"),
    "scrape_duration_seconds": (),
    "process_resident_memory_bytes": (),
    "process_cpu_seconds_total": (),
}
#: Recorded series that are called after no single family.
MADE = {
    "series:llm_net_cost:increase1h": COST_LABELS,
    "series:llm_net_cost:sum24h": COST_LABELS,
    "series:llm_net_cost:change24h": COST_LABELS,
    "rollup:llm_net_cost:increase1h": COST_LABELS,
    "rollup:llm_requests:increase1h": CATALOG["llm_requests_total"].labels,
    "rollup:llm_tokens:increase1h": CATALOG["llm_tokens_total"].labels,
    **{
        f"budget:llm_budget_cost:{window}": BUDGET_LABELS
        for window in ("increase1h", "increase6h", "increase1d", "sum1d", "sum3d")
    },
    "budget:llm_budget_period_seconds:max": BUDGET_LABELS,
    "job:costmeter_cost_data:stale": (),
    "job:gpu_utilization_percent:avg": (),
    "owner:gpu_owner_used_seconds:increase1h": OWNER_LABELS,
    "owner:gpu_owner_idle_seconds:increase1h": OWNER_LABELS,
    "owner:gpu_idle_cost_usd:increase1h": OWNER_LABELS,
}
#: Gauges of scopes, thousands of series of which a page reads those that are chosen; and what
#: few budgets have.
OF_SCOPES = {
    family.name for family in FAMILIES
    if family.source == "ledger" and {"dimension", "value"} <= {*family.labels}
} | {
    "llm_forecast_made_timestamp_seconds", "llm_implausible_price_usd",
    "llm_implausible_price_calls", "llm_budget_planned",
}  # fmt: skip
HISTOGRAMS = {f"{family.name}_bucket" for family in FAMILIES if family.kind == "histogram"}
VARIABLES = {"tenant": "tenant_id", "model": "model", "environment": "environment"}
RECORDED = {
    rule["record"]
    for path in sorted((ROOT / "alert_rules").glob("*.rules.yml"))
    for group in yaml.safe_load(path.read_text("utf-8"))["groups"]
    for rule in group["rules"]
    if "record" in rule
}


def filled(expression: str) -> str:
    """The expression as Grafana sends it, with everything chosen."""
    for name, value in {
        "__rate_interval": "2m", "__interval": "1h", "__range": "30d",
        "ledger": "costmeter", "tenant": "()", "model": "()", "environment": ".*",
        "instance": ".*", "scope": ".*", "source": ".*", "node": ".*", "gpu_model": ".*",
        "namespace": ".*", "budget": ".*", "period": ".*", "owner": ".*", "dimension": "model",
        "value": "gpt-4o",
    }.items():  # fmt: skip
        expression = re.sub(rf"\${name}\b", value, expression)
    return expression


def selectors(node: Any) -> list[Any]:
    """All vector selectors below a node of a parsed expression."""
    if isinstance(node, promql_parser.VectorSelector):
        return [node]
    if isinstance(node, promql_parser.MatrixSelector):
        return [node.vector_selector]
    children = [getattr(node, part, None) for part in ("lhs", "rhs", "expr", "param")]
    children += list(getattr(node, "args", None) or [])
    return [found for child in children if child is not None for found in selectors(child)]


def labels_of(metric: str) -> tuple[str, ...]:
    """The labels that a metric or a recorded series can be narrowed by."""
    if metric in FOREIGN or metric in MADE:
        return FOREIGN.get(metric, MADE.get(metric, ()))
    return CATALOG[metric.split(":")[1] if ":" in metric else metric].labels


def read(expression: str) -> list[Any]:
    return selectors(promql_parser.parse(filled(expression)))


def written(expression: str) -> list[tuple[str, str]]:
    """Metric and matchers of each selector, as they stand in the file."""
    return re.findall(r"([a-zA-Z_][\w:]*)\{([^}]*)\}", expression)


@pytest.mark.parametrize(("where", "expression"), EXPRESSIONS, ids=[at for at, _ in EXPRESSIONS])
def test_expression_reads_what_is_exported_or_recorded(where: str, expression: str) -> None:
    assert "$" not in filled(expression)
    nodes = read(expression)
    assert nodes
    known = set(CATALOG) | RECORDED | set(FOREIGN) | HISTOGRAMS
    assert {node.name for node in nodes} - known == set()
    assert len(written(expression)) == len(nodes), "a selector without matchers"


def test_ledger_families_are_read_through_their_records() -> None:
    """Replicas show the same figures, so a raw family would count them twice."""
    raw = {family.name for family in FAMILIES if family.source == "ledger"} - OF_SCOPES
    read_raw = [at for at, text in EXPRESSIONS if raw & {node.name for node in read(text)}]
    assert [at for at in read_raw if not at.startswith(f"{BILLS}: ")] == []


def test_gauges_without_a_record_are_folded_where_they_are_read() -> None:
    """Those of a few scopes, and of one chosen: each is under a `max by`, over all of its labels
    that are not narrowed to one value."""
    raw = {family.name for family in FAMILIES if family.source == "ledger"}
    folded = re.compile(
        r"max by \([\w, ]+\) \((?:last_over_time\()?(\w+)\{[^}]*\}(?:\[1d\] offset -\dd\))?\)"
    )
    found: Counter[str] = Counter()
    for where, text in EXPRESSIONS:
        bare = folded.sub("", text)
        assert raw & {metric for metric, _ in written(bare)} == set(), where
        found[where.split(": ")[0]] += len(raw & set(folded.findall(text)))
    assert found[BILLS] > 10
    assert found[FORECAST] > 10
    assert found[COST] == 5
    assert found[BUDGETS] == 1


def test_every_selector_is_of_one_ledger() -> None:
    for where, text in EXPRESSIONS:
        for metric, inside in written(text):
            assert 'job="$ledger"' in inside, (where, metric)


def test_cost_dashboard_obeys_its_variables() -> None:
    """Each selector is narrowed by each variable, or the metric cannot be and the panel says so.

    A selector may name a label that the metric has not got: it then answers under All alone.
    """
    for panel in PANELS[COST]:
        for target in panel["targets"]:
            for metric, inside in written(target["expr"]):
                for variable, label in VARIABLES.items():
                    if metric == "costmeter_ledger_up" or f'{label}=~"${variable}' in inside:
                        continue
                    assert label not in labels_of(metric), (panel["title"], metric, variable)
                    assert variable in panel["description"], (panel["title"], metric, variable)


def test_gpu_dashboard_obeys_its_variables() -> None:
    """Each selector is narrowed by each variable that the metric has the label of."""
    owned = {"tenant": "tenant_id", "namespace": "namespace"}
    wanted = {"node": "node", "gpu_model": "gpu_model", **owned}
    for panel in PANELS[GPU]:
        for target in panel["targets"]:
            for metric, inside in written(target["expr"]):
                if metric == "costmeter_ledger_up":
                    continue
                for variable, label in wanted.items():
                    if f'{label}=~"${variable}"' not in inside:
                        has = labels_of(metric.removesuffix("_bucket"))
                        # A sign of life, read only to tell which GPUs are lost.
                        known = variable == "gpu_model" and metric == "gpu_memory_total_bytes"
                        assert label not in has or known, (panel["title"], metric, variable)


def test_budget_dashboard_obeys_its_variables() -> None:
    """Each selector of a budget's figure is narrowed by budget, period and tenant; those of the
    owner are known to one record, which every figure but planned spend is joined with."""
    of_all = {"rollup:llm_cost_month_to_date:sum", "category:llm_category_cost_threshold:max"}
    for panel in PANELS[BUDGETS]:
        for target in panel["targets"]:
            found = written(target["expr"])
            for metric, inside in found:
                if metric in of_all | {"costmeter_ledger_up", "job:costmeter_cost_data:stale"}:
                    assert "whole ledger" in panel["description"] or metric not in of_all
                    continue
                for variable, label in (
                    ("budget", "budget"), ("period", "period"), ("tenant", "tenant_id"),
                ):  # fmt: skip
                    assert f'{label}=~"${variable}"' in inside, (panel["title"], metric)
            if any(metric.startswith("budget:") for metric, _ in found):
                owned = any('owner=~"$owner"' in inside for _, inside in found)
                assert owned or "Owner does not narrow" in panel["description"], panel["title"]


def test_forecast_dashboard_obeys_its_variables() -> None:
    """What is known by scope is of the chosen one, or of its dimension where the panel says so."""
    everywhere = (
        "whatever is chosen",
        "whole ledger",
        "of all dimensions",
        "the newest ones",
        "Nothing",
    )
    for panel in PANELS[FORECAST]:
        about = panel["description"]
        for target in panel["targets"]:
            for metric, inside in written(target["expr"]):
                if 'dimension="$dimension"' in inside:
                    assert 'value="$value"' in inside or "Value does not narrow it" in about
                elif '$dimension="$value"' not in inside and metric != "costmeter_ledger_up":
                    assert any(words in about for words in everywhere), (panel["title"], metric)


def test_gpu_samples_are_folded_before_they_are_added_up() -> None:
    """A node may be scraped twice: no raw series stands right below a sum or a count."""
    for where, text in EXPRESSIONS:
        if where.startswith(f"{GPU}: "):
            raw = re.findall(
                r"\b(?:sum|count|avg) by \([^)]*\) \((?:increase|rate)?\(?(\w+)\{", text
            )
            assert raw == [], where


def test_a_rollup_is_read_at_one_level() -> None:
    """Each level holds the whole, so a selector without a say on both labels counts it twice.

    Either the variable picks the level (All is the absent label), or the label must have a value.
    """
    for where, text in EXPRESSIONS:
        for metric, inside in written(text):
            if not metric.startswith("rollup:") or where.startswith(HEALTH):
                continue
            for variable, label in (("tenant", "tenant_id"), ("model", "model")):
                picked = f'{label}=~"${variable}"' in inside
                picked |= f'{label}=""' in inside or f'{label}="$value"' in inside
                told = f'{label}=~"${variable}(^.*)?"' in inside and f'{label}!=""' in inside
                assert picked or told, (where, metric, label)


def test_series_of_every_tenant_are_read_where_values_are_chosen() -> None:
    """Under All a page reads rollups: the full series must be empty there."""
    known_small = {"series:llm_cost_last_month:max"}
    once = {"series:llm_net_cost:sum24h", "series:llm_net_cost:change24h"}
    for where, text in EXPRESSIONS:
        for metric, inside in written(text):
            if metric.startswith("series:") and metric not in known_small | once:
                bounds = [
                    f'{label}!=""' in inside and f'{label}=~"${variable}"' in inside
                    for variable, label in (("tenant", "tenant_id"), ("model", "model"))
                ]
                bounds += ['$dimension="$value", $dimension!=""' in inside]
                assert any(bounds), (where, metric)


def test_health_dashboard_obeys_its_process() -> None:
    """What a process says of itself is narrowed by `$instance`; what is folded cannot be."""
    folded = {"costmeter_unpriced_requests", "costmeter_ledger_up"}
    for panel in PANELS[HEALTH]:
        for target in panel["targets"]:
            for metric, inside in written(target["expr"]):
                if ":" not in metric and metric not in folded:
                    assert 'instance=~"$instance"' in inside, (panel["title"], metric)


def test_job_is_never_aggregated_away() -> None:
    for where, text in EXPRESSIONS:
        for labels in re.findall(r"\bby \(([^)]*)\)", text):
            assert "job" in [label.strip() for label in labels.split(",")], where
        assert not re.search(r"\b(sum|max|min|avg|count|group) ?\(", text), where


def test_grouping_labels_exist() -> None:
    """A label that no family has would silently group everything into one."""
    known = {label for family in FAMILIES for label in family.labels} | {"job", "instance"}
    known |= set(FOREIGN["ALERTS"])
    for where, text in EXPRESSIONS:
        for labels in re.findall(r"\b(?:by|on) \(([^)]*)\)", text):
            assert {label.strip() for label in labels.split(",")} <= known, where


@pytest.mark.parametrize("name", DASHBOARDS)
def test_legends_name_labels_that_the_query_keeps(name: str) -> None:
    for panel in DASHBOARDS[name]["panels"]:
        for target in panel.get("targets", []):
            for label in re.findall(r"{{(\w+)}}", target["legendFormat"]):
                assert re.search(rf"\b{label}\b", target["expr"]), (panel["title"], label)


@pytest.mark.parametrize("name", DASHBOARDS)
def test_values_of_variables_come_from_the_ledger(name: str) -> None:
    entries = DASHBOARDS[name]["templating"]["list"]
    assert entries[0]["type"] == "datasource"
    for entry in entries[1:]:
        assert entry["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert re.fullmatch(r"label_values\(.+, \w+\)", entry["query"], re.DOTALL)
        if entry["name"] != "ledger":
            assert 'job="$ledger"' in entry["query"]
