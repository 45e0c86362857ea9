"""The rules as Prometheus sees them, and the sets that must be equal: alerts, cases, runbooks."""

import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import promql_parser
import pytest

from costmeter.cli.parser import build_parser
from costmeter.metrics.catalog import CATALOG
from rules.tools import ROOT, RULES, alerts, case_files, load, promtool, rule_files, rules

KINDS = {"fires", "silent", "duplicates", "missing"}
CASE = re.compile(r"(\w+) (fires|silent|duplicates|missing): .+")
RUNBOOKS = "https://github.com/costmeter/costmeter/blob/main/alert_rules/runbooks"
SECTIONS = [
    "What it means",
    "Why it matters",
    "First three minutes",
    "Causes",
    "How to fix",
    "How to silence",
    "When it is a false alarm",
]
#: What Prometheus itself writes.
FOREIGN = {"up", "ALERTS"}
ALERT_NAMES = sorted(alerts())


def cases() -> list[dict[str, Any]]:
    return [case for path in case_files() for case in load(path)["tests"]]


@pytest.fixture(scope="module")
def verdicts() -> dict[str, subprocess.CompletedProcess[str]]:
    """promtool's answer for every file of cases, run side by side."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        answers = pool.map(lambda path: promtool("test", "rules", str(path)), case_files())
        return dict(zip([path.name for path in case_files()], answers, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", [path.name for path in case_files()])
def test_cases_hold(name: str, verdicts: dict[str, subprocess.CompletedProcess[str]]) -> None:
    assert verdicts[name].returncode == 0, verdicts[name].stdout + verdicts[name].stderr


def test_rule_files_are_valid() -> None:
    answer = promtool("check", "rules", "--lint-fatal", *map(str, rule_files()))
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_alerts_runbooks_and_cases_are_the_same_set() -> None:
    runbooks = {path.stem for path in (RULES / "runbooks").glob("*.md")}
    tested = {match[1] for case in cases() if (match := CASE.fullmatch(case["name"]))}
    assert set(ALERT_NAMES) == runbooks == tested


def test_every_case_is_named_for_an_alert_or_for_the_records() -> None:
    odd = [
        case["name"]
        for case in cases()
        if not case["name"].startswith("recording: ") and not CASE.fullmatch(case["name"])
    ]
    assert odd == []


@pytest.mark.parametrize("alert", ALERT_NAMES)
def test_alert_has_a_case_of_every_kind(alert: str) -> None:
    found = {
        match[2]
        for case in cases()
        if (match := CASE.fullmatch(case["name"])) and match[1] == alert
    }
    assert found == KINDS


def _fires(case: dict[str, Any], alert: str) -> bool:
    """Whether a case expects this alert in full, with its labels and its words."""
    return any(
        test["alertname"] == alert and test.get("exp_alerts")
        for test in case.get("alert_rule_test", [])
    )


def _stays_silent(case: dict[str, Any], alert: str) -> bool:
    """Whether a case expects that nothing of this alert fires at some time."""
    by_alert = any(
        test["alertname"] == alert and not test.get("exp_alerts")
        for test in case.get("alert_rule_test", [])
    )
    return by_alert or any(
        f'alertname="{alert}"' in test["expr"] and not test.get("exp_samples")
        for test in case.get("promql_expr_test", [])
    )


@pytest.mark.parametrize("alert", ALERT_NAMES)
def test_a_firing_case_fires_and_a_silent_case_is_silent(alert: str) -> None:
    firing = [case for case in cases() if case["name"].startswith(f"{alert} fires: ")]
    silent = [case for case in cases() if case["name"].startswith(f"{alert} silent: ")]
    assert all(_fires(case, alert) for case in firing)
    assert all(_stays_silent(case, alert) for case in silent)


@pytest.mark.parametrize("alert", ALERT_NAMES)
def test_duplicates_are_duplicates(alert: str) -> None:
    """The same series twice, apart from labels that name the process."""
    process = re.compile(r'(instance|pod|node|replica)="[^"]*",?')
    for case in cases():
        if case["name"].startswith(f"{alert} duplicates: "):
            bare = [process.sub("", series["series"]) for series in case["input_series"]]
            assert len(set(bare)) < len(bare), case["name"]


@pytest.mark.parametrize("alert", ALERT_NAMES)
def test_alert_says_what_to_do(alert: str) -> None:
    rule = alerts()[alert]
    assert rule["labels"]["severity"] in {"critical", "warning"}
    notes = rule["annotations"]
    assert notes["summary"].strip()
    assert "First: " in notes["description"]
    assert notes["runbook_url"] == f"{RUNBOOKS}/{alert}.md"
    assert rule["for"]


@pytest.mark.parametrize("alert", ALERT_NAMES)
def test_annotations_use_no_metric_as_a_function(alert: str) -> None:
    """`{{ llm_budget_monthly }}` does not load; a figure comes through `query`."""
    for text in alerts()[alert]["annotations"].values():
        for action in re.findall(r"{{(.*?)}}", text):
            outside_quotes = re.sub(r'"(\\.|[^"\\])*"', "", action)
            assert not re.search(r"(?<![.\w])(llm|gpu|costmeter|job|tenant)_", outside_quotes), (
                action
            )


@pytest.mark.parametrize("alert", ALERT_NAMES)
def test_runbook_has_its_sections(alert: str) -> None:
    text = (RULES / "runbooks" / f"{alert}.md").read_text()
    assert text.startswith(f"# {alert}\n")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == SECTIONS
    assert f"alertname={alert}" in text
    assert all(
        len(part.split()) >= 8 for part in re.split(r"^## .+$", text, flags=re.MULTILINE)[1:]
    )


def selectors(node: Any) -> list[Any]:
    """All vector selectors below a node of a parsed expression."""
    if isinstance(node, promql_parser.VectorSelector):
        return [node]
    if isinstance(node, promql_parser.MatrixSelector):
        return [node.vector_selector]
    children = [getattr(node, part, None) for part in ("lhs", "rhs", "expr", "param")]
    children += list(getattr(node, "args", None) or [])
    return [found for child in children if child is not None for found in selectors(child)]


def unknown_names(expression: str) -> set[str]:
    known = set(CATALOG) | FOREIGN | {rule["record"] for rule in rules() if "record" in rule}
    names = {selector.name for selector in selectors(promql_parser.parse(expression))}
    return {name for name in names if name} - known


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.get("alert") or rule["record"])
def test_rule_reads_known_metrics_and_keeps_job(rule: dict[str, Any]) -> None:
    assert selectors(promql_parser.parse(rule["expr"]))
    assert unknown_names(rule["expr"]) == set()
    for keyword, labels in re.findall(r"\b(by|without|on|ignoring) \(([^)]*)\)", rule["expr"]):
        named = [label.strip() for label in labels.split(",")]
        assert ("job" in named) == (keyword in {"by", "on"}), rule["expr"]
    bare = r"\b(sum|max|min|avg|count|group)\s*\((?!.*\b(by|without)\b)"
    assert not re.search(bare, rule["expr"]), "an aggregation without by or without drops job"


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.get("alert") or rule["record"])
def test_grouping_labels_exist(rule: dict[str, Any]) -> None:
    """A label that no family has would silently group everything into one."""
    family_labels = {label for family in CATALOG.values() for label in family.labels}
    for labels in re.findall(r"\b(?:by|on) \(([^)]*)\)", rule["expr"]):
        named = {label.strip() for label in labels.split(",")}
        assert named <= family_labels | {"job", "instance"}


def test_records_are_named_level_metric_operation_and_once() -> None:
    names = [rule["record"] for rule in rules() if "record" in rule]
    assert [name for name in set(names) if names.count(name) > 1] == []
    shape = re.compile(
        r"(rollup|series|job|tenant|owner|model|category|budget|feed|gpu|label):[a-z_0-9]+:[a-z0-9_]+"
    )
    assert [name for name in names if not shape.fullmatch(name)] == []


def test_a_record_stands_above_what_reads_it() -> None:
    """Rules of a group run in order; across groups the order is Prometheus' own."""
    for path in rule_files():
        for group in load(path)["groups"]:
            order = [rule["record"] for rule in group["rules"] if "record" in rule]
            for place, rule in enumerate(group["rules"]):
                if "record" in rule:
                    read = {node.name for node in selectors(promql_parser.parse(rule["expr"]))}
                    assert not read & set(order[place + 1 :]), rule["record"]


