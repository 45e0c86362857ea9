"""From panels to a dashboard, and the only place that knows grafanalib.

grafanalib 0.7.1 writes some panels in formats of Grafana 6. So it makes the frame (grid, targets,
variables, ids), and the options of each panel come from `panels` in today's form. What is left of
the old forms is taken out, and every panel gets what a reader needs: a unit, a text for "nothing",
the data source of the dashboard's variable, and one refId a query.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from grafanalib import core
from grafanalib._gen import DashboardEncoder

from dashboards.panels import Json, Kind, Panel

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
#: Written by Grafana 10 and newer; older forms are migrated from, ours need none.
SCHEMA_VERSION = 39
REPOSITORY = "https://github.com/costmeter/costmeter/blob/main"

#: Left over from old panel formats. Some of these mean something else today.
_LEGACY_PANEL = (
    *("cacheTimeout", "color", "columns", "editable", "error", "fontSize", "height", "mappings"),
    *("maxPerRow", "minSpan", "repeat", "repeatDirection", "span"),
)
_LEGACY_DASHBOARD = ("__inputs", "gnetId", "hideControls", "rows", "sharedCrosshair", "style")

_KINDS: Mapping[Kind, type[core.Panel]] = {
    "stat": core.Stat,
    "gauge": core.GaugePanel,
    "bargauge": core.BarGauge,
    "piechart": core.PieChartv2,
    "timeseries": core.TimeSeries,
    "table": core.Table,
}


def variable(name: str, label: str, query: str, every: str = "", first: str = "") -> core.Template:
    """A variable with the values of a query; with `every`, what All stands for, it takes several.

    `every` is a regular expression and not empty: Grafana takes an empty one for a list of all.
    One that takes a single value begins with `first`, else with the first value there is.
    """
    many = bool(every)
    return core.Template(
        name=name, label=label, query=query, dataSource=DATASOURCE, refresh=2, sort=5,
        multi=many, includeAll=many, allValue=every or None,
        default="All" if many else first or None,
    )  # fmt: skip


def source_variable() -> core.Template:
    return core.Template(
        name="datasource", label="Data source", type="datasource", query="prometheus", refresh=1
    )


def page_link(title: str, url: str, about: str) -> core.DashboardLink:
    """A link at the head of a dashboard to another page."""
    return core.DashboardLink(
        title=title, uri=url, type="link", icon="doc", tooltip=about, targetBlank=True,
        keepTime=False,
    )  # fmt: skip


def dashboard_link(title: str, uid: str, about: str) -> core.DashboardLink:
    """A link to another dashboard, which keeps the time range and the variables."""
    return core.DashboardLink(
        title=title, uri=f"/d/{uid}", type="link", icon="dashboard", tooltip=about,
        includeVars=True, keepTime=True,
    )  # fmt: skip


def dashboard(
    uid: str,
    title: str,
    about: str,
    rows: Mapping[str, Sequence[Panel]],
    variables: Sequence[core.Template],
    links: Sequence[core.DashboardLink],
    *,
    start: str,
    refresh: str,
) -> Json:
    """The dashboard as JSON data, in the form that Grafana imports and provisions."""
    made: list[core.Panel] = []
    y = 0
    for name, panels in rows.items():
        made.append(core.RowPanel(title=name, gridPos=core.GridPos(h=1, w=24, x=0, y=y)))
        made += [_made(panel, y + 1) for panel in panels]
        y += 1 + max(panel.at.y + panel.at.h for panel in panels)
    whole = core.Dashboard(
        title=title, uid=uid, description=about, tags=["costmeter"], timezone="utc", panels=made,
        time=core.Time(start, "now"), refresh=refresh, links=list(links), graphTooltip=1,
        schemaVersion=SCHEMA_VERSION, templating=core.Templating(list(variables)),
    ).auto_panel_ids()  # fmt: skip
    data: Json = json.loads(json.dumps(whole.to_json_data(), cls=DashboardEncoder))
    for key in _LEGACY_DASHBOARD:
        del data[key]
    data["panels"] = [_modern(panel) for panel in data["panels"]]
    data["templating"]["list"] = [_modern_variable(entry) for entry in data["templating"]["list"]]
    return data


def _made(panel: Panel, top: int) -> core.Panel:
    targets = [
        core.Target(
            expr=query.expr, legendFormat=query.legend, refId=chr(ord("A") + place),
            instant=query.now, format="table" if query.table else "time_series",
            intervalFactor=1, datasource=DATASOURCE,
        )
        for place, query in enumerate(panel.queries)
    ]  # fmt: skip
    at = panel.at
    runbooks = [
        {"title": f"Runbook: {name}", "url": _runbook(name), "targetBlank": True}
        for name in panel.runbooks
    ]
    return _KINDS[panel.kind](
        title=panel.title, description=panel.about, dataSource=DATASOURCE, targets=targets,
        gridPos=core.GridPos(h=at.h, w=at.w, x=at.x, y=top + at.y), links=runbooks,
        interval=panel.interval or None, maxDataPoints=None, timeFrom=panel.time_from or None,
        transformations=list(panel.transformations),
        extraJson={"ours": {"fields": _fields(panel), "options": panel.options}},
    )  # fmt: skip


def _runbook(alert: str) -> str:
    return f"{REPOSITORY}/alert_rules/runbooks/{alert}.md"


def _fields(panel: Panel) -> Json:
    """The field configuration, complete: nothing of grafanalib's defaults is kept."""
    look = panel.look
    steps = look.steps or ((None, "green"),)
    defaults: Json = {
        "unit": look.unit,
        "noValue": look.nothing,
        "color": panel.color,
        "custom": panel.custom,
        "mappings": list(look.mappings),
        "thresholds": {
            "mode": "absolute",
            "steps": [{"value": value, "color": colour} for value, colour in steps],
        },
    }
    optional = {
        "decimals": look.decimals,
        "min": look.minimum,
        "max": look.maximum,
    }
    defaults |= {key: value for key, value in optional.items() if value is not None}
    overrides = [
        {
            "matcher": {
                "id": "byRegexp" if name.startswith("/") else "byName",
                "options": name,
            },
            "properties": [{"id": key, "value": value} for key, value in properties.items()],
        }
        for name, properties in (look.lines or {}).items()
    ]
    return {"defaults": defaults, "overrides": overrides}


