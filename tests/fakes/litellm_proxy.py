"""A LiteLLM proxy's daily activity: its rows of a day may lie on two pages."""

from __future__ import annotations

from typing import Any

from fakes.reports import BadRequest, Query, Reports, one


class LiteLLMProxy(Reports):
    """`rows` are (date, row); `page_size` rows a page."""

    key = "sk-proxy-master"

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[str, dict[str, Any]]] = []
        self.page_size = 1_000

    def route(self, path: str, query: Query) -> Any:
        if not path.endswith("/daily/activity"):
            raise BadRequest("no such route")
        first, last = one(query, "start_date"), one(query, "end_date")
        held = [{"date": date, **row} for date, row in self.rows if first <= date <= last]
        number = int(one(query, "page", "1"))
        size = min(int(one(query, "page_size", "50")), self.page_size)
        pages = max(1, -(-len(held) // size))
        return {
            "results": held[(number - 1) * size : number * size],
            "metadata": {"page": number, "total_pages": pages, "has_more": number < pages},
        }


def metrics(spend: Any, prompt: int, completion: int, read: int = 0, written: int = 0) -> Any:
    return {
        "spend": spend, "prompt_tokens": prompt, "completion_tokens": completion,
        "cache_read_input_tokens": read, "cache_creation_input_tokens": written,
        "total_tokens": prompt + completion, "api_requests": 1, "successful_requests": 1,
        "failed_requests": 0,
    }  # fmt: skip


def day(model: str, counted: Any) -> dict[str, Any]:
    """A row of one model: the day's whole is the model's."""
    return {
        "metrics": counted,
        "breakdown": {"models": {model: {"metrics": counted}}, "providers": {}, "api_keys": {}},
    }
