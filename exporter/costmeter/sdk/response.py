"""What is sent of a provider's response: everything that counts, nothing that was said.

The server reads usage, model, tier and id out of a whole response. Prompts and answers
are none of its business, so only the parts that it reads are copied, by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

#: Copied as they are when they hold a text or a number.
_PLAIN = (
    "id",
    "responseId",
    "response_id",
    "object",
    "type",
    "model",
    "modelVersion",
    "model_version",
    "created",
)
_IDS = ("id", "responseId", "response_id")
#: The server's bound of a text.
_MAX_TEXT = 200
_TIERS = ("service_tier", "serviceTier")
#: Where providers keep their usage; `meta` and `metadata` also hold other things.
_USAGE = (
    "usage",
    "usageMetadata",
    "usage_metadata",
    "usage_info",
    "amazon-bedrock-invocationMetrics",
)
#: Usage that stands at the top of the body: Titan and Llama on Bedrock, Ollama.
_BARE = (
    "inputTextTokenCount",
    "totalOutputTextTokenCount",
    "generation_token_count",
    "prompt_token_count",
    "prompt_eval_count",
    "eval_count",
)
_WRAPPERS = ("response", "message", "body", "result", "modelOutput", "delta", "metadata")
_MOST_WRAPPERS = 4
#: The keys that tell a line of batch results, which costs less; their texts are the sender's own.
_BATCH_MARKS = ("custom_id", "key")
_BEDROCK = "x-amzn-bedrock-"


def skeleton(body: object) -> dict[str, Any] | None:
    """The parts of a response that the server reads; None when it names no usage.

    `body` is a mapping or an object with such attributes, as the clients give them.
    """
    kept, counted = _skeleton(body, _MOST_WRAPPERS)
    return kept if counted else None


def short_id(name: str) -> str:
    """A response id that the server takes: a digest of one that is too long.

    Gateways pack whole routes into their ids. OTLP's reader shortens them in the same way, so
    that both know the call by the same name.
    """
    if len(name) <= _MAX_TEXT:
        return name
    return "sha256:" + sha256(name.encode("utf-8", "surrogatepass")).hexdigest()


def usage_of(usage: object) -> Any:
    """A usage object as plain JSON values; objects of the clients know their own fields."""
    if isinstance(usage, Mapping):
        return dict(usage)
    dump = getattr(usage, "model_dump", None)
    if callable(dump):
        return dump(mode="json", exclude_none=True, warnings=False)
    for name in ("to_dict", "dict", "_asdict"):
        made = getattr(usage, name, None)
        if callable(made):
            return made()
    fields: Mapping[str, Any] = getattr(usage, "__dict__", None) or {}
    plain = {name: value for name, value in fields.items() if not name.startswith("_")}
    # A message of protobuf keeps its fields elsewhere.
    if not plain or "DESCRIPTOR" in plain:
        raise TypeError(f"{type(usage).__name__} is no usage object; give a dict of its counts")
    return plain


def _skeleton(body: object, depth: int) -> tuple[dict[str, Any], bool]:
    kept: dict[str, Any] = {}
    counted = False
    for name in (*_PLAIN, *_BARE):
        value = _get(body, name)
        if isinstance(value, (str, int, float)):
            kept[name] = short_id(value) if name in _IDS and isinstance(value, str) else value
            counted |= name in _BARE
    for name in _TIERS:
        value = _get(body, name)
        if isinstance(value, str):
            kept[name] = value
        elif isinstance(value, Mapping) and isinstance(value.get("type"), str):
            kept[name] = {"type": value["type"]}
    for name in _USAGE:
        value = _get(body, name)
        if value is not None and value != {}:
            kept[name] = usage_of(value)
            counted = True
    counted |= _keep_meta(kept, body)
    _keep_marks(kept, body)
    if depth and not counted:
        for name in _WRAPPERS:
            inner = _get(body, name)
            if inner is not None and not isinstance(inner, (str, int, float, list, tuple)):
                within, counted = _skeleton(inner, depth - 1)
                if counted:
                    kept[name] = within
                    break
    return kept, counted


def _keep_meta(kept: dict[str, Any], body: object) -> bool:
    """Cohere counts in `meta.billed_units`; boto3 gives the counts among the headers."""
    counted = False
    meta = _get(body, "meta")
    if meta is not None:
        found = {
            name: usage_of(value)
            for name in ("billed_units", "tokens")
            if (value := _get(meta, name)) is not None
        }
        if found:
            kept["meta"] = found
            counted = True
    metadata = _get(body, "ResponseMetadata")
    if isinstance(metadata, Mapping):
        headers = metadata.get("HTTPHeaders")
        if isinstance(headers, Mapping):
            headers = {n: v for n, v in headers.items() if str(n).startswith(_BEDROCK)}
            counted |= bool(headers)
        kept["ResponseMetadata"] = {
            name: value
            for name, value in (("RequestId", metadata.get("RequestId")), ("HTTPHeaders", headers))
            if value
        }
    return counted


def _keep_marks(kept: dict[str, Any], body: object) -> None:
    """What changes how the usage counts, without the content that stands there."""
    for name in _BATCH_MARKS:
        if isinstance(body, Mapping) and name in body:
            kept[name] = ""
    output = _get(body, "output")
    if isinstance(output, (list, tuple)):
        kept["output"] = [_call(item) for item in output if _is_call(_get(item, "type"))]
    results = _get(body, "results")  # Titan
    if isinstance(results, (list, tuple)):
        kept["results"] = [{"tokenCount": _get(item, "tokenCount")} for item in results]
    if isinstance(_get(body, "data"), (list, tuple)):
        kept["data"] = []
    if _get(body, "document_annotation"):
        kept["document_annotation"] = True


def _is_call(kind: object) -> bool:
    return isinstance(kind, str) and kind.endswith("_call")


def _call(item: object) -> dict[str, Any]:
    """A call of a tool: which one, and whether it searched or opened a page."""
    called: dict[str, Any] = {"type": _get(item, "type")}
    action = _get(_get(item, "action"), "type")
    if isinstance(action, str):
        called["action"] = {"type": action}
    return called


def _get(body: object, name: str) -> Any:
    if isinstance(body, Mapping):
        return body.get(name)
    return getattr(body, name, None) if body is not None else None
