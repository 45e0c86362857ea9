"""What a streamed answer says of its usage, read beside the stream.

Events are looked at as bytes; only the few that carry a name, an end or a usage object are
parsed. In JSON every quote inside a text is escaped, so a pattern such as `"usage":{` can
only be a real key, never the words of a model.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from costmeter.sdk.response import skeleton

#: What an event says of its answer before the usage is known.
_HEAD = ("id", "model", "service_tier")

#: A single event this long is no event; the stream is passed on and no longer read.
MAX_EVENT_BYTES = 64 << 20

#: A line's end and a blank line. Whatever stands between may end its own lines in another way.
_BLANK_LINE = re.compile(rb"\r?\n\r?\n|\r\r")
_USAGE = re.compile(rb'"usage"\s*:\s*\{')
_FINISH = re.compile(rb'"finish_reason"\s*:\s*"')
_MESSAGE_TYPE = re.compile(rb'"type"\s*:\s*"(?:message_start|message_delta|message_stop|error)"')
_RESPONSE_TYPE = re.compile(
    rb'"type"\s*:\s*"(?:response\.(?:created|queued|completed|incomplete|failed)|error)"'
)


def reduced(body: Mapping[str, Any]) -> dict[str, Any]:
    """An answer without its words: name, model, tier, usage and which tools were billed."""
    known = skeleton(body) if isinstance(body.get("usage"), Mapping) else None
    return known or {name: body[name] for name in _HEAD if isinstance(body.get(name), str)}


class Splitter:
    """Cuts bytes into server-sent events, whatever the pieces in which they arrive."""

    def __init__(self) -> None:
        self._waiting = bytearray()

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Every event that is whole now, with its blank line, byte for byte."""
        waiting = self._waiting
        start = max(0, len(waiting) - 3)
        waiting += chunk
        done = 0
        for end in [found.end() for found in _BLANK_LINE.finditer(waiting, start)]:
            yield bytes(waiting[done:end])
            done = end
        if done:
            del waiting[:done]

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def rest(self) -> bytes:
        """What has no end yet; it is forgotten here."""
        found = bytes(self._waiting)
        self._waiting.clear()
        return found


def data_of(event: bytes) -> bytes:
    """The data of an event; empty for a comment or a name alone."""
    lines = (line for line in event.splitlines() if line.startswith(b"data:"))
    return b"\n".join(line[5:].removeprefix(b" ") for line in lines)


class Reader(Protocol):
    """Reads the events of one stream, one after the other."""

    body: dict[str, Any]
    """What is kept of the answer, see `reduced`; `usage` only where it was said."""
    finished: bool
    """The model has ended; an application that leaves now has the whole answer."""
    closed: bool
    """The provider has said its last event."""
    failed: bool
    """The provider has said that it failed."""

    def see(self, data: bytes) -> Mapping[str, Any] | None:
        """Read one event's data; the event where it had to be parsed."""
        ...


class _State:
    def __init__(self) -> None:
        self.body: dict[str, Any] = {}
        self.finished = self.closed = self.failed = False

    def _keep(self, body: Mapping[str, Any]) -> None:
        """Later figures replace earlier ones of the same name; others stay (Anthropic)."""
        found = reduced(body)
        usage = found.pop("usage", None)
        self.body.update({name: value for name, value in found.items() if value != ""})
        if isinstance(usage, Mapping):
            known = self.body.setdefault("usage", {})
            known.update({name: value for name, value in usage.items() if value is not None})


class ChatReader(_State):
    """Chat completions and the older completions: usage in a chunk near the end, if at all."""

    def see(self, data: bytes) -> Mapping[str, Any] | None:
        if data == b"[DONE]":
            self.finished = self.closed = True
            return None
        if _FINISH.search(data):
            self.finished = True
        # Azure's first chunk has an empty id and model: look on until there is one.
        if "id" in self.body and not _USAGE.search(data) and not data.startswith(b'{"error"'):
            return None
        event = json.loads(data)
        if not isinstance(event, dict):
            return None
        if event.get("error"):
            self.failed = True
            return event
        self._keep(event)
        groq = event.get("x_groq")
        if isinstance(groq, dict) and isinstance(groq.get("usage"), dict):
            self._keep({"usage": groq["usage"]})
        return event


class MessagesReader(_State):
    """Anthropic's messages: the input at the start, the output so far with every delta."""

    def see(self, data: bytes) -> Mapping[str, Any] | None:
        if not _MESSAGE_TYPE.search(data):
            return None
        event = json.loads(data)
        kind = event.get("type")
        if kind == "message_start" and isinstance(event.get("message"), dict):
            self._keep(event["message"])
        elif kind == "message_delta":
            delta = event.get("delta")
            if isinstance(delta, dict) and delta.get("stop_reason"):
                self.finished = True
            self._keep({"usage": event.get("usage")})
        elif kind == "message_stop":
            self.finished = self.closed = True
        elif kind == "error":
            self.failed = True
        return dict(event)


class ResponsesReader(_State):
    """OpenAI's responses: the event that ends the stream holds the whole response."""

    def see(self, data: bytes) -> Mapping[str, Any] | None:
        if not _RESPONSE_TYPE.search(data):
            return None
        event = json.loads(data)
        kind, response = event.get("type"), event.get("response")
        if kind == "error":
            self.failed = True
        elif isinstance(kind, str) and kind.startswith("response."):
            if isinstance(response, dict):
                self._keep(response)
            if kind in ("response.completed", "response.incomplete", "response.failed"):
                self.finished = self.closed = True
                self.failed = kind == "response.failed"
        return dict(event)
