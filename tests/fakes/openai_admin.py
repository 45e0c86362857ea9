"""OpenAI's organization usage and costs: buckets in pages, grouped as asked."""

from __future__ import annotations

from typing import Any

from fakes.reports import BadRequest, Query, Reports, one

_WIDTHS = {"1m": 60, "1h": 3_600, "1d": 86_400}
_MOST = {"1m": 1_440, "1h": 168, "1d": 31}


class OpenAIAdmin(Reports):
    """`usage[kind]` and `costs` hold (start in seconds, row); a page has `page_size` buckets."""

    def __init__(self) -> None:
        super().__init__()
        self.usage: dict[str, list[tuple[int, dict[str, Any]]]] = {}
        self.costs: list[tuple[int, dict[str, Any]]] = []
        self.page_size: int | None = None
        self.results_key = "results"

    def route(self, path: str, query: Query) -> Any:
        kind = path.removeprefix("/v1/organization/").removeprefix("usage/")
        width = _WIDTHS[one(query, "bucket_width", "1d")]
        if kind == "costs" and width != 86_400:
            raise BadRequest("costs come by day")
        most = 180 if kind == "costs" else _MOST[one(query, "bucket_width", "1d")]
        limit = int(one(query, "limit", "7"))
        if limit > most:
            raise BadRequest(f"limit is at most {most}")
        start, end = int(one(query, "start_time")), int(one(query, "end_time"))
        held = self.costs if kind == "costs" else self.usage.get(kind, [])
        starts = list(range(start - start % width, end, width))
        first = int(one(query, "page", "page_0").removeprefix("page_"))
        size = min(limit, self.page_size or limit)
        shown, more = starts[first : first + size], first + size < len(starts)
        groups = set(query.get("group_by[]", []))
        return {
            "object": "page",
            "has_more": more,
            "next_page": f"page_{first + size}" if more else None,
            "data": [
                {
                    "object": "bucket",
                    "start_time": begins,
                    "end_time": begins + width,
                    self.results_key: [
                        _shown(row, groups) for at, row in held if begins <= at < begins + width
                    ],
                }
                for begins in shown
            ],
        }


_DIMENSIONS = ("project_id", "user_id", "api_key_id", "model", "batch", "service_tier", "line_item")


def _shown(row: dict[str, Any], groups: set[str]) -> dict[str, Any]:
    return {k: None if k in _DIMENSIONS and k not in groups else v for k, v in row.items()}


def completions(
    model: str = "gpt-5", input_tokens: int = 0, output_tokens: int = 0, **more: Any
) -> dict[str, Any]:
    """A row of completions."""
    return {
        "object": "organization.usage.completions.result", "input_tokens": input_tokens,
        "output_tokens": output_tokens, "num_model_requests": 1, "input_cached_tokens": 0,
        "project_id": "proj_a", "user_id": None, "api_key_id": "key_a", "model": model,
        "batch": False, "service_tier": "default", "api_source": None, **more,
    }  # fmt: skip


def cost(value: Any, line_item: str = "gpt-5, input", project: str = "proj_a") -> dict[str, Any]:
    """A row of costs."""
    return {
        "object": "organization.costs.result", "amount": {"value": value, "currency": "usd"},
        "line_item": line_item, "project_id": project, "api_key_id": None, "user_id": None,
    }  # fmt: skip