def test_counters_are_read_through_their_clamped_records() -> None:
    """Of the ledger's counters, only the clamp itself reads the raw family."""
    counters = {f.name for f in CATALOG.values() if f.kind == "counter" and f.source == "ledger"}
    for rule in rules():
        raw = {node.name for node in selectors(promql_parser.parse(rule["expr"]))} & counters
        if raw:
            assert rule.get("record", "").endswith(":clamped"), rule
    clamped = [r["record"] for r in rules() if r.get("record", "").endswith(":clamped")]
    assert {name.split(":")[1] for name in clamped} == counters


@pytest.mark.parametrize("name", sorted(f.name for f in CATALOG.values() if f.source == "ledger"))
def test_replica_labels_are_no_labels_of_the_ledger(name: str) -> None:
    """What the records fold away must never be something that a family says."""
    folded = {"instance", "pod", "replica", "node", "container", "endpoint"}
    assert not folded & set(CATALOG[name].labels)


def _code(text: str) -> list[str]:
    """PromQL blocks of a runbook, one expression a line unless a line is a continuation."""
    found: list[str] = []
    for block in re.findall(r"```promql\n(.*?)```", text, re.DOTALL):
        lines = [line.strip() for line in block.strip().splitlines()]
        joined = " ".join(lines)
        found += [joined] if " on (" in joined else lines
    return found


