"""The observer of streams: the same reading however the bytes are cut, and nothing held back."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costmeter.sdk.streams import (
    ChatReader,
    MessagesReader,
    Reader,
    ResponsesReader,
    Splitter,
    data_of,
)
from costmeter.sdk.tap import BodyObserver, StreamObserver
from fakes import provider_shapes as shapes

#: What a model may say; nothing in it may be taken for the stream's own structure.
WORDS = [
    '"usage": {"prompt_tokens": 9}',
    '"finish_reason": "stop"',
    "data: [DONE]\n\n",
    '"error"',
    "é",
]
CHAT = shapes.chat_usage(90, 10, 20, 5)
MESSAGES = shapes.messages_usage(90, 10, 5, 20)
RESPONSES = shapes.responses_usage(90, 10, 20, 5)
STREAMS: list[tuple[type[Any], list[shapes.Sse], dict[str, Any]]] = [
    (ChatReader, list(shapes.chat_events(1, "m", WORDS, CHAT, asked=True)), CHAT),
    (MessagesReader, list(shapes.message_events(1, "m", WORDS, MESSAGES)), MESSAGES),
    (ResponsesReader, list(shapes.response_events(1, "m", WORDS, RESPONSES)), RESPONSES),
]
ENDINGS = (b"\n", b"\r\n", b"\r")


class Heard:
    def __init__(self, reader: Reader, hides: bool = False, **bounds: int) -> None:
        self.said: list[tuple[str, dict[str, Any]]] = []
        self.trouble: list[str] = []
        self.observer = StreamObserver(
            reader,
            hides,
            lambda status, body: self.said.append((status, dict(body))),
            lambda what, _: self.trouble.append(what),
            **bounds,
        )


def cut(whole: bytes, places: list[int]) -> list[bytes]:
    marks = [0, *sorted(place % (len(whole) + 1) for place in places), len(whole)]
    return [whole[a:b] for a, b in pairwise(marks)]


def bytes_of(events: list[shapes.Sse], ending: bytes = b"\n") -> bytes:
    return b": a comment\n\n".replace(b"\n", ending) + b"".join(
        shapes.encode(event).replace(b"\n", ending) for event in events
    )


@given(st.sampled_from(STREAMS), st.sampled_from(ENDINGS), st.booleans(), st.lists(st.integers(0)))
def test_however_the_bytes_are_cut(
    stream: tuple[type[Any], list[shapes.Sse], dict[str, Any]],
    ending: bytes,
    hides: bool,
    places: list[int],
) -> None:
    kind, events, usage = stream
    whole = bytes_of(events, ending)
    heard = Heard(kind(), hides)
    pieces = [heard.observer.feed(piece) for piece in cut(whole, places)]
    passed = b"".join(pieces) + heard.observer.end()
    ((status, body),) = heard.said
    assert (status, body["usage"], body["model"]) == ("ok", usage, "m")
    assert not heard.trouble
    expected = [event for event in events if not (hides and is_usage(event))]
    assert passed == bytes_of(expected, ending)


def is_usage(event: shapes.Sse) -> bool:
    return event[1] != "[DONE]" and json.loads(event[1]).get("choices") == []


@given(st.lists(st.binary(max_size=40), max_size=8), st.booleans())
def test_bytes_that_are_no_stream_pass_unchanged(pieces: list[bytes], hides: bool) -> None:
    heard = Heard(ChatReader(), hides)
    passed = b"".join(heard.observer.feed(piece) for piece in pieces) + heard.observer.end()
    assert passed == b"".join(pieces)
    assert len(heard.said) == 1


def test_only_the_finish_waits_and_only_for_the_next_event() -> None:
    heard = Heard(ChatReader(), hides=True)
    *words, finish, usage, done = [shapes.encode(event) for event in STREAMS[0][1]]
    for event in words:
        assert heard.observer.feed(event) == event
    assert heard.observer.feed(finish) == b""
    assert heard.observer.feed(usage) == finish
    assert [status for status, _ in heard.said] == ["ok"]
    assert heard.observer.feed(done) == done


@pytest.mark.parametrize("way", ["end", "broke"])
def test_what_waits_is_handed_on_at_the_end(way: str) -> None:
    heard = Heard(ChatReader(), hides=True)
    *words, finish, _, _ = [shapes.encode(event) for event in STREAMS[0][1]]
    for event in words:
        heard.observer.feed(event)
    assert heard.observer.feed(finish + b"data: {") == b""
    assert getattr(heard.observer, way)() == finish + b"data: {"


def test_a_strange_event_does_not_hide_the_others() -> None:
    heard = Heard(ChatReader())
    events = [shapes.encode(event) for event in STREAMS[0][1]]
    for event in (b'data: {"usage": {broken\n\n', b"data: [1]\n\n", b"data:\n\n", *events):
        assert heard.observer.feed(event) == event
    heard.observer.end()
    assert heard.trouble == ["an event of a stream could not be read"]
    assert [(status, body["usage"]) for status, body in heard.said] == [("ok", CHAT)]


def test_an_event_without_end_is_passed_and_no_longer_read() -> None:
    heard = Heard(ChatReader(), hides=True, max_event_bytes=1000)
    first = b"data: x\n\ndata: "
    passed = heard.observer.feed(first) + heard.observer.feed(b"y" * 2000)
    passed += heard.observer.feed(b"z" * 10) + heard.observer.end()
    assert passed == first + b"y" * 2000 + b"z" * 10
    assert [status for status, _ in heard.said] == ["aborted"]
    assert "an event of a stream has no end" in heard.trouble


def test_usage_where_groq_writes_it() -> None:
    heard = Heard(ChatReader())
    event = {"id": "c1", "model": "m", "choices": [{"finish_reason": "stop"}],
             "x_groq": {"usage": CHAT}}  # fmt: skip
    heard.observer.feed(shapes.encode(("", json.dumps(event))))
    heard.observer.left()
    assert [(status, body["usage"]) for status, body in heard.said] == [("ok", CHAT)]


def test_azures_first_chunk_names_nothing() -> None:
    heard = Heard(ChatReader())
    first = {"id": "", "model": "", "choices": [], "prompt_filter_results": []}
    heard.observer.feed(shapes.encode(("", json.dumps(first))))
    heard.observer.feed(bytes_of(STREAMS[0][1]))
    ((status, body),) = heard.said
    assert (status, body["id"], body["model"]) == ("ok", "chatcmpl-1", "m")


def test_a_failed_response_is_an_error() -> None:
    body = shapes.response(1, "m", (), RESPONSES, "failed")
    event = {"type": "response.failed", "response": body}
    heard = Heard(ResponsesReader())
    heard.observer.feed(shapes.encode(("response.failed", json.dumps(event))))
    assert [(status, found["usage"]) for status, found in heard.said] == [("error", RESPONSES)]


def test_data_of_several_lines() -> None:
    assert data_of(b"event: x\ndata: one\ndata:two\nid: 7\n\n") == b"one\ntwo"
    assert data_of(b": comment\n\n") == b""


def test_a_splitter_keeps_what_has_no_end() -> None:
    splitter = Splitter()
    assert list(splitter.feed(b"data: a\n\ndata: b\n")) == [b"data: a\n\n"]
    assert splitter.rest() == b"data: b\n"
    assert splitter.rest() == b""


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"nonsense"])
def test_a_body_that_is_no_answer(body: bytes) -> None:
    said: list[Any] = []
    trouble: list[str] = []
    observer = BodyObserver(
        lambda status, body: said.append((status, body)), lambda what, _: trouble.append(what)
    )
    assert observer.feed(body) == body
    observer.end()
    observer.left()
    assert said == [("ok", {})]
    assert len(trouble) == 1


def test_lines_that_end_in_several_ways() -> None:
    # A proxy keeps the connection awake in its own style.
    heard = Heard(ChatReader(), hides=True)
    first = b'data: {"id": "c-1", "choices": []}\r\n\r\n'
    assert heard.observer.feed(b": ping\n\n" + first) == b": ping\n\n" + first
    assert heard.observer.feed(b": ping\n\n") == b": ping\n\n"
