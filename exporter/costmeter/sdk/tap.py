"""A response that is read by the application as ever, with somebody listening.

The class of the one response object is replaced by a subclass of it, which hands every piece
on as it comes. Nothing is read ahead, nothing is kept from being read, and a response that
is dropped is collected as before: no cycle leads back to it.
"""

from __future__ import annotations

import contextlib
import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

from costmeter.sdk.streams import MAX_EVENT_BYTES, Reader, Splitter, data_of

#: Called once: the status, and what is known of the answer.
Finish = Callable[[str, Mapping[str, Any]], None]
#: Told of what could not be read; never raises.
Trouble = Callable[[str, BaseException | None], None]


class Observer(ABC):
    """Listens to one answer; says how it ended, exactly once."""

    def __init__(self, finish: Finish, trouble: Trouble) -> None:
        self._finish = finish
        self._trouble = trouble
        self._ended = False
        #: Inside a read: httpx then closes the response itself at the end of the body.
        self.pulling = False

    @abstractmethod
    def feed(self, chunk: bytes) -> bytes:
        """What the application is to get of a chunk."""

    @abstractmethod
    def end(self) -> bytes:
        """The body has ended as it should; returns what was held."""

    @abstractmethod
    def broke(self) -> bytes:
        """Reading has failed; returns what was held."""

    @abstractmethod
    def left(self) -> None:
        """The application reads no further."""

    def _say(self, status: str, body: Mapping[str, Any]) -> None:
        if not self._ended:
            self._ended = True
            self._finish(status, body)


class BodyObserver(Observer):
    """A whole JSON answer that the application reads in pieces."""

    def __init__(self, finish: Finish, trouble: Trouble) -> None:
        super().__init__(finish, trouble)
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> bytes:
        if self._size <= MAX_EVENT_BYTES:
            self._parts.append(chunk)
            self._size += len(chunk)
        return chunk

    def end(self) -> bytes:
        self._say("ok", parsed(b"".join(self._parts), self._trouble))
        self._parts.clear()
        return b""

    def broke(self) -> bytes:
        self._say("aborted", {})
        return b""

    def left(self) -> None:
        self._say("aborted", {})


class StreamObserver(Observer):
    """A stream of server-sent events.

    With `hides`, costmeter asked for the usage chunk and the application did not: that chunk
    is taken out. Many programs stop reading at the chunk with the `finish_reason`, so this
    one is handed on together with the event behind it, which is the usage.
    """

    def __init__(
        self,
        reader: Reader,
        hides: bool,
        finish: Finish,
        trouble: Trouble,
        max_event_bytes: int = MAX_EVENT_BYTES,
    ) -> None:
        super().__init__(finish, trouble)
        self._max_event_bytes = max_event_bytes
        self._reader = reader
        self._hides = hides
        self._splitter: Splitter | None = Splitter()
        self._held = b""

    def feed(self, chunk: bytes) -> bytes:
        if self._splitter is None:
            return chunk
        passed: list[bytes] = []
        try:
            for event in self._splitter.feed(chunk):
                self._take(event, passed)
        except Exception as error:  # noqa: BLE001 the application's stream goes on regardless
            self._trouble("a stream could not be read", error)
            passed.append(self._stop())
        if self._splitter is not None and self._splitter.waiting > self._max_event_bytes:
            self._trouble("an event of a stream has no end", None)
            passed.append(self._stop())
        return b"".join(passed) if self._hides else chunk

    def _take(self, event: bytes, passed: list[bytes]) -> None:
        data = data_of(event)
        was_finished = self._reader.finished
        try:
            seen = self._reader.see(data) if data else None
        except Exception as error:  # noqa: BLE001 one strange event does not hide the others
            self._trouble("an event of a stream could not be read", error)
            seen = None
        last = seen is not None and _only_usage(seen)
        if last or self._reader.closed:
            # Now: an application that leaves here may keep the stream open for long.
            self._say(self._status("ok"), self._reader.body)
        if not self._hides:
            return
        if last:
            event = b""
        elif self._reader.finished and not was_finished and not self._reader.closed:
            passed.append(self._held)
            self._held = event
            return
        passed.append(self._held + event)
        self._held = b""

    def _stop(self) -> bytes:
        """Read no further; returns what has not been handed on."""
        rest = self._splitter.rest() if self._splitter is not None else b""
        self._splitter = None
        held, self._held = self._held, b""
        return held + rest if self._hides else b""

    def end(self) -> bytes:
        rest = self._last_event()
        whole = self._reader.closed or self._reader.finished
        self._say(self._status("ok" if whole else "aborted"), self._reader.body)
        return rest

    def _last_event(self) -> bytes:
        """A last event without its blank line counts."""
        if self._splitter is None:
            return b""
        rest, passed = self._splitter.rest(), list[bytes]()
        if rest.strip():
            self._take(rest, passed)
        else:
            passed.append(rest if self._hides else b"")
        return b"".join(passed) + self._stop()

    def broke(self) -> bytes:
        self._say(self._status("ok" if self._reader.closed else "aborted"), self._reader.body)
        return self._stop()

    def left(self) -> None:
        self._say(self._status("ok" if self._reader.finished else "aborted"), self._reader.body)

    def _status(self, otherwise: str) -> str:
        return "error" if self._reader.failed else otherwise


