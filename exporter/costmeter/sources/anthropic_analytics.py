"""Anthropic's Usage and Cost Analytics API (beta): rows instead of buckets, discounts included.

Shapes: `GET /v1/organizations/analytics/usage` and `.../cost` as typed by Anthropic's own
client, 2.12. Rows of a bucket may lie on several pages, so a stretch is read whole.
"""

from __future__ import annotations

from collections.abc import Iterator

from costmeter.model import MS_PER_DAY, MS_PER_HOUR
from costmeter.sources.anthropic import FINAL_AFTER_DAYS, PROCESSING, RHYTHM, api_of, message_tokens
from costmeter.sources.buckets import closed_until, through_today
from costmeter.sources.contract import Desk, Page, Settings, Window
from costmeter.sources.gather import Charges, Counts
from costmeter.sources.options import Options
from costmeter.sources.owners import Owners, identity, line_name
from costmeter.sources.pages import follow
from costmeter.sources.reading import (
    Row,
    cents,
    count,
    group,
    instant_ms,
    malformed,
    rfc3339,
    rows,
    text,
)

BETA = "analytics-usage-cost-2026-08-24"
#: The API knows nothing before this day (2026-01-01), and nothing older than a year.
_FIRST_MS = 20_454 * MS_PER_DAY
_MOST_DAYS = 364
_ROWS_A_PAGE = "1000"
#: Five at most; a model's price depends on the rest.
_USAGE_GROUPS = ("workspace_id", "model", "service_tier", "context_window", "inference_geo")
_COST_GROUPS = (*_USAGE_GROUPS, "cost_type", "token_type")


class AnthropicAnalytics:
    def __init__(self, settings: Settings) -> None:
        """Raises ValueError for settings that do not go together."""
        options = Options(settings.options)
        options.word("api", "analytics", ("reports", "analytics"))
        self.name = settings.name
        self.rhythm = settings.rhythm or RHYTHM
        self._api = api_of(settings, {"anthropic-beta": BETA})
        self._owners = Owners(settings, "anthropic")
        self._usage = options.switch("usage", default=True)
        self._costs = options.switch("costs", default=True)
        self._final_after_days = options.whole("final_after_days", FINAL_AFTER_DAYS)
        options.finish("anthropic")

    def fetch(self, window: Window, desk: Desk) -> Iterator[Page]:
        oldest = window.now_ms - window.now_ms % MS_PER_DAY - _MOST_DAYS * MS_PER_DAY
        window = window._replace(since_ms=max(window.since_ms, _FIRST_MS, oldest))
        if self._usage:
            yield from self._read_usage(window, desk)
        if self._costs:
            yield from self._read_costs(window, desk)

    def _read_usage(self, window: Window, desk: Desk) -> Iterator[Page]:
        until_ms = closed_until(window, MS_PER_HOUR)
        if until_ms <= window.since_ms:
            return
        counts = Counts()
        refreshed_ms = until_ms
        found: list[tuple[int, Row]] = []
        for answer in self._answers(desk, "usage", window.since_ms, until_ms, "1h", _USAGE_GROUPS):
            if answer.get("data_refreshed_at") is not None:
                refreshed_ms = min(refreshed_ms, instant_ms(answer, "data_refreshed_at"))
            found += [
                (_start(row, window.since_ms, until_ms, MS_PER_HOUR), row)
                for row in rows(answer, "data")
            ]
        # An hour that the data does not reach yet is left for the next poll.
        until_ms = min(until_ms, refreshed_ms - refreshed_ms % MS_PER_HOUR)
        if until_ms <= window.since_ms:
            return
        for start_ms, row in found:
            if start_ms < until_ms:
                self._count(counts, start_ms, row)
        yield Page("analytics-usage", window.since_ms, until_ms, counts.take())

    def _count(self, counts: Counts, start_ms: int, row: Row) -> None:
        said = {name: text(group(row, "group"), name) for name in _USAGE_GROUPS}
        usage = group(row, "usage")
        counts.add(
            identity("analytics-usage", start_ms, said),
            start_ms,
            self._owners.labels(
                said["model"],
                project=said["workspace_id"] or "default",
                region=said["inference_geo"],
            ),
            {**message_tokens(usage), "requests": count(usage, "requests")},
            processing=PROCESSING.get(said["service_tier"], "standard"),
            detail={"context_window": said["context_window"]} if said["context_window"] else None,
        )

    def _read_costs(self, window: Window, desk: Desk) -> Iterator[Page]:
        until_ms = through_today(window)
        if until_ms <= window.since_ms:
            return
        charges = Charges(window.now_ms, self._final_after_days)
        for answer in self._answers(desk, "cost", window.since_ms, until_ms, "1d", _COST_GROUPS):
            for row in rows(answer, "data"):
                start_ms = _start(row, window.since_ms, until_ms, MS_PER_DAY)
                self._charge(charges, start_ms, row)
        yield Page("analytics-cost", window.since_ms, until_ms, (), charges.take())

    def _charge(self, charges: Charges, start_ms: int, row: Row) -> None:
        cost = group(row, "cost")
        if cost.get("amount") is None:
            return  # a row that says no amount charges nothing
        said = {name: text(group(row, "group"), name) for name in _COST_GROUPS}
        charges.add(
            start_ms,
            line_name(*(said[name] for name in _COST_GROUPS)),
            self._owners.labels(
                said["model"],
                project=said["workspace_id"] or "default",
                region=said["inference_geo"],
                operation="",
            ),
            cents(cost["amount"], "cost.amount"),
            text(cost, "currency") or "USD",
        )

    def _answers(
        self,
        desk: Desk,
        what: str,
        since_ms: int,
        until_ms: int,
        width: str,
        groups: tuple[str, ...],
    ) -> Iterator[Row]:
        query = [
            ("starting_at", rfc3339(since_ms)),
            ("ending_at", rfc3339(until_ms)),
            ("time_bucket_width", width),
            ("limit", _ROWS_A_PAGE),
            ("order_by", "time"),
            ("order", "asc"),
            *(("group_by[]", name) for name in groups),
        ]
        path = f"/v1/organizations/analytics/{what}"
        return follow(lambda q: self._api.get(desk, path, q), query)


def _start(row: Row, since_ms: int, until_ms: int, width_ms: int) -> int:
    start_ms, end_ms = instant_ms(row, "starting_at"), instant_ms(row, "ending_at")
    if end_ms - start_ms != width_ms or start_ms % width_ms:
        raise malformed("the row", "is of another bucket width than was asked for")
    if not since_ms <= start_ms < until_ms:
        raise malformed("the row", "lies outside the time that was asked for")
    return start_ms
