"""OpenAI: an organization's usage by hour and its costs by day, from the admin API.

Shapes: `GET /v1/organization/usage/<kind>` and `GET /v1/organization/costs` as typed by
OpenAI's own client, 3.54. Input counts include caches and every modality; amounts are USD.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from costmeter.model import MS_PER_DAY, MS_PER_HOUR
from costmeter.sources.buckets import Bucket, Records, closed_until, pages_of, through_today
from costmeter.sources.contract import Desk, Page, Rhythm, Settings, Window
from costmeter.sources.gather import Charges, Counts
from costmeter.sources.http import Api
from costmeter.sources.options import Options
from costmeter.sources.owners import Owners, identity, line_name
from costmeter.sources.pages import follow
from costmeter.sources.reading import (
    Row,
    amount,
    count,
    group,
    malformed,
    seconds_ms,
    text,
)

BASE_URL = "https://api.openai.com/v1"
RHYTHM = Rhythm(every_seconds=3_600, restated_days=5, lookback_days=30, step_days=7)
#: Nothing is documented; yesterday's figures were seen to move, older ones not.
FINAL_AFTER_DAYS = 3
_HOURS_A_PAGE, _DAYS_A_PAGE = "168", "180"
_PROCESSING: Mapping[str, str] = {"flex": "flex", "priority": "priority", "batch": "batch"}


@dataclass(frozen=True, slots=True)
class Kind:
    """One usage report: what it is grouped by, and which field counts as which class."""

    groups: tuple[str, ...]
    counts: tuple[tuple[str, str, int], ...]
    operation: str


_CALLS = ("project_id", "api_key_id", "model")
_INPUT = (("input_tokens", "input", 1),)
#: What a kind counts that has no class of its own is a call whose price is not known.
_UNMETERED = "unmetered_calls"
KINDS: Mapping[str, Kind] = {
    "completions": Kind((*_CALLS, "batch", "service_tier"), (), "generation"),
    "embeddings": Kind(_CALLS, _INPUT, "embedding"),
    "moderations": Kind(_CALLS, _INPUT, "moderation"),
    "images": Kind(_CALLS, (("images", _UNMETERED, 1),), "image"),
    "audio_speeches": Kind(_CALLS, (("characters", "input_characters", 1),), "speech"),
    "audio_transcriptions": Kind(_CALLS, (("seconds", "input_audio_ms", 1000),), "transcription"),
    "code_interpreter_sessions": Kind(
        ("project_id",), (("num_sessions", "code_executions", 1),), "code"
    ),
    "file_search_calls": Kind(
        ("project_id", "api_key_id"), (("num_requests", "storage_searches", 1),), "search"
    ),
    "web_search_calls": Kind(_CALLS, (("num_requests", "web_searches", 1),), "search"),
}
#: Moderation is free of charge.
DEFAULT_KINDS = tuple(kind for kind in KINDS if kind != "moderations")
_LINE_ITEM = r"(?P<model>[^,]+), .+"


class OpenAI:
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
        self._owners = Owners(settings, "openai")
        self._kinds = options.several("usage", DEFAULT_KINDS, KINDS)
        self._costs = options.switch("costs", default=True)
        self._users = options.switch("by_user", default=False)
        self._final_after_days = options.whole("final_after_days", FINAL_AFTER_DAYS)
        self._line_item = options.pattern("line_item", _LINE_ITEM)
        options.finish("openai")

    def fetch(self, window: Window, desk: Desk) -> Iterator[Page]:
        for kind in self._kinds:
            yield from self._usage(kind, window, desk)
        if self._costs:
            yield from self._bill(window, desk)

    def _usage(self, kind: str, window: Window, desk: Desk) -> Iterator[Page]:
        until_ms = closed_until(window, MS_PER_HOUR)
        if until_ms <= window.since_ms:
            return
        groups = KINDS[kind].groups + (("user_id",) if self._users else ())
        query = [
            ("start_time", str(window.since_ms // 1000)),
            ("end_time", str(until_ms // 1000)),
            ("bucket_width", "1h"),
            ("limit", _HOURS_A_PAGE),
            *(("group_by[]", name) for name in groups),
        ]
        counts = Counts()

        def read(bucket: Bucket) -> None:
            for row in bucket.rows:
                self._count(counts, kind, groups, bucket.start_ms, row)

        def take() -> Records:
            return counts.take(), ()

        answers = follow(lambda q: self._api.get(desk, f"/organization/usage/{kind}", q), query)
        yield from pages_of(kind, window.since_ms, until_ms, answers, _bounds, read, take)

    def _count(
        self, counts: Counts, kind: str, groups: tuple[str, ...], start_ms: int, row: Row
    ) -> None:
        about = KINDS[kind]
        said = {name: text(row, name) for name in groups if name != "batch"}
        if "batch" in groups:
            said["batch"] = "true" if row.get("batch") is True else ""
        if kind == "completions":
            quantities = completion_tokens(row)
        else:
            quantities = {name: count(row, key) * times for key, name, times in about.counts}
        quantities["requests"] = count(row, "num_model_requests")
        counts.add(
            identity(kind, start_ms, said),
            start_ms,
            self._owners.labels(
                said.get("model") or kind,
                project=said["project_id"],
                api_key=said.get("api_key_id", ""),
                operation=about.operation,
            ),
            quantities,
            processing="batch"
            if said.get("batch")
            else _PROCESSING.get(said.get("service_tier", ""), "standard"),
            user_id=said.get("user_id", ""),
        )

    def _bill(self, window: Window, desk: Desk) -> Iterator[Page]:
        until_ms = through_today(window)
        query = [
            ("start_time", str(window.since_ms // 1000)),
            ("end_time", str(until_ms // 1000)),
            ("bucket_width", "1d"),
            ("limit", _DAYS_A_PAGE),
            ("group_by[]", "line_item"),
            ("group_by[]", "project_id"),
        ]
        charges = Charges(window.now_ms, self._final_after_days)

        def read(bucket: Bucket) -> None:
            if bucket.end_ms - bucket.start_ms != MS_PER_DAY:
                raise malformed("the bucket", "is no day")
            for row in bucket.rows:
                self._charge(charges, bucket.start_ms, row)

        def take() -> Records:
            return (), charges.take()

        answers = follow(lambda q: self._api.get(desk, "/organization/costs", q), query)
        yield from pages_of("costs", window.since_ms, until_ms, answers, _bounds, read, take)

    def _charge(self, charges: Charges, start_ms: int, row: Row) -> None:
        money = group(row, "amount")
        if money.get("value") is None:
            return  # a row that says no amount charges nothing
        item, project = text(row, "line_item"), text(row, "project_id")
        found = self._line_item.fullmatch(item)
        model = (found.groupdict().get("model") or "") if found else ""
        charges.add(
            start_ms,
            line_name(item, project),
            self._owners.labels(model, project=project, operation=""),
            amount(money["value"], "amount.value"),
            text(money, "currency") or "usd",
        )


def completion_tokens(row: Row) -> dict[str, int]:
    """Disjoint classes of a completions result; together they are its input and output."""
    whole = count(row, "input_tokens")
    cached, written = count(row, "input_cached_tokens"), count(row, "input_cache_write_tokens")
    fresh = whole - cached - written
    if fresh < 0:
        raise malformed("input_cached_tokens", "more than the input that they are a part of")
    out: dict[str, int] = {"cache_write_5m": written}
    _split(out, fresh, row, "input_{}_tokens", "input")
    _split(out, cached, row, "input_cached_{}_tokens", "cache_read")
    _split(out, count(row, "output_tokens"), row, "output_{}_tokens", "output")
    return out


def _split(out: dict[str, int], whole: int, row: Row, field: str, name: str) -> None:
    # Older answers count cached audio as audio too: a part never is more than its whole.
    for modality in ("audio", "image"):
        part = min(count(row, field.format(modality)), whole)
        out[f"{name}_{modality}"] = part
        whole -= part
    out[name] = whole


def _bounds(bucket: Row) -> tuple[int, int]:
    return seconds_ms(bucket, "start_time"), seconds_ms(bucket, "end_time")
