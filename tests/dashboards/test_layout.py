"""What the panels look like, where they stand, and that Grafana can load the files."""

import json
import re
from itertools import combinations
from typing import Any

import pytest
import yaml

from costmeter.model import CATEGORIES, TOKEN_CLASSES
from dashboards import budget_looks, build, colours, exporter_health, llm_cost_monitoring
from dashboards.budget_queries import WINDOWS
from dashboards.budget_state_queries import ALERTS

ROOT = build.FOLDER.parents[1]
DASHBOARDS = {name: json.loads(text) for name, text in build.texts().items()}
PANELS = [
    pytest.param(panel, id=f"{name.removesuffix('.json')}: {panel['title']}")
    for name, data in DASHBOARDS.items()
    for panel in data["panels"]
    if panel["type"] != "row"
]
each_dashboard = pytest.mark.parametrize("name", DASHBOARDS)
each_panel = pytest.mark.parametrize("panel", PANELS)

REPOSITORY = "https://github.com/costmeter/costmeter/blob/main/"
#: Types that Grafana 10 and newer brings along.
TYPES = {"stat", "gauge", "bargauge", "piechart", "timeseries", "table"}


def shown(name: str) -> list[dict[str, Any]]:
    return [panel for panel in DASHBOARDS[name]["panels"] if panel["type"] != "row"]


@each_dashboard
def test_ids_and_titles_are_unique(name: str) -> None:
    ids = [panel["id"] for panel in DASHBOARDS[name]["panels"]]
    titles = [panel["title"] for panel in DASHBOARDS[name]["panels"]]
    assert len(set(ids)) == len(ids)
    assert len(set(titles)) == len(titles)


@each_dashboard
def test_panels_stand_on_the_grid_and_do_not_overlap(name: str) -> None:
    places = [(panel["title"], panel["gridPos"]) for panel in DASHBOARDS[name]["panels"]]
    for title, at in places:
        assert at["x"] >= 0, title
        assert at["x"] + at["w"] <= 24, title
        assert min(at["w"], at["h"]) >= 1, title
    for (one, a), (other, b) in combinations(places, 2):
        beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        below = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert beside or below, (one, other)


