"""Any PromQL as usage: one instant query for each closed UTC hour.

Shape: `GET /api/v1/query` of Prometheus' documentation; Thanos, Mimir and VictoriaMetrics
answer the same. `$window` in the query becomes 1h and the query is asked as of the hour's
end, so that a series' `increase` over it is that hour's and no other one's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from costmeter.model import CATEGORIES, MS_PER_DAY, MS_PER_HOUR, QUANTITIES, Labels
from costmeter.pricing.gpu import ON_DEMAND
from costmeter.sources.contract import Desk, Page, Rhythm, Settings, SourceError, Window
from costmeter.sources.gather import Counts
from costmeter.sources.http import Api
from costmeter.sources.options import Options
from costmeter.sources.owners import Owners, identity
from costmeter.sources.reading import Row, clean, group, malformed, rows, text
from costmeter.sources.tags import TagKeys

RHYTHM = Rhythm(every_seconds=3_600, restated_days=1, lookback_days=7, step_days=1)
_WINDOW = "$window"
_DELAY_SECONDS = 300
_MOST_COUNT = 10**15
_CATEGORY: Mapping[str, str] = {
    "gpu_ms": "gpu_compute",
    "cpu_core_ms": "cpu_compute",
    "memory_mib_ms": "memory",
    "storage_mib_ms": "storage",
    "network_bytes": "network",
}


class PromQL:
    def __init__(self, settings: Settings) -> None:
        """Raises ValueError for settings that do not go together."""
        if not settings.base_url:
            raise ValueError("a source of kind promql needs base_url, the address of Prometheus")
        options = Options(settings.options)
        self.name = settings.name
        self.rhythm = settings.rhythm or RHYTHM
        self._api = Api(
            settings.base_url, settings.secret, timeout_seconds=settings.timeout_seconds
        )
        query = options.word("query", "")
        # A call is not counted without what it used: such a record would say nothing.
        countable = tuple(sorted(QUANTITIES - {"requests"}))
        self._quantity = options.word("quantity", "", ("", *countable))
        self._provider_label = options.word("provider_label", "")
        provider = options.word("provider", "")
        self._model = options.word("model", "")
        self._model_label = options.word("model_label", "")
        self._key_label = options.word("key_label", "")
        self._region = options.word("region", "")
        self._region_label = options.word("region_label", "")
        self._service = options.word("service", "")
        self._service_label = options.word("service_label", "")
        self._tags = TagKeys(
            tenant_id=options.word("tenant_label", ""),
            environment=options.word("environment_label", ""),
            team=options.word("team_label", ""),
            project=options.word("project_label", ""),
            feature=options.word("feature_label", ""),
        )
        default = _CATEGORY.get(self._quantity, "llm_api")
        self._category = options.word("category", default, CATEGORIES)
        operation = {"llm_api": "generation", "gpu_compute": ON_DEMAND}.get(self._category, "")
        self._operation = options.word("operation", operation)
        self._delay_ms = options.whole("delay_seconds", _DELAY_SECONDS, 86_400) * 1000
        options.finish("promql")
        _check(query, self._quantity, provider, self._model or self._model_label)
        self._query = query.replace(_WINDOW, "1h")
        self._owners = Owners(settings, provider)

    def fetch(self, window: Window, desk: Desk) -> Iterator[Page]:
        settled = window.now_ms - self._delay_ms
        until_ms = min(window.until_ms, settled - settled % MS_PER_HOUR)
        # A day at a time, so that no transaction is long.
        for since_ms in range(window.since_ms, until_ms, MS_PER_DAY):
            end_ms = min(since_ms + MS_PER_DAY, until_ms)
            counts = Counts()
            for at_ms in range(since_ms, end_ms, MS_PER_HOUR):
                self._hour(desk, counts, at_ms)
            yield Page("query", since_ms, end_ms, counts.take())

    def _hour(self, desk: Desk, counts: Counts, at_ms: int) -> None:
        ends = str((at_ms + MS_PER_HOUR) // 1000)
        asked = [("query", self._query), ("time", ends)]
        seen: set[str] = set()
        for metric, value in _series(self._api.get(desk, "/api/v1/query", asked)):
            name = identity("query", at_ms, metric)
            if name in seen:
                raise SourceError("repeated_page", f"the series {_shown(metric)} came twice")
            seen.add(name)
            counts.add(name, at_ms, self._labels(metric), {self._quantity: _count(metric, value)})

    def _labels(self, metric: Mapping[str, str]) -> Labels:
        said = self._owners.labels(
            metric.get(self._model_label, "") or self._model,
            project=metric.get(self._tags.project, ""),
            api_key=metric.get(self._key_label, ""),
            provider=metric.get(self._provider_label, ""),
            region=metric.get(self._region_label, "") or self._region,
            service=metric.get(self._service_label, "") or self._service,
            operation=self._operation,
        )
        purpose = said.purpose if self._category == "llm_api" else ""
        return self._tags.labels(said._replace(category=self._category, purpose=purpose), metric)


def _check(query: str, quantity: str, provider: str, model: str) -> None:
    if _WINDOW not in query:
        raise ValueError(
            "option query has no $window; write for example "
            "query=sum by (model) (increase(tokens_total[$window]))"
        )
    if not quantity:
        raise ValueError("option quantity is missing; write what is counted, for example input")
    if not provider:
        raise ValueError("option provider is missing; write whose prices hold, or selfhosted")
    if not model:
        raise ValueError("options model and model_label are missing; write one of them")


def _series(answer: Row) -> Iterator[tuple[Mapping[str, str], Any]]:
    """Each series' labels and its value; what Prometheus warns of is no error."""
    if answer.get("status") != "success":
        said = text(answer, "error") or "no reason"
        raise SourceError("request", f"the query failed: {said}")
    data = group(answer, "data")
    kind = text(data, "resultType")
    if kind == "scalar":
        yield {}, data.get("result")
        return
    if kind != "vector":
        raise malformed("resultType", f"{kind or 'missing'}; the query must yield one value each")
    for row in rows(data, "result"):
        metric = group(row, "metric")
        if not all(isinstance(value, str) for value in metric.values()):
            raise malformed("metric", "expected texts")
        if "histogram" in row and "value" not in row:
            raise malformed(_shown(metric), "is a histogram; take histogram_sum or _count of it")
        yield metric, row.get("value")


def _count(metric: Mapping[str, str], value: Any) -> int:
    """An hour's pieces, rounded half to even: `increase` extrapolates to fractions."""
    if not isinstance(value, list) or len(value) != 2 or not isinstance(value[1], str):
        raise malformed(_shown(metric), "expected a pair of time and value")
    try:
        number = Decimal(value[1])
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or number < 0:
        said = clean(value[1])[:40]
        raise malformed(_shown(metric), f"is {said}, expected a number, 0 or more")
    if number > _MOST_COUNT:
        raise malformed(_shown(metric), "is beyond all reason")
    return round(number)


def _shown(metric: Mapping[str, str]) -> str:
    """A series as Prometheus writes it, short."""
    pairs = ", ".join(f'{name}="{value}"' for name, value in sorted(metric.items()))
    return clean(f"{{{pairs}}}")
