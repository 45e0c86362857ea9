"""The house style of a panel: how each kind of ours looks, in Grafana's own words.

A panel here has no number and no place on the page yet; `house` gives it both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from dashboards import colours

#: What Grafana calls its panels.
Kind = Literal["stat", "gauge", "bargauge", "piechart", "timeseries", "table"]
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class At:
    """A place on the grid of 24 columns; `y` counts from the row's first line."""

    x: int
    y: int
    w: int
    h: int


@dataclass(frozen=True, slots=True)
class Query:
    """One query of a panel. `now` asks for one value at the end of the time range."""

    expr: str
    legend: str = ""
    now: bool = False
    table: bool = False


@dataclass(frozen=True, slots=True)
class Look:
    """How values are written and coloured.

    `steps` are (from, colour), the first from None. `lines` and `columns` are overrides by the
    name of a series or a column; a name between slashes is a regular expression.
    """

    unit: str
    decimals: int | None = None
    minimum: float | None = None
    maximum: float | None = None
    nothing: str = "No data"
    colour: str = ""
    steps: tuple[tuple[float | None, str], ...] = ()
    lines: Mapping[str, Json] | None = None
    mappings: tuple[Json, ...] = ()


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel before it has a number and a place on the page."""

    title: str
    at: At
    about: str
    queries: tuple[Query, ...]
    kind: Kind
    look: Look
    options: Json
    custom: Json
    color: Json
    interval: str = ""
    time_from: str = ""
    runbooks: tuple[str, ...] = ()
    transformations: tuple[Json, ...] = ()


def fixed(colour: str) -> Json:
    return {"mode": "fixed", "fixedColor": colour}


def stat(title: str, at: At, about: str, query: Query, look: Look, **more: Any) -> Panel:
    """One figure; `size` is that of its text, in pixels."""
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "value",
        "graphMode": "none",
        "text": {"valueSize": more.pop("size", 28)},
        "textMode": more.pop("text", "value"),
        "justifyMode": "center",
        "orientation": "auto",
        "wideLayout": True,
    }
    colour = {"mode": "thresholds"} if look.steps else fixed(look.colour or "text")
    return Panel(title, at, about, (query,), "stat", look, options, {}, colour, **more)


def gauge(title: str, at: At, about: str, query: Query, look: Look, **more: Any) -> Panel:
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "showThresholdLabels": False,
        "showThresholdMarkers": True,
        "orientation": "auto",
        "sizing": "auto",
        "text": {"valueSize": 34},
    }
    colour = {"mode": "thresholds"}
    return Panel(title, at, about, (query,), "gauge", look, options, {}, colour, **more)


def bars(
    title: str, at: At, about: str, queries: Sequence[Query], look: Look, **more: Any
) -> Panel:
    """Horizontal bars, one a series, for a ranking."""
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "orientation": "horizontal",
        "displayMode": "basic",
        "valueMode": "text",
        "namePlacement": "left",
        "showUnfilled": False,
        "sizing": "auto",
        "minVizWidth": 8,
        "minVizHeight": 12,
        "maxVizHeight": 28,
        "text": {"titleSize": 12, "valueSize": 14},
    }
    colour = {"mode": "thresholds"} if look.steps else fixed(look.colour or colours.MONEY)
    return Panel(title, at, about, tuple(queries), "bargauge", look, options, {}, colour, **more)


def pie(title: str, at: At, about: str, queries: Sequence[Query], look: Look, **more: Any) -> Panel:
    options = {
        "pieType": "donut",
        "sort": "desc",
        "displayLabels": [],
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "legend": {
            "showLegend": True,
            "displayMode": "table",
            "placement": "right",
            "width": more.pop("legend_width", 350),
            "values": ["value", "percent"],
        },
        "tooltip": {"mode": "single", "sort": "none"},
    }
    return Panel(
        title, at, about, tuple(queries), "piechart", look, options, {},
        {"mode": "palette-classic"}, **more,
    )  # fmt: skip


def lines(
    title: str, at: At, about: str, queries: Sequence[Query], look: Look, **more: Any
) -> Panel:
    """Lines over time.

    `stacked` is "" or a stacking mode, `bars=True` draws columns, `limits=True` the thresholds.
    The axis reaches `at_least` that far. Without `calcs` the legend is a list.
    """
    stacked, drawn = more.pop("stacked", ""), more.pop("bars", False)
    limits, at_least = more.pop("limits", False), more.pop("at_least", None)
    calcs = more.pop("calcs", ("mean", "lastNotNull"))
    options = {
        "legend": {
            "showLegend": more.pop("legend", True),
            "displayMode": "table" if calcs else "list",
            "placement": more.pop("placement", "bottom"),
            "calcs": list(calcs),
        },
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    custom = {
        "drawStyle": "bars" if drawn else "line",
        "lineInterpolation": "linear",
        "lineWidth": 0 if drawn or stacked else 2,
        "fillOpacity": 85 if drawn or stacked else 0,
        "gradientMode": "none",
        "showPoints": "never",
        "pointSize": 5,
        "spanNulls": False,
        "stacking": {"mode": stacked or "none", "group": "A"},
        "axisPlacement": "auto",
        "axisLabel": more.pop("axis", ""),
        "axisColorMode": "text",
        "axisBorderShow": False,
        "barAlignment": more.pop("alignment", 0),
        "barWidthFactor": 0.8,
        "scaleDistribution": {"type": "linear"},
        "thresholdsStyle": {"mode": "dashed" if limits else "off"},
        "hideFrom": {"legend": False, "tooltip": False, "viz": False},
    }
    if at_least:
        custom["axisSoftMax"] = at_least
    colour = fixed(look.colour) if look.colour else {"mode": "palette-classic"}
    return Panel(
        title, at, about, tuple(queries), "timeseries", look, options, custom, colour, **more
    )


def table(
    title: str, at: At, about: str, queries: Sequence[Query], look: Look, columns: Sequence[str],
    **more: Any,
) -> Panel:  # fmt: skip
    """A table of several queries, joined by their labels.

    `columns` are "field as Title", in order; a field is a label, or "Value #A" of query A. What is
    not named is hidden. `sort` is the title of the column that the rows are ordered by.
    """
    pairs = [column.split(" as ") for column in columns]
    shown = [field for field, _ in pairs]
    sort = more.pop("sort")
    transformations = (
        {"id": "merge", "options": {}},
        {
            "id": "filterFieldsByName",
            "options": {"include": {"names": shown}},
        },
        {
            "id": "organize",
            "options": {
                "excludeByName": {},
                "indexByName": {field: place for place, field in enumerate(shown)},
                "renameByName": dict(pairs),
            },
        },
    )
    options = {
        "showHeader": True,
        "cellHeight": "sm",
        "sortBy": [{"displayName": sort, "desc": True}],
    }
    custom = {"align": "auto", "cellOptions": {"type": "auto"}, "inspect": False}
    return Panel(
        title, at, about, tuple(queries), "table", look, options, custom, fixed("text"),
        transformations=transformations, **more,
    )  # fmt: skip
