"""OpenRouter: activity by completed day and model, from the management API.

Shape: `GET /api/v1/activity` of OpenRouter's documentation. It reaches 30 completed UTC
days back, never today. `usage` is USD of credits; what an own key of another provider paid
(`byok_usage_inference`) is on that provider's bill and not on this one.
"""

from __future__ import annotations

from collections.abc import Iterator

from costmeter.model import MS_PER_DAY
from costmeter.sources.contract import Desk, Page, Rhythm, Settings, Window
from costmeter.sources.gather import Charges, Counts
from costmeter.sources.http import Api
from costmeter.sources.options import Options
from costmeter.sources.owners import Owners, identity, line_name
from costmeter.sources.reading import Row, amount, count, date_of, instant_ms, malformed, rows, text

BASE_URL = "https://openrouter.ai/api/v1"
RHYTHM = Rhythm(every_seconds=21_600, restated_days=3, lookback_days=30, step_days=7)
_DAYS_BACK = 30
FINAL_AFTER_DAYS = 2


class OpenRouter:
    def __init__(self, settings: Settings) -> None:
        """Raises ValueError for settings that do not go together."""
        options = Options(settings.options)
        self.name = settings.name
        self.rhythm = settings.rhythm or RHYTHM
        self._api = Api(
            settings.base_url or BASE_URL,
            settings.secret,
            timeout_seconds=settings.timeout_seconds,
        )
        self._owners = Owners(settings, "openrouter")
        self._usage = options.switch("usage", default=True)
        self._costs = options.switch("costs", default=True)
        self._final_after_days = options.whole("final_after_days", FINAL_AFTER_DAYS)
        options.finish("openrouter")

    def fetch(self, window: Window, desk: Desk) -> Iterator[Page]:
        today = window.now_ms // MS_PER_DAY
        for day in window.days:
            if today - _DAYS_BACK <= day < today:
                answer = self._api.get(desk, "/activity", [("date", date_of(day * MS_PER_DAY))])
                yield self._page(day * MS_PER_DAY, window.now_ms, answer)

    def _page(self, start_ms: int, now_ms: int, answer: Row) -> Page:
        counts, charges = Counts(), Charges(now_ms, self._final_after_days)
        for row in rows(answer, "data"):
            if instant_ms(row, "date") != start_ms:
                raise malformed("date", "is not the day that was asked for")
            if self._usage:
                self._count(counts, start_ms, row)
            if self._costs and row.get("usage") is not None:
                model, behind = text(row, "model"), text(row, "provider_name")
                charges.add(
                    start_ms,
                    line_name(model, behind),
                    self._owners.labels(model, service=behind, operation=""),
                    amount(row["usage"], "usage"),
                    "USD",
                )
        return Page("activity", start_ms, start_ms + MS_PER_DAY, counts.take(), charges.take())

    def _count(self, counts: Counts, start_ms: int, row: Row) -> None:
        names = ("model", "model_permaslug", "provider_name", "endpoint_id")
        said = {name: text(row, name) for name in names}
        whole = count(row, "completion_tokens")
        reasoning = min(count(row, "reasoning_tokens"), whole)
        counts.add(
            identity("activity", start_ms, said),
            start_ms,
            self._owners.labels(said["model"], service=said["provider_name"]),
            {
                "input": count(row, "prompt_tokens"),
                "output": whole - reasoning,
                "reasoning": reasoning,
                "requests": count(row, "requests"),
            },
        )
