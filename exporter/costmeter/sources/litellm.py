"""LiteLLM: what a proxy counted by day, model and key, from its daily activity.

Shape: `GET /user/daily/activity` of LiteLLM 1.109. Rows of a day may lie on several pages,
so a stretch is read whole. Input includes what came from caches. `spend` is the proxy's own
estimate in USD, kept on the basis `list`: it is no provider's bill.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from costmeter.model import MS_PER_DAY
from costmeter.sources.contract import Desk, Page, Rhythm, Settings, Window
from costmeter.sources.gather import Charges, Counts
from costmeter.sources.http import Api
from costmeter.sources.options import Options
from costmeter.sources.owners import Owners, identity, line_name
from costmeter.sources.pages import numbered
from costmeter.sources.reading import (
    Row,
    amount,
    count,
    date_of,
    group,
    instant_ms,
    malformed,
    rows,
    text,
)

RHYTHM = Rhythm(every_seconds=3_600, restated_days=3, lookback_days=30, step_days=7)
FINAL_AFTER_DAYS = 2
_ROWS_A_PAGE = "1000"
#: What the whole has and no model has: it must not be lost.
_REST = "(not by model)"


class LiteLLM:
    def __init__(self, settings: Settings) -> None:
        """Raises ValueError for settings that do not go together."""
        if not settings.base_url:
            raise ValueError("a source of kind litellm needs base_url, the address of the proxy")
        options = Options(settings.options)
        self.name = settings.name
        self.rhythm = settings.rhythm or RHYTHM
        self._api = Api(
            settings.base_url, settings.secret, timeout_seconds=settings.timeout_seconds
        )
        self._owners = Owners(settings, options.word("provider", "litellm"))
        self._path = options.word(
            "path",
            "/user/daily/activity",
            tuple(
                f"/{of}/daily/activity"
                for of in ("user", "team", "tag", "organization", "customer")
            ),
        )
        self._usage = options.switch("usage", default=True)
        self._spend = options.switch("spend", default=True)
        self._basis = options.word("basis", "list", ("list", "effective"))
        self._final_after_days = options.whole("final_after_days", FINAL_AFTER_DAYS)
        options.finish("litellm")

    def fetch(self, window: Window, desk: Desk) -> Iterator[Page]:
        # Both dates are inclusive; days that have ended, so that no record is cut in two.
        until_ms = min(window.until_ms, window.now_ms - window.now_ms % MS_PER_DAY)
        if until_ms <= window.since_ms:
            return
        query = [
            ("start_date", date_of(window.since_ms)),
            ("end_date", date_of(until_ms - MS_PER_DAY)),
            ("page_size", _ROWS_A_PAGE),
        ]
        counts = Counts()
        charges = Charges(window.now_ms, self._final_after_days, self._basis)
        for answer in numbered(lambda q: self._api.get(desk, self._path, q), query, _is_last):
            for row in rows(answer, "results"):
                start_ms = instant_ms(row, "date")
                if start_ms % MS_PER_DAY or not window.since_ms <= start_ms < until_ms:
                    raise malformed("date", "lies outside the days that were asked for")
                self._day(counts, charges, start_ms, row)
        usages = counts.take() if self._usage else ()
        lines = charges.take() if self._spend else ()
        yield Page("activity", window.since_ms, until_ms, usages, lines)

    def _day(self, counts: Counts, charges: Charges, start_ms: int, row: Row) -> None:
        left = Decimal(0)
        if group(row, "metrics").get("spend") is not None:
            left = amount(group(row, "metrics")["spend"], "metrics.spend")
        for model, part in sorted(_parts(group(row, "breakdown"), "models")):
            keys = list(_parts(part, "api_key_breakdown")) or [("", part)]
            for key, of_key in keys:
                metrics = group(of_key, "metrics")
                about = group(of_key, "metadata")
                team = text(about, "team_id")
                provider, _, bare = model.rpartition("/")
                labels = self._owners.labels(
                    bare, provider=provider, project=team, api_key=text(about, "key_alias") or key
                )
                said = {"model": model, "api_key": key}
                counts.add(identity("activity", start_ms, said), start_ms, labels, _tokens(metrics))
                if metrics.get("spend") is not None:
                    spend = amount(metrics["spend"], "spend")
                    left -= spend
                    line = line_name(model, team, key)
                    charges.add(start_ms, line, labels._replace(operation=""), spend, "USD")
        # Sums of floats differ in their last digits; that is no spend.
        if abs(left) >= Decimal("1e-6"):
            labels = self._owners.labels("", operation="")
            charges.add(start_ms, _REST, labels, left, "USD")


def _parts(outer: Row, name: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for key, value in group(outer, name).items():
        if not isinstance(value, dict):
            raise malformed(name, "expected objects by name")
        yield key, value


def _tokens(metrics: Row) -> dict[str, int]:
    whole, output = count(metrics, "prompt_tokens"), count(metrics, "completion_tokens")
    read = count(metrics, "cache_read_input_tokens")
    written = count(metrics, "cache_creation_input_tokens")
    # Some providers behind the proxy are counted without their caches: then they come on top.
    fresh = whole - read - written if whole >= read + written else whole
    return {
        "input": fresh,
        "cache_read": read,
        "cache_write_5m": written,
        "output": output,
        "requests": count(metrics, "api_requests"),
    }


def _is_last(answer: Row, number: int) -> bool:
    about = group(answer, "metadata")
    if about.get("has_more") is not None:
        return not about["has_more"]
    return number >= count(about, "total_pages")