@each_dashboard
def test_rows_leave_no_gap(name: str) -> None:
    """Grafana would pull the panels up and the picture would not be the one that was drawn."""
    covered = {
        (x, y)
        for panel in DASHBOARDS[name]["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    }
    height = max(y for _, y in covered) + 1
    assert len(covered) == 24 * height


@each_panel
def test_panel_says_what_it_answers(panel: dict[str, Any]) -> None:
    about = panel["description"]
    assert len(about.split()) >= 6
    assert about[0].isupper()
    assert about.endswith(".")
    assert panel["title"] == panel["title"].strip()
    assert panel["type"] in TYPES


@each_panel
def test_panel_has_a_unit_a_text_for_nothing_and_a_data_source(panel: dict[str, Any]) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    assert defaults["unit"]
    assert defaults["noValue"] not in {"", "none"}
    wanted = {"type": "prometheus", "uid": "${datasource}"}
    assert panel["datasource"] == wanted
    assert all(target["datasource"] == wanted for target in panel["targets"])


@each_panel
def test_queries_of_a_panel_have_names_of_their_own(panel: dict[str, Any]) -> None:
    names = [target["refId"] for target in panel["targets"]]
    assert names == [chr(ord("A") + place) for place in range(len(names))]
    for target in panel["targets"]:
        assert target["range"] is not target["instant"]
        assert target["expr"].strip()
        assert target["legendFormat"] or target["format"] == "table"


@each_panel
def test_panel_has_todays_form(panel: dict[str, Any]) -> None:
    """Nothing of the formats before Grafana 10 is left, and one value is the last one."""
    assert not {"span", "editable", "mappings", "repeat", "height"} & set(panel)
    assert "fieldOptions" not in panel["options"]
    assert None not in panel.values()
    if panel["type"] in {"stat", "gauge", "bargauge", "piechart"}:
        assert panel["options"]["reduceOptions"]["calcs"] == ["lastNotNull"]
        assert all(target["instant"] for target in panel["targets"])
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    assert steps[0]["value"] is None
    values = [step["value"] for step in steps[1:]]
    assert values == sorted(values)


@each_panel
def test_links_of_a_panel_lead_to_runbooks(panel: dict[str, Any]) -> None:
    for link in panel.get("links", []):
        assert link["url"].startswith(REPOSITORY)
        target = ROOT / link["url"].removeprefix(REPOSITORY)
        assert target.is_file(), link
        assert link["title"] == f"Runbook: {target.stem}"


@each_panel
def test_an_override_names_something_that_is_there(panel: dict[str, Any]) -> None:
    """A misspelt column keeps the wrong unit without a word."""
    columns = [
        title
        for step in panel.get("transformations", [])
        for title in step["options"].get("renameByName", {}).values()
    ]
    if panel["type"] == "table":
        named = {entry["matcher"]["options"] for entry in panel["fieldConfig"]["overrides"]}
        assert named <= set(columns)
        assert panel["options"]["sortBy"][0]["displayName"] in columns
        values = {f"Value #{target['refId']}" for target in panel["targets"]}
        rename = panel["transformations"][-1]["options"]["renameByName"]
        assert {field for field in rename if field.startswith("Value #")} == values


def test_every_alert_has_a_panel_that_links_to_its_runbook() -> None:
    linked = {
        link["title"].removeprefix("Runbook: ")
        for name in DASHBOARDS
        for panel in shown(name)
        for link in panel.get("links", [])
    }
    assert linked == {path.stem for path in (ROOT / "alert_rules" / "runbooks").glob("*.md")}


@each_dashboard
def test_links_of_a_dashboard_exist(name: str) -> None:
    uids = {data["uid"] for data in DASHBOARDS.values()}
    links = DASHBOARDS[name]["links"]
    assert links
    for link in links:
        assert link["type"] == "link"
        if link["url"].startswith("/d/"):
            assert link["url"].removeprefix("/d/") in uids - {DASHBOARDS[name]["uid"]}
            assert link["keepTime"]
        else:
            assert (ROOT / link["url"].removeprefix(REPOSITORY)).is_file()


@each_dashboard
def test_dashboard_can_be_imported_and_provisioned(name: str) -> None:
    data = DASHBOARDS[name]
    assert data["id"] is None, "an id of one Grafana is wrong in every other"
    assert re.fullmatch(r"costmeter-[a-z-]{1,30}", data["uid"])
    assert data["schemaVersion"] >= 38
    assert data["timezone"] == "utc"
    assert data["tags"] == ["costmeter"]
    assert "__inputs" not in data


def test_uids_and_names_stay() -> None:
    """Bookmarks and links of other dashboards go by them."""
    assert llm_cost_monitoring.UID == "costmeter-llm-cost"
    assert exporter_health.UID == "costmeter-exporter-health"
    assert DASHBOARDS["llm-cost-monitoring.json"]["title"] == "LLM Cost Monitoring"
    assert DASHBOARDS["llm-cost-monitoring.json"]["refresh"] == "5m"


def test_variables_of_the_cost_dashboard() -> None:
    entries = DASHBOARDS["llm-cost-monitoring.json"]["templating"]["list"]
    assert [entry["name"] for entry in entries] == [
        "datasource", "ledger", "tenant", "model", "environment",
    ]  # fmt: skip
    assert [entry["allValue"] for entry in entries[2:]] == ["()", "()", ".*"]
    for entry in entries[2:]:
        assert (entry["multi"], entry["includeAll"]) == (True, True)
        assert entry["current"] == {"selected": True, "text": ["All"], "value": ["$__all"]}
    ledger = entries[1]
    assert (ledger["multi"], ledger["includeAll"]) == (False, False)


def test_the_panels_that_were_promised() -> None:
    by_title = {panel["title"]: panel for panel in shown("llm-cost-monitoring.json")}

    def limits(title: str) -> list[Any]:
        return [
            (step["value"], step["color"])
            for step in by_title[title]["fieldConfig"]["defaults"]["thresholds"]["steps"]
        ]

    assert limits("Month to date") == [(None, "green"), (10_000, "yellow"), (50_000, "red")]
    assert limits("Cost vs budget") == [(None, "green"), (0.8, "yellow"), (1, "red")]
    gauge = by_title["Cost vs budget"]
    assert gauge["type"] == "gauge"
    assert (gauge["fieldConfig"]["defaults"]["min"], gauge["fieldConfig"]["defaults"]["max"]) == (
        0,
        1.5,
    )
    assert by_title["Cost per request"]["fieldConfig"]["defaults"]["decimals"] == 4
    assert by_title["Cost by model"]["type"] == "piechart"
    assert by_title["Top tenants"]["type"] == "bargauge"
    assert by_title["Daily cost by category"]["interval"] == "1d"


def test_burn_rates_are_drawn_where_the_alerts_stand() -> None:
    table = yaml.safe_load((ROOT / "alert_rules" / "burn_rates.yml").read_text("utf-8"))
    seconds = {"h": 3_600, "d": 86_400}
    wanted = {
        (int(row["window"][:-1]) * seconds[row["window"][-1]], row["share"])
        for row in table["rows"]
    }
    assert {(seconds, share) for _, seconds, share in WINDOWS.values()} == wanted
    assert table["least_excess"] == 1


def test_every_alert_of_a_budget_has_a_colour() -> None:
    runbooks = {path.stem for path in (ROOT / "alert_rules" / "runbooks").glob("*.md")}
    assert set(budget_looks.ALERTS) == {name for name in runbooks if re.fullmatch(ALERTS, name)}


def test_a_band_is_filled_down_to_a_line_that_is_there() -> None:
    filled = 0
    for panel in (panel for name in DASHBOARDS for panel in shown(name)):
        names = {target["legendFormat"] for target in panel["targets"]}
        for override in panel["fieldConfig"]["overrides"]:
            for entry in override["properties"]:
                if entry["id"] == "custom.fillBelowTo":
                    assert {override["matcher"]["options"], entry["value"]} <= names
                    filled += 1
    assert filled >= 6


def test_every_category_and_common_class_has_a_colour() -> None:
    assert set(colours.CATEGORIES) == set(CATEGORIES)
    assert len(set(colours.CATEGORIES.values())) == len(CATEGORIES)
    assert set(colours.TOKEN_CLASSES) <= set(TOKEN_CLASSES)


def test_provisioning_is_what_grafana_reads() -> None:
    folder = ROOT / "deploy" / "grafana" / "provisioning"
    sources = yaml.safe_load((folder / "datasources" / "prometheus.yml").read_text("utf-8"))
    providers = yaml.safe_load((folder / "dashboards" / "costmeter.yml").read_text("utf-8"))
    assert sources["apiVersion"] == providers["apiVersion"] == 1
    assert [source["type"] for source in sources["datasources"]] == ["prometheus"]
    interval = sources["datasources"][0]["jsonData"]["timeInterval"]
    scraped = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text("utf-8"))
    assert interval == scraped["global"]["scrape_interval"]
    (provider,) = providers["providers"]
    assert provider["type"] == "file"
    assert provider["options"]["path"].startswith("/")
