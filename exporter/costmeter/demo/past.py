"""The days before the demonstration, as Prometheus would have recorded them.

Rules that compare need a baseline and dashboards need a past; neither can wait three days.
So the same calls that are imported into the ledger are also written as OpenMetrics text,
which `promtool` turns into blocks. Families that a recording rule copies are copied, and
the few recorded series that are sums of an hour are summed here.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from itertools import accumulate
from pathlib import Path

import yaml

from costmeter.demo.costs import Budget, Priced
from costmeter.model import MS_PER_DAY, NANO_PER_USD

#: Below Prometheus' lookback of five minutes, so that the lines are unbroken.
STEP_MS = 240_000
_HOUR = 3_600_000 // STEP_MS
#: A file of six hours: promtool reads a file once for every two hours in it.
_FILE_MS = MS_PER_DAY // 4

#: Label pairs in a fixed order, without empty ones.
Pairs = tuple[tuple[str, str], ...]
Values = Sequence[int | float | None]


@dataclass
class Past:
    """Samples of [start, end] every STEP_MS, the last one at the end (Unix milliseconds).

    `target` holds the labels `job` and `instance` of the exporter; `zone` decides where days
    and months begin; `recording` is the text of the recording rules.
    """

    start_ms: int
    end_ms: int
    zone: tzinfo
    target: Pairs
    recording: str
    _grid: list[int] = field(init=False)
    _series: dict[str, dict[Pairs, Values]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        steps = (self.end_ms - self.start_ms) // STEP_MS
        self._grid = [self.end_ms - STEP_MS * back for back in range(steps, -1, -1)]

    def take(self, calls: Sequence[Priced], budgets: Sequence[Budget]) -> None:
        """Work out every series."""
        raw = self._counters(calls)
        raw["llm_cost_day_to_date"] = self._to_date(calls, lambda at: at.date())
        month = self._to_date(calls, lambda at: (at.year, at.month))
        raw["llm_cost_month_to_date"] = month
        self._budgets(raw, month, budgets)
        ones = [1] * len(self._grid)
        raw["up"] = raw["costmeter_ledger_up"] = {(): ones}
        recorded = self._recorded(raw)
        at_job = [pair for pair in self.target if pair[0] == "job"]
        for family, rows in raw.items():
            self._series[family] = {_joined(row, self.target): v for row, v in rows.items()}
        for name, rows in recorded.items():
            self._series[name] = {_joined(row, at_job): v for row, v in rows.items()}

    def write(self, folder: Path) -> list[Path]:
        """OpenMetrics files of six hours each, for `promtool tsdb create-blocks-from`."""
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for number, first in enumerate(range(0, len(self._grid), _FILE_MS // STEP_MS)):
            last = min(first + _FILE_MS // STEP_MS, len(self._grid))
            path = folder / f"past-{number}.om"
            with path.open("w", encoding="utf-8") as handle:
                for name, rows in self._series.items():
                    text = _nano_text if _is_usd(name) else str
                    for pairs, values in rows.items():
                        handle.writelines(self._lines(name, pairs, values, first, last, text))
                handle.write("# EOF\n")
            paths.append(path)
        return paths

    def _lines(
        self,
        name: str, pairs: Pairs, values: Values, first: int, last: int,
        text: Callable[[int | float], str],
    ) -> Iterator[str]:  # fmt: skip
        head = name + "{" + ",".join(f'{key}="{value}"' for key, value in pairs) + "} "
        for at_ms, value in zip(self._grid[first:last], values[first:last], strict=True):
            if value is not None:
                yield f"{head}{text(value)} {at_ms // 1_000}\n"

    def _place(self, at_ms: int) -> int:
        """The first point of the grid at or after an instant."""
        return -((self._grid[0] - at_ms) // STEP_MS) if at_ms > self._grid[0] else 0

    def _counters(self, calls: Sequence[Priced]) -> dict[str, dict[Pairs, Values]]:
        grown: dict[str, dict[Pairs, list[int]]] = defaultdict(
            lambda: defaultdict(lambda: [0] * len(self._grid))
        )
        for call, nano in calls:
            at, event = self._place(call.at_ms), call.event
            who = _call_labels(event)
            grown["llm_requests_total"][_joined(who, [("status", event["status"])])][at] += 1
            for name, count in event["tokens"].items():
                grown["llm_tokens_total"][_joined(who, [("token_class", name)])][at] += count
            if nano is None:
                grown["llm_unpriced_requests_total"][who[:2]][at] += 1
            else:
                grown["llm_cost_total"][_joined([("category", "llm_api")], who)][at] += nano
        return {
            family: {pairs: list(accumulate(steps)) for pairs, steps in rows.items()}
            for family, rows in grown.items()
        }

    def _to_date(
        self, calls: Sequence[Priced], period: Callable[[datetime], object]
    ) -> dict[Pairs, Values]:
        """Spend of the running day or month; absent while there is none."""
        periods = [period(self._local(at_ms)) for at_ms in self._grid]
        grown: dict[Pairs, list[int]] = defaultdict(lambda: [0] * len(self._grid))
        for call, nano in calls:
            at = self._place(call.at_ms)
            if nano is not None and period(self._local(call.at_ms)) == periods[at]:
                grown[_joined([("category", "llm_api")], _call_labels(call.event))][at] += nano
        found: dict[Pairs, Values] = {}
        for pairs, steps in grown.items():
            values: list[int | None] = []
            total = 0
            for at, step in enumerate(steps):
                total = step + (total if at and periods[at] == periods[at - 1] else 0)
                values.append(total or None)
            found[pairs] = values
        return found

    def _budgets(
        self,
        raw: dict[str, dict[Pairs, Values]],
        month: Mapping[Pairs, Values],
        budgets: Sequence[Budget],
    ) -> None:
        families: dict[str, dict[Pairs, Values]] = defaultdict(dict)
        for budget in budgets:
            pairs: Pairs = (("budget", budget.name), ("period", "month"))
            if budget.tenant_id:
                pairs += (("tenant_id", budget.tenant_id),)
            theirs = (("tenant_id", budget.tenant_id),) if budget.tenant_id else ()
            cost = {p: v for p, v in raw["llm_cost_total"].items() if set(theirs) <= set(p)}
            to_date = {p: v for p, v in month.items() if set(theirs) <= set(p)}
            families["llm_budget_limit"][pairs] = [budget.limit_nano] * len(self._grid)
            families["llm_budget_spent"][pairs] = self._sum(to_date.values())
            families["llm_budget_cost_total"][pairs] = self._sum(cost.values())
        raw |= families

    def _recorded(self, raw: Mapping[str, dict[Pairs, Values]]) -> dict[str, dict[Pairs, Values]]:
        found: dict[str, dict[Pairs, Values]] = {}
        for name in _recorded_names(self.recording):
            copied = re.fullmatch(r"(?:series|budget):(\w+):(?:clamped|max)", name)
            if copied and copied[1] in raw:
                found[name] = raw[copied[1]]
        cost = {pairs: _of_hour(values) for pairs, values in raw["llm_cost_total"].items()}
        calls = {pairs: _of_hour(values) for pairs, values in raw["llm_requests_total"].items()}
        found["series:llm_net_cost:increase1h"] = cost
        found["job:llm_net_cost:increase1h"] = self._by((), cost)
        found["model:llm_api_cost:increase1h"] = self._by(("provider", "model"), cost)
        found["model:llm_requests:increase1h"] = self._by(("provider", "model"), calls)
        day = self._by(("tenant_id",), raw["llm_cost_day_to_date"])
        found["tenant:llm_cost_day_to_date:sum"] = day
        found["tenant:llm_cost_day_to_date:max1h"] = {
            pairs: [max(values[max(0, at - _HOUR) : at + 1]) for at in range(len(values))]
            for pairs, values in ((p, [v or 0 for v in row]) for p, row in day.items())
        }
        tokens = {pairs: _of_hour(values) for pairs, values in raw["llm_tokens_total"].items()}
        found["rollup:llm_cost_month_to_date:sum"] = self._levels(raw["llm_cost_month_to_date"])
        found["rollup:llm_cost_day_to_date:sum"] = self._levels(raw["llm_cost_day_to_date"])
        found["rollup:llm_net_cost:increase1h"] = self._levels(cost)
        found["rollup:llm_requests:increase1h"] = self._levels(calls)
        found["rollup:llm_tokens:increase1h"] = self._levels(tokens)
        found["budget:llm_budget_spent:ratio"] = {
            pairs: [
                (spent or 0) / (limit or 1) for spent, limit in zip(values, limits, strict=True)
            ]
            for pairs, values in raw["llm_budget_spent"].items()
            for limits in [raw["llm_budget_limit"][pairs]]
        }
        return found

    def _by(self, keep: Sequence[str], rows: Mapping[Pairs, Values]) -> dict[Pairs, Values]:
        groups: dict[Pairs, list[Values]] = defaultdict(list)
        for pairs, values in rows.items():
            groups[tuple(pair for pair in pairs if pair[0] in keep)].append(values)
        return {pairs: self._sum(group) for pairs, group in groups.items()}

    def _levels(self, rows: Mapping[Pairs, Values]) -> dict[Pairs, Values]:
        """As `alert_rules/dashboards.rules.yml` records: the whole, by tenant, and by model."""
        labels = {key for pairs in rows for key, _ in pairs}
        found: dict[Pairs, Values] = {}
        for dropped in ({"tenant_id", "model"}, {"model"}, {"tenant_id"}):
            found |= self._by(tuple(labels - dropped), rows)
        return found

    def _sum(self, rows: Iterable[Values]) -> Values:
        return [sum(v or 0 for v in column) for column in zip(*rows, strict=True)] or [0] * len(
            self._grid
        )

    def _local(self, at_ms: int) -> datetime:
        return datetime.fromtimestamp(at_ms / 1_000, self.zone)


def _call_labels(event: Mapping[str, str]) -> Pairs:
    return tuple((name, event[name]) for name in ("provider", "model", "tenant_id", "environment"))


def _joined(*parts: Iterable[tuple[str, str]]) -> Pairs:
    return tuple(pair for part in parts for pair in part)


def _of_hour(values: Values) -> Values:
    """What a counter gained within the hour before each point."""
    return [
        (value or 0) - (values[at - _HOUR] or 0) if at >= _HOUR else None
        for at, value in enumerate(values)
    ]


def _recorded_names(rules: str) -> Iterator[str]:
    for group in yaml.safe_load(rules)["groups"]:
        for rule in group["rules"]:
            yield rule["record"]


def _is_usd(name: str) -> bool:
    return bool(re.search(r"cost|llm_budget_(limit|spent)(:max)?$", name)) and "ratio" not in name


def _nano_text(nano: float) -> str:
    whole, part = divmod(int(nano), NANO_PER_USD)
    return f"{whole}.{part:09d}"
