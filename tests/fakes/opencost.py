"""OpenCost's allocation API: sets by step, from allocations by hour or by day."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from fakes.reports import BadRequest, Query, Reports, one

Allocation = dict[str, Any]
_STEPS = {"1h": 3_600, "1d": 86_400}


class OpenCostApi(Reports):
    """`found` maps when a step begins, in seconds, and a name to the fields of an allocation."""

    key = "token-of-a-test-0123456789"

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[int, dict[str, Allocation]] = {}
        self.idle: dict[int, Allocation] = {}
        self.empty: Any = {}

    def add(self, at: int, name: str, **fields: Any) -> None:
        self.found.setdefault(at, {})[name] = fields

    def route(self, path: str, query: Query) -> Any:
        since, _, until = one(query, "window").partition(",")
        step = _STEPS.get(one(query, "step"))
        if path != "/allocation" or step is None or one(query, "accumulate") != "false":
            raise BadRequest("invalid window")
        starts = range(_seconds(since), _seconds(until), step)
        return {"code": 200, "data": [self._set(at, step, query) for at in starts]}

    def _set(self, at: int, step: int, query: Query) -> Any:
        rows = dict(self.found.get(at, {}))
        if at in self.idle and one(query, "includeIdle") == "true":
            rows["__idle__"] = self.idle[at]
        if not rows:
            return self.empty
        return {name: allocation(name, at, step, fields) for name, fields in rows.items()}


def allocation(name: str, at: int, step: int, fields: Mapping[str, Any]) -> Allocation:
    window = {"start": _instant(at), "end": _instant(at + step)}
    return {
        "name": name, "properties": {"cluster": "cluster-one", "namespace": name},
        "window": window, "start": _instant(at + 600), "end": window["end"], "minutes": 50.0,
        "cpuCoreUsageAverage": 0.5, "totalEfficiency": 0.1,
        "totalCost": sum(
            value for key, value in fields.items() if "Cost" in key and key != "totalCost"
        ),
        **fields,
    }  # fmt: skip


def _instant(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _seconds(said: str) -> int:
    return int(datetime.fromisoformat(said).timestamp())
