"""A whole response: where its usage stands, and what it says of model, tier and id."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import bedrock, others
from .reading import Normalised, UsageError, text
from .shapes import read_usage
from .tools import put_output_calls

#: Ends a stream of Bedrock's InvokeModel.
INVOCATION_METRICS = "amazon-bedrock-invocationMetrics"

#: Where a body keeps its usage object.
_USAGE_KEYS = (
    "usage",
    "usageMetadata",
    "usage_metadata",
    "usage_info",
    INVOCATION_METRICS,
    "meta",
)

#: What wraps a body: lines of batch results, streaming events, gateways.
_WRAPPERS = ("response", "message", "body", "result", "modelOutput", "delta")
_MOST_WRAPPERS = 4

_TIERS = {
    "default": "standard",
    "auto": "",
    "standard": "standard",
    "on_demand": "standard",
    "scale": "standard",
    "reserved": "standard",
    "flex": "flex",
    "priority": "priority",
    "performance": "priority",
    "batch": "batch",
    "fast": "fast",
}

#: Usage that stands at the top of the body itself.
_BARE_MARKS = (
    "inputTextTokenCount",
    "generation_token_count",
    "prompt_eval_count",
    bedrock.INPUT_HEADER,
)


def normalise_usage(provider: str, usage: Mapping[str, Any]) -> Normalised:
    """Read a provider's `usage` object alone.

    `provider` is any name; it only decides where the shape leaves something open.
    Raises `UsageError`, which names the field within the object.
    """
    if type(usage) is not dict and not isinstance(usage, Mapping):
        raise UsageError("", "is no object; send the provider's usage object unchanged")
    return read_usage(provider, usage)


def normalise_response(provider: str, body: Mapping[str, Any]) -> Normalised:
    """Read a whole response body, or the event that ends a stream.

    Understands what wraps a body: lines of batch results, streaming events, the dict
    that boto3 returns. Raises `UsageError`, which names the field from the body's root.
    """
    if type(body) is dict:
        usage = body.get("usage")
        if type(usage) is dict and usage:
            return found_usage(provider, body, "usage", "", _is_batch_line(body))
    found = find_usage(body)
    if found is None:
        raise UsageError(
            "usage", "is missing; send the whole response, or the event that ends the stream"
        )
    return found_usage(provider, *found)


def find_usage(body: object) -> tuple[Mapping[str, Any], str, str, bool] | None:
    """The object that holds the usage, the usage's key in it, its path, and "is a batch"."""
    root, batch = "", False
    for _ in range(_MOST_WRAPPERS):
        if not isinstance(body, Mapping):
            return None
        for key in _USAGE_KEYS:
            if isinstance(body.get(key), Mapping) and body[key]:
                return body, key, root, batch
        if any(mark in body for mark in _BARE_MARKS):
            return body, "", root, batch
        headers = _headers(body)
        if headers is not None:
            return headers, "", root, batch
        batch |= _is_batch_line(body)
        inner = _wrapped(body)
        if not inner:
            return None
        body, root = body[inner], f"{root}.{inner}" if root else inner
    return None


def _is_batch_line(body: Mapping[str, Any]) -> bool:
    """Lines of batch results: OpenAI and Anthropic, Bedrock, Gemini."""
    return "custom_id" in body or "modelOutput" in body or ("key" in body and "response" in body)


def _wrapped(body: Mapping[str, Any]) -> str:
    for key in _WRAPPERS:
        if isinstance(body.get(key), Mapping):
            return key
    # The last event of a Converse stream; elsewhere metadata belongs to the caller.
    return "metadata" if len(body) == 1 and "metadata" in body else ""


def found_usage(
    provider: str, body: Mapping[str, Any], key: str, root: str, batch: bool
) -> Normalised:
    """Read the usage that `find_usage` found."""
    usage = body[key] if key else body
    model = text(body, "model") or text(body, "modelVersion") or text(body, "model_version")
    try:
        read = read_usage(provider, usage, model)
        if key == "usage_info":
            read = others.read_pages(usage, bool(body.get("document_annotation")))
    except UsageError as error:
        where = ".".join(part for part in (root, key) if part)
        raise (error.under(where) if where else error) from None
    quantities = read.quantities
    if "output" in body:
        put_output_calls(quantities, body["output"])
    elif "data" in body and "created" in body and "output_tokens_details" not in usage:
        _all_output_is(quantities, "output_image")
    elif body.get("type") == "speech.audio.done":
        _all_output_is(quantities, "output_audio")
    return Normalised(
        quantities,
        model,
        "batch" if batch else read.processing or _tier(body),
        _response_id(body),
        read.estimated,
        read.also,
    )


def _all_output_is(quantities: dict[str, int], name: str) -> None:
    """Image and speech endpoints that do not split their output give one kind of it."""
    if "output" in quantities:
        quantities[name] = quantities.get(name, 0) + quantities.pop("output")


def _tier(body: Mapping[str, Any]) -> str:
    tier = body.get("service_tier", body.get("serviceTier"))
    if isinstance(tier, Mapping):
        tier = tier.get("type")
    return _TIERS.get(tier.lower(), "") if isinstance(tier, str) else ""


def _response_id(body: Mapping[str, Any]) -> str:
    found = text(body, "id") or text(body, "responseId") or text(body, "response_id")
    if found:
        return found
    metadata = body.get("ResponseMetadata")
    return text(metadata, "RequestId") if isinstance(metadata, Mapping) else ""


def _headers(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """boto3 gives the headers of InvokeModel beside a body that is still a stream."""
    metadata = body.get("ResponseMetadata")
    headers = metadata.get("HTTPHeaders") if isinstance(metadata, Mapping) else None
    if isinstance(headers, Mapping) and bedrock.INPUT_HEADER in headers:
        return {**headers, "ResponseMetadata": metadata}
    return None
