"""Anthropic: an organization's usage by hour and costs by day, from the usage and cost reports.

Shapes: `GET /v1/organizations/usage_report/messages` and `/v1/organizations/cost_report` of
Anthropic's documentation. Input excludes every cache; amounts are decimal texts in cents.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from costmeter.model import MS_PER_DAY, MS_PER_HOUR
from costmeter.sources.buckets import Bucket, Records, closed_until, pages_of, through_today
from costmeter.sources.contract import Desk, Page, Rhythm, Settings, Source, Window
from costmeter.sources.gather import Charges, Counts
from costmeter.sources.http import Api
from costmeter.sources.options import Options
from costmeter.sources.owners import Owners, identity, line_name
from costmeter.sources.pages import follow
from costmeter.sources.reading import Row, cents, count, group, instant_ms, malformed, rfc3339, text

BASE_URL = "https://api.anthropic.com"
VERSION = "2023-06-01"
RHYTHM = Rhythm(every_seconds=3_600, restated_days=5, lookback_days=30, step_days=7)
FINAL_AFTER_DAYS = 3
_HOURS_A_PAGE, _DAYS_A_PAGE = "168", "31"
_GROUPS = ("workspace_id", "api_key_id", "model", "service_tier", "context_window", "inference_geo")
#: On demand is billed at the standard price.
PROCESSING: Mapping[str, str] = {
    "batch": "batch",
    "priority": "priority",
    "flex": "flex",
    "flex_discount": "flex",
}


def source(settings: Settings) -> Source:
    """The source for the API that `options` choose: `reports` (the default) or `analytics`."""
    if settings.options.get("api", "reports") == "analytics":
        from costmeter.sources.anthropic_analytics import AnthropicAnalytics

        return AnthropicAnalytics(settings)
    return Anthropic(settings)


def api_of(settings: Settings, headers: Mapping[str, str] | None = None) -> Api:
    return Api(
        settings.base_url or BASE_URL,
        settings.secret,
        auth=("x-api-key", ""),
        headers={"anthropic-version": VERSION, **(headers or {})},
        timeout_seconds=settings.timeout_seconds,
    )


class Anthropic:
    def __init__(self, settings: Settings) -> None:
        """Raises ValueError for settings that do not go together."""
        options = Options(settings.options)
        options.word("api", "reports", ("reports", "analytics"))
        self.name = settings.name
        self.rhythm = settings.rhythm or RHYTHM
        self._api = api_of(settings)
        self._owners = Owners(settings, "anthropic")
        self._usage = options.switch("usage", default=True)
        self._costs = options.switch("costs", default=True)
        self._final_after_days = options.whole("final_after_days", FINAL_AFTER_DAYS)
        options.finish("anthropic")

    def fetch(self, window: Window, desk: Desk) -> Iterator[Page]:
        if self._usage:
            yield from self._messages(window, desk)
        if self._costs:
            yield from self._bill(window, desk)

    def _messages(self, window: Window, desk: Desk) -> Iterator[Page]:
        until_ms = closed_until(window, MS_PER_HOUR)
        if until_ms <= window.since_ms:
            return
        query = _query(window.since_ms, until_ms, "1h", _HOURS_A_PAGE, _GROUPS)
        counts = Counts()

        def read(bucket: Bucket) -> None:
            for row in bucket.rows:
                self._count(counts, bucket.start_ms, row)

        def take() -> Records:
            return counts.take(), ()

        path = "/v1/organizations/usage_report/messages"
        answers = follow(lambda q: self._api.get(desk, path, q), query)
        yield from pages_of("messages", window.since_ms, until_ms, answers, _bounds, read, take)

    def _count(self, counts: Counts, start_ms: int, row: Row) -> None:
        said = {name: text(row, name) for name in _GROUPS}
        counts.add(
            identity("messages", start_ms, said),
            start_ms,
            self._owners.labels(
                said["model"],
                # What is grouped by workspace and has none is of the default one.
                project=said["workspace_id"] or "default",
                api_key=said["api_key_id"],
                region=said["inference_geo"],
            ),
            message_tokens(row),
            processing=PROCESSING.get(said["service_tier"], "standard"),
            detail={"context_window": said["context_window"]} if said["context_window"] else None,
        )

    def _bill(self, window: Window, desk: Desk) -> Iterator[Page]:
        until_ms = through_today(window)
        groups = ("workspace_id", "description")
        query = _query(window.since_ms, until_ms, "1d", _DAYS_A_PAGE, groups)
        charges = Charges(window.now_ms, self._final_after_days)

        def read(bucket: Bucket) -> None:
            if bucket.end_ms - bucket.start_ms != MS_PER_DAY:
                raise malformed("the bucket", "is no day")
            for row in bucket.rows:
                self._charge(charges, bucket.start_ms, row)

        def take() -> Records:
            return (), charges.take()

        path = "/v1/organizations/cost_report"
        answers = follow(lambda q: self._api.get(desk, path, q), query)
        yield from pages_of("costs", window.since_ms, until_ms, answers, _bounds, read, take)

    def _charge(self, charges: Charges, start_ms: int, row: Row) -> None:
        if row.get("amount") is None:
            return  # a row that says no amount charges nothing
        workspace = text(row, "workspace_id") or "default"
        parts = ("cost_type", "token_type", "service_tier", "context_window", "inference_geo")
        about = text(row, "description") or text(row, "cost_type")
        charges.add(
            start_ms,
            line_name(about, workspace, *(text(row, part) for part in parts)),
            self._owners.labels(
                text(row, "model"),
                project=workspace,
                region=text(row, "inference_geo"),
                operation="",
            ),
            cents(row["amount"], "amount"),
            text(row, "currency") or "USD",
        )


def message_tokens(row: Row) -> dict[str, int]:
    """Classes of a usage row; they are disjoint as they come."""
    written = group(row, "cache_creation")
    return {
        "input": count(row, "uncached_input_tokens"),
        "cache_read": count(row, "cache_read_input_tokens"),
        "cache_write_5m": count(written, "ephemeral_5m_input_tokens"),
        "cache_write_1h": count(written, "ephemeral_1h_input_tokens"),
        "output": count(row, "output_tokens"),
        "web_searches": count(group(row, "server_tool_use"), "web_search_requests"),
    }


def _query(
    since_ms: int, until_ms: int, width: str, limit: str, groups: tuple[str, ...]
) -> list[tuple[str, str]]:
    return [
        ("starting_at", rfc3339(since_ms)),
        ("ending_at", rfc3339(until_ms)),
        ("bucket_width", width),
        ("limit", limit),
        *(("group_by[]", name) for name in groups),
    ]


def _bounds(bucket: Row) -> tuple[int, int]:
    return instant_ms(bucket, "starting_at"), instant_ms(bucket, "ending_at")
