"""What LiteLLM tells its callbacks of a call: for whom it was, and what it used.

Plain functions of the dictionaries that LiteLLM hands over; it is not imported here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from costmeter.sdk.event import Fields
from costmeter.sdk.response import skeleton, usage_of

#: Where the attributes of the calling code travel in LiteLLM's details of a call: its
#: callbacks run in other threads and tasks.
ATTRIBUTES = "costmeter_attributes"

#: What the proxy knows of the caller, by the field it becomes: first come first served.
_KNOWN_TO_PROXY: Mapping[str, tuple[str, ...]] = {
    "tenant_id": ("user_api_key_org_id",),
    "team": ("user_api_key_team_alias", "user_api_key_team_id"),
    "project": ("user_api_key_project_alias", "user_api_key_project_id"),
    "user_id": ("user_api_key_end_user_id", "user_api_key_user_id"),
}
#: What the caller may say in `metadata`, under the names of costmeter's fields.
_SAID = tuple(
    name for name in Fields.__annotations__
    if name not in ("tags", "complexity", "quality", "processing", "operation")
)  # fmt: skip
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_MAX_TEXT = 200


def owner(kwargs: Mapping[str, Any], details: Mapping[str, Any]) -> dict[str, Any]:
    """Who the call was for. What a proxy knows of the key wins over what the caller says."""
    said: dict[str, Any] = {}
    for source in (
        (kwargs.get("litellm_params") or {}).get("metadata"),
        (details.get("metadata") or {}).get("requester_metadata"),
    ):
        if isinstance(source, Mapping):
            said.update({name: source[name] for name in _SAID if source.get(name)})
    proxy = {**_metadata(kwargs), **(details.get("metadata") or {})}
    known = {
        field: next((proxy[name] for name in names if proxy.get(name)), None)
        for field, names in _KNOWN_TO_PROXY.items()
    }
    if not known["user_id"] and "user_id" not in said:
        known["user_id"] = details.get("end_user") or kwargs.get("user")
    fields: dict[str, Any] = dict(kwargs.get(ATTRIBUTES) or {})
    for source in (said, known):
        fields.update({name: text for name, value in source.items() if (text := clean(value))})
    tags = dict(fields.get("tags") or {})
    for name, value in (
        ("litellm_tags", ",".join(map(str, details.get("request_tags") or ()))),
        ("litellm_key", proxy.get("user_api_key_alias")),
    ):
        if text := clean(value):
            tags[name] = text
    return {**fields, "tags": tags} if tags else fields


def _metadata(kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
    found = (kwargs.get("litellm_params") or {}).get("metadata")
    return found if isinstance(found, Mapping) else {}


def answer(response: Any, original: Any) -> dict[str, Any]:
    """What counts of an answer: the provider's own words where LiteLLM kept them.

    LiteLLM turns every usage object into its own, in OpenAI's dialect, and gives answers of
    other providers an id of its own making.
    """
    if isinstance(original, str) and original.startswith("{"):
        try:
            own = json.loads(original)
        except (ValueError, RecursionError):
            own = None
        found = skeleton(own) if isinstance(own, dict) else None
        if found is not None:
            return found
    body = skeleton(response) or {}
    name = response.get("id") if isinstance(response, Mapping) else getattr(response, "id", None)
    if isinstance(name, str) and name:
        body.setdefault("id", name)
    if body.get("usage") is not None:
        body["usage"] = _usage(usage_of(body["usage"]))
    return body


def _usage(usage: dict[str, Any]) -> dict[str, Any] | None:
    """LiteLLM's usage object; None for the zeros it writes when it knows nothing.

    What was cached for an hour stands where only LiteLLM puts it, and becomes an object in
    Anthropic's dialect.
    """
    if not any(isinstance(count, int) and count for count in usage.values()):
        return None
    details = usage.get("prompt_tokens_details") or {}
    written = details.get("cache_creation_token_details") or {}
    hour = written.get("ephemeral_1h_input_tokens")
    if not hour:
        return usage
    read = usage.get("cache_read_input_tokens") or details.get("cached_tokens") or 0
    both = usage.get("cache_creation_input_tokens") or hour
    thought = (usage.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0
    return {
        "input_tokens": usage["prompt_tokens"] - read - both,
        "cache_read_input_tokens": read,
        "cache_creation_input_tokens": both,
        "cache_creation": dict(written),
        "output_tokens": usage["completion_tokens"],
        "output_tokens_details": {"thinking_tokens": thought},
    }


def clean(value: Any) -> str:
    """A text that the server takes: no control characters, at most 200 letters."""
    if value is None or isinstance(value, (dict, list, tuple, set)):
        return ""
    return _CONTROL.sub("", str(value)).strip()[:_MAX_TEXT]