def _modern(panel: Json) -> Json:
    kept = {
        key: value
        for key, value in panel.items()
        if key not in _LEGACY_PANEL and value is not None and value != []
    }
    ours = kept.pop("ours", None)
    if ours is None:  # a row
        kept |= {"collapsed": False, "panels": []}
        kept.pop("targets", None)
        kept.pop("fieldConfig", None)
        kept.pop("options", None)
        return kept
    kept["fieldConfig"], kept["options"] = ours["fields"], ours["options"]
    kept["targets"] = [
        {
            "datasource": target["datasource"],
            "refId": target["refId"],
            "expr": target["expr"],
            "legendFormat": target["legendFormat"],
            "format": target["format"],
            "instant": target["instant"],
            "range": not target["instant"],
            "editorMode": "code",
        }
        for target in kept["targets"]
    ]
    return kept


def _modern_variable(entry: Json) -> Json:
    """Without what nothing reads any more; All is `$__all` in today's form."""
    dead = ("useTags", "tagsQuery", "tagValuesQuery", "auto", "auto_min", "auto_count")
    kept = {key: value for key, value in entry.items() if key not in dead and value is not None}
    chosen = entry["current"]["value"]
    if entry["multi"]:
        kept["current"] = {"selected": True, "text": ["All"], "value": ["$__all"]}
    else:
        kept["current"] = {"selected": True, "text": chosen, "value": chosen} if chosen else {}
    return kept
