"""Anthropic's usage and cost reports, and the rows of its analytics API."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from fakes.reports import BadRequest, Query, Reports, one

_WIDTHS = {"1h": 3_600, "1d": 86_400}
_MOST = {"1h": 168, "1d": 31}


class AnthropicAdmin(Reports):
    """`messages`, `costs` hold (start in seconds, row); `rows` the analytics' ones."""

    key = "sk-ant-admin01-of-a-test"

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[tuple[int, dict[str, Any]]] = []
        self.costs: list[tuple[int, dict[str, Any]]] = []
        self.rows: dict[str, list[tuple[int, dict[str, Any]]]] = {"usage": [], "cost": []}
        self.page_size: int | None = None
        self.refreshed: str | None = None

    def allowed(self, headers: Mapping[str, str]) -> bool:
        return headers.get("x-api-key") == self.key and "anthropic-version" in headers

    def route(self, path: str, query: Query) -> Any:
        start, end = _seconds(one(query, "starting_at")), _seconds(one(query, "ending_at"))
        first = int(one(query, "page", "page_0").removeprefix("page_"))
        if "/analytics/" in path:
            what = path.rpartition("/")[2]
            width = _WIDTHS[one(query, "time_bucket_width")]
            held = [(at, row) for at, row in self.rows[what] if start <= at < end]
            size = min(int(one(query, "limit", "20")), self.page_size or 1_000)
            shown = held[first : first + size]
            data = [
                {"starting_at": _text(at), "ending_at": _text(at + width), **row}
                for at, row in shown
            ]
            answer = _page(data, first + size, len(held))
            return (
                answer
                if self.refreshed is None
                else {**answer, "data_refreshed_at": self.refreshed}
            )
        width = _WIDTHS[one(query, "bucket_width", "1d")]
        limit = int(one(query, "limit", "7"))
        if limit > _MOST[one(query, "bucket_width", "1d")]:
            raise BadRequest("limit: too large")
        held = self.costs if path.endswith("cost_report") else self.messages
        starts = list(range(start - start % width, end, width))
        size = min(limit, self.page_size or limit)
        data = [
            {
                "starting_at": _text(begins),
                "ending_at": _text(begins + width),
                "results": [row for at, row in held if begins <= at < begins + width],
            }
            for begins in starts[first : first + size]
        ]
        return _page(data, first + size, len(starts))


def _page(data: list[dict[str, Any]], reached: int, whole: int) -> dict[str, Any]:
    more = reached < whole
    return {"data": data, "has_more": more, "next_page": f"page_{reached}" if more else None}


def _seconds(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


def _text(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def tokens(model: str = "claude-sonnet-4-5", **more: Any) -> dict[str, Any]:
    """A row of the usage report."""
    return {
        "uncached_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 0,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "server_tool_use": {"web_search_requests": 0}, "api_key_id": "apikey_1",
        "workspace_id": None, "model": model, "service_tier": "standard",
        "context_window": "0-200k", "inference_geo": "global", **more,
    }  # fmt: skip


def cost(amount: Any, model: str = "claude-sonnet-4-5", **more: Any) -> dict[str, Any]:
    """A row of the cost report; the amount is in cents."""
    return {
        "amount": amount, "currency": "USD", "workspace_id": None,
        "description": f"{model} Usage - Input Tokens", "cost_type": "tokens",
        "token_type": "uncached_input_tokens", "model": model, "service_tier": "standard",
        "context_window": "0-200k", "inference_geo": "global", **more,
    }  # fmt: skip