@pytest.mark.parametrize("path", sorted((RULES / "runbooks").glob("*.md")), ids=lambda p: p.stem)
def test_runbook_queries_parse_and_name_known_metrics(path: Path) -> None:
    for expression in _code(path.read_text()):
        assert unknown_names(expression) == set(), expression


@pytest.mark.parametrize("path", sorted((RULES / "runbooks").glob("*.md")), ids=lambda p: p.stem)
def test_runbook_commands_are_commands_of_costmeter(path: Path) -> None:
    known = next(one.choices for one in build_parser()._actions if one.metavar == "COMMAND")
    text = path.read_text() + str(alerts()[path.stem]["annotations"])
    for called in re.findall(r"`costmeter ([a-z-]+)", text):
        assert called in (known or ()), called


def test_prometheus_configuration_is_valid_and_scrapes_often_enough() -> None:
    path = ROOT / "deploy" / "prometheus" / "prometheus.yml"
    answer = promtool("check", "config", str(path))
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert f"{len(rule_files())} rule files found" in answer.stdout
    config = load(path)
    seconds = {"30s": 30, "1m": 60, "2m": 120}
    assert seconds[config["global"]["scrape_interval"]] <= 120
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    assert jobs["costmeter"]["static_configs"] == [{"targets": ["127.0.0.1:9952"]}]


def test_alerts_are_documented() -> None:
    text = (ROOT / "docs" / "alerts.md").read_text()
    rows = re.findall(
        r"^\| \[(\w+)\]\(\.\./alert_rules/runbooks/(\w+)\.md\) \|", text, re.MULTILINE
    )
    assert sorted(name for name, _ in rows) == ALERT_NAMES
    assert all(name == link for name, link in rows)
    for name, rule in alerts().items():
        line = next(line for line in text.splitlines() if line.startswith(f"| [{name}]"))
        # One with several rules has several severities.
        kept = re.escape(rule["for"])
        assert re.search(rf"\| {kept} \| ([a-z, ]*{rule['labels']['severity']}[a-z, ]*) \|", line)
    for record in (rule["record"] for rule in rules() if "record" in rule):
        assert f"`{record}`" in text
