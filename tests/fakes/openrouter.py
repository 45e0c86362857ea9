"""OpenRouter's activity: completed days only, no pages."""

from __future__ import annotations

from typing import Any

from fakes.reports import BadRequest, Query, Reports, one


class OpenRouterApi(Reports):
    """`days` maps a date to its rows; dates from `today` on are refused."""

    key = "sk-or-v1-of-a-test"

    def __init__(self, today: str) -> None:
        super().__init__()
        self.today = today
        self.days: dict[str, list[dict[str, Any]]] = {}

    def route(self, path: str, query: Query) -> Any:
        date = one(query, "date")
        if path != "/api/v1/activity" or not date or date >= self.today:
            raise BadRequest("date: must be a completed UTC day")
        return {"data": [{"date": date, **row} for row in self.days.get(date, [])]}


def activity(usage: Any, model: str = "openai/gpt-5", **more: Any) -> dict[str, Any]:
    return {
        "model": model, "model_permaslug": f"{model}-2026-08-01", "endpoint_id": "e-1",
        "provider_name": "OpenAI", "usage": usage, "byok_usage_inference": 0.0, "requests": 5,
        "prompt_tokens": 50, "completion_tokens": 125, "reasoning_tokens": 25, **more,
    }  # fmt: skip
