"""Calls of tools that the provider runs and bills by the call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .reading import count, group

#: xAI's name for each tool, and the class its price is listed under.
_XAI = "server_side_tool_usage_details"
_XAI_CALLS = {
    "web_search_calls": "web_searches",
    "x_search_calls": "social_searches",
    "code_interpreter_calls": "code_executions",
    "file_search_calls": "storage_searches",
    "document_search_calls": "storage_searches",
}

#: Anthropic and OpenRouter. Anthropic bills code execution by the hour of a container and
#: web fetches by their tokens alone, so neither has a count here.
_ANTHROPIC = "server_tool_use"

#: What OpenAI bills by the call among the items of a response's output.
_OUTPUT_CALLS = {"web_search_call": "web_searches", "file_search_call": "storage_searches"}


def put_tool_calls(quantities: dict[str, int], usage: Mapping[str, Any]) -> None:
    """Add the calls that the usage object itself counts."""
    if _ANTHROPIC in usage:
        calls = count(group(usage, _ANTHROPIC), "web_search_requests", _ANTHROPIC)
        _add(quantities, "web_searches", calls)
    if _XAI in usage:
        details = group(usage, _XAI)
        for key, name in _XAI_CALLS.items():
            _add(quantities, name, count(details, key, _XAI))


def put_output_calls(quantities: dict[str, int], output: object) -> None:
    """Add the calls that stand among a response's output items (OpenAI).

    Of web search calls only searches are billed; opening a page and finding in it are not.
    """
    if not isinstance(output, list):
        return
    for item in output:
        if not isinstance(item, Mapping):
            continue
        kind = item.get("type")
        name = _OUTPUT_CALLS.get(kind) if isinstance(kind, str) else None
        if name is None:
            continue
        action = item.get("action")
        if isinstance(action, Mapping) and action.get("type", "search") != "search":
            continue
        _add(quantities, name, 1)


def _add(quantities: dict[str, int], name: str, calls: int) -> None:
    if calls:
        quantities[name] = quantities.get(name, 0) + calls
