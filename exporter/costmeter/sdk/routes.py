"""Which requests are calls of a model, how each is read, and how usage is asked for."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from costmeter.sdk.streams import ChatReader, MessagesReader, Reader, ResponsesReader

_DEPLOYMENT = re.compile(r"/(?:deployments|models?)/([^/:]+)")


class Route(NamedTuple):
    """What an address of a provider's API answers."""

    reader: Callable[[], Reader]
    operation: str = ""
    #: Every request is a call of a model. Elsewhere only an answer with usage is one.
    certain: bool = True
    #: Usage comes in a stream only when it is asked for.
    asks: bool = False


_CHAT = Route(ChatReader, asks=True)
_RESPONSES = Route(ResponsesReader)
_MESSAGES = Route(MessagesReader)
_ROUTES = {
    "completions": _CHAT,
    "responses": _RESPONSES,
    "compact": _RESPONSES._replace(certain=False),
    "embeddings": Route(ChatReader, "embedding"),
    "messages": _MESSAGES,
    "generations": Route(ChatReader, "image"),
    # Anthropic's models on Vertex and Bedrock
    "rawPredict": _MESSAGES,
    "streamRawPredict": _MESSAGES,
    "invoke": _MESSAGES,
    # A binary dialect of Bedrock's own: counted as one that cannot be read.
    "invoke-with-response-stream": _MESSAGES,
}


def route_of(path: str) -> Route | None:
    """The route of an address; None for what is no call of a model."""
    path = path.rstrip("/")
    if "/threads/" in path:
        return None
    return _ROUTES.get(path[max(path.rfind("/"), path.rfind(":")) + 1 :])


def model_of(request: Any, path: str) -> str:
    """The model that was asked for; of the address where the body names none."""
    try:
        body = json.loads(request.content)
        model = body.get("model") if isinstance(body, dict) else None
    except Exception:  # noqa: BLE001 a body that is a stream, or no JSON
        model = None
    if isinstance(model, str) and model:
        return model
    found = _DEPLOYMENT.search(path)
    return found[1] if found else "unknown"


def asking(request: Any) -> Any:
    """The same request asking for usage; None where it asks or is no stream of events.

    Reading the body costs about a millisecond for a megabyte. An application that says
    `include_usage` itself, true or false, gets what it says.
    """
    content = request.content
    body = json.loads(content)
    if not isinstance(body, dict) or body.get("stream") is not True:
        return None
    options = body.get("stream_options")
    if options is not None and (not isinstance(options, dict) or "include_usage" in options):
        return None
    body["stream_options"] = {**(options or {}), "include_usage": True}
    content = json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    headers = request.headers.copy()
    headers["content-length"] = str(len(content))
    return type(request)(
        request.method,
        request.url,
        headers=headers,
        content=content,
        extensions=request.extensions,
    )