def _only_usage(event: Mapping[str, Any]) -> bool:
    return event.get("choices") == [] and isinstance(event.get("usage"), dict)


def parsed(content: bytes, trouble: Trouble) -> dict[str, Any]:
    """The body of an answer; empty where it is no JSON object."""
    try:
        body = json.loads(content)
    except (ValueError, RecursionError) as error:
        trouble("an answer is no JSON", error)
        return {}
    if not isinstance(body, dict):
        trouble("an answer is no JSON object", None)
        return {}
    return body


def listen(response: Any, observer: Observer) -> None:
    """Let `observer` hear what is read from a response of httpx (or of a package like it).

    Raises TypeError where the response is of a kind that cannot be listened to.
    """
    response.__class__ = _tapped(type(response))
    response.costmeter_observer = observer


#: A subclass for each kind of response; a process knows two or three.
_TAPPED: dict[type[Any], type[Any]] = {}


def _tapped(kind: type[Any]) -> type[Any]:
    known = _TAPPED.get(kind)
    if known is not None:
        return known

    class Tapped(kind):  # type: ignore[misc]
        """The same response; what is read passes an observer."""

        costmeter_observer: Observer

        def iter_bytes(self, *args: Any, **named: Any) -> Iterator[bytes]:
            chunks: Iterator[bytes] = super().iter_bytes(*args, **named)
            return chunks if hasattr(self, "_content") else _pump(self, chunks)

        def aiter_bytes(self, *args: Any, **named: Any) -> AsyncIterator[bytes]:
            chunks: AsyncIterator[bytes] = super().aiter_bytes(*args, **named)
            return chunks if hasattr(self, "_content") else _apump(self, chunks)

        def close(self) -> None:
            if not self.costmeter_observer.pulling:
                self.costmeter_observer.left()
            super().close()

        async def aclose(self) -> None:
            if not self.costmeter_observer.pulling:
                self.costmeter_observer.left()
            await super().aclose()

        def __del__(self) -> None:
            # The interpreter may be on its way out, with half of everything gone.
            with contextlib.suppress(Exception):
                self.costmeter_observer.left()

    Tapped.__name__, Tapped.__qualname__ = kind.__name__, kind.__qualname__
    Tapped.__module__ = kind.__module__
    _TAPPED[kind] = Tapped
    return Tapped


def _pump(response: Any, chunks: Iterator[bytes]) -> Iterator[bytes]:
    observer: Observer = response.costmeter_observer
    observer.pulling = True
    try:
        for chunk in chunks:
            passed = observer.feed(chunk)
            if passed:
                observer.pulling = False
                yield passed
                observer.pulling = True
        rest = observer.end()
        if rest:
            yield rest
    except Exception:
        rest = observer.broke()
        if rest:
            yield rest
        raise
    finally:
        observer.pulling = False
        observer.left()


async def _apump(response: Any, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    observer: Observer = response.costmeter_observer
    observer.pulling = True
    try:
        async for chunk in chunks:
            passed = observer.feed(chunk)
            if passed:
                observer.pulling = False
                yield passed
                observer.pulling = True
        rest = observer.end()
        if rest:
            yield rest
    except Exception:
        rest = observer.broke()
        if rest:
            yield rest
        raise
    finally:
        observer.pulling = False
        observer.left()
