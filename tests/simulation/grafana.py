"""What Grafana asks Prometheus for a dashboard: every query of every panel, as it is sent.

Steps follow Grafana's arithmetic: a panel gets a point a pixel, rounded to a step that people
know (`rangeUtil.roundInterval` of @grafana/data), at least the panel's own interval and the
data source's scrape interval, and ranges begin and end at multiples of the step.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DASHBOARDS = Path(__file__).resolve().parents[2] / "dashboards" / "json"

#: Below the first an interval is rounded to the second; milliseconds.
_ROUNDED = (
    (1_500, 1_000), (3_500, 2_000), (7_500, 5_000), (12_500, 10_000), (17_500, 15_000),
    (25_000, 20_000), (45_000, 30_000), (90_000, 60_000), (210_000, 120_000), (450_000, 300_000),
    (750_000, 600_000), (1_050_000, 900_000), (1_500_000, 1_200_000), (2_700_000, 1_800_000),
    (5_400_000, 3_600_000), (9_000_000, 7_200_000), (16_200_000, 10_800_000),
    (32_400_000, 21_600_000), (86_400_000, 43_200_000), (604_800_000, 86_400_000),
)  # fmt: skip
_PAGE_PIXELS, _COLUMNS = 1_600, 24
_SPAN = re.compile(r"(?:now-)?(\d+)([smhdw])")
_UNIT_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_SPECIAL = re.compile(r"[\\^$*{}\[\]'+?.()|]")


@dataclass(frozen=True, slots=True)
class Target:
    """One query of a panel, ready to be sent. Times in Unix milliseconds.

    An instant query is asked at `end_ms` alone.
    """

    dashboard: str
    panel: str
    ref: str
    expression: str
    instant: bool
    start_ms: int
    end_ms: int
    step_ms: int

    @property
    def name(self) -> str:
        return f"{self.dashboard} / {self.panel} / {self.ref}"


@dataclass(frozen=True, slots=True)
class Dashboard:
    name: str
    data: Mapping[str, Any]

    @property
    def variables(self) -> Sequence[Mapping[str, Any]]:
        """The variables that are filled by a query."""
        return [v for v in self.data["templating"]["list"] if v["type"] == "query"]

    def targets(
        self,
        chosen: Mapping[str, Sequence[str]],
        end_ms: int,
        *,
        range_ms: int | None = None,
        scrape_ms: int = 60_000,
    ) -> Iterator[Target]:
        """Every query; `chosen` has the values of variables, and All for what it leaves out.

        `range_ms` replaces the dashboard's own time range.
        """
        values = {v["name"]: _value(v, chosen.get(v["name"])) for v in self.variables}
        whole_ms = range_ms or span_ms(self.data["time"]["from"])
        for panel in self.panels():
            panel_ms = span_ms(panel["timeFrom"]) if panel.get("timeFrom") else whole_ms
            for target in panel["targets"]:
                least_ms = span_ms(target.get("interval") or panel.get("interval") or "0s")
                pixels = panel.get("maxDataPoints") or (
                    _PAGE_PIXELS * panel["gridPos"]["w"] // _COLUMNS
                )
                step_ms = max(rounded(panel_ms / pixels), least_ms or scrape_ms)
                yield Target(
                    self.name,
                    panel["title"],
                    target["refId"],
                    _filled(target["expr"], values, step_ms, panel_ms, scrape_ms),
                    bool(target.get("instant")),
                    (end_ms - panel_ms) // step_ms * step_ms,
                    end_ms if target.get("instant") else end_ms // step_ms * step_ms,
                    step_ms,
                )

    def panels(self) -> Iterator[Mapping[str, Any]]:
        """Every panel with queries, those of collapsed rows too."""
        for panel in self.data["panels"]:
            for inner in (panel, *panel.get("panels", ())):
                if inner.get("targets"):
                    yield inner


def dashboards() -> list[Dashboard]:
    """The committed ones, by name."""
    return [
        Dashboard(path.stem, json.loads(path.read_text("utf-8")))
        for path in sorted(DASHBOARDS.glob("*.json"))
    ]


def rounded(interval_ms: float) -> int:
    """The step for a point a pixel."""
    return next((step for below, step in _ROUNDED if interval_ms < below), 604_800_000)


def span_ms(text: str) -> int:
    """`now-30d` or `1h` in milliseconds."""
    found = _SPAN.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no span that this knows")
    return int(found[1]) * _UNIT_MS[found[2]]


def _value(variable: Mapping[str, Any], chosen: Sequence[str] | None) -> str:
    """A variable's value as it stands in a query."""
    if chosen is None:
        if not variable.get("includeAll"):
            raise ValueError(f"the variable {variable['name']} has no All; choose a value")
        if not variable.get("allValue"):
            # Grafana takes an empty one for none and lists every value.
            raise ValueError(f"the variable {variable['name']} says nothing for its All")
        return str(variable["allValue"])
    if not variable.get("multi"):
        return chosen[0]
    escaped = [_SPECIAL.sub(lambda found: "\\\\" + found[0], value) for value in chosen]
    return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"


def _filled(
    expression: str, values: Mapping[str, str], step_ms: int, range_ms: int, scrape_ms: int
) -> str:
    rate_ms = max(step_ms + scrape_ms, 4 * scrape_ms)
    known = {
        **values,
        "__interval": f"{step_ms // 1000}s",
        "__rate_interval": f"{rate_ms // 1000}s",
        "__range": f"{range_ms // 1000}s",
    }

    def value(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        if name not in known:
            raise ValueError(f"${name} is no variable of the dashboard: {expression}")
        return known[name]

    return re.sub(r"\$\{(\w+)\}|\$([A-Za-z_]\w*)", value, expression)
