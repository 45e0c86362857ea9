from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costmeter.ingest.body import Reader
from costmeter.ingest.event import Event
from costmeter.ingest.explain import refusal_of
from costmeter.ingest.refusal import TooLarge, Unreadable
from fakes.calls import call

READER = Reader(Event, "events")


def ids(body: bytes, *, lines: bool = False) -> list[str | None]:
    return [record.request_id for record in READER.read(body, lines=lines).records]


@pytest.mark.parametrize(
    "wrap",
    [
        lambda events: events,
        lambda events: {"events": events},
    ],
)
def test_arrays_and_envelopes(wrap: object) -> None:
    events = [call(1), call(2)]
    assert ids(json.dumps(wrap(events)).encode()) == ["r-1", "r-2"]  # type: ignore[operator]
    events.append({"bad": 1})
    assert ids(json.dumps(wrap(events)).encode()) == ["r-1", "r-2"]  # type: ignore[operator]


def test_a_single_object() -> None:
    assert ids(json.dumps(call(1)).encode()) == ["r-1"]
    parsed = READER.read(b'{"request_id": "r"}', lines=False)
    assert [(rejection.place, rejection.field) for rejection in parsed.rejections] == [
        (0, "timestamp")
    ]


def test_nothing_is_not_an_error() -> None:
    assert ids(b"[]") == []
    assert ids(b' {"events": []} ') == []
    assert ids(b"\n\n", lines=True) == []


def test_lines() -> None:
    text = "\n".join([json.dumps(call(1)), "", json.dumps(call(2)) + "\r", ""])
    assert ids(text.encode(), lines=True) == ["r-1", "r-2"]


def test_a_broken_line_costs_only_itself() -> None:
    text = "\n".join([json.dumps(call(1)), '{"request_id": ', "[1]", json.dumps(call(2))])
    parsed = READER.read(text.encode(), lines=True)
    assert [record.request_id for record in parsed.records] == ["r-1", "r-2"]
    assert parsed.places == [0, 3]
    assert [(r.place, r.code) for r in parsed.rejections] == [(1, "unreadable"), (2, "invalid")]


@pytest.mark.parametrize(
    ("body", "line", "byte"),
    [
        (b"", 1, 0),
        (b"  ", 1, 0),
        (b"hello", 1, 0),
        (b'[\n{"a": 1},\n{"b": }]', 3, 18),
        (b'{"events": [1,]}', 1, 14),
        (b"[1] 2", 1, 4),
        (b'{"\xff": 1}', 1, 2),
        (b'"text"', 1, None),
        (b"null", 1, None),
        (b"7", 1, None),
        (b'{"events": {}}', None, None),
        (b'{"events": [], "more": 1}', None, None),
        (b"[" * 100_000, None, None),
        (b'{"a":' * 100_000, None, None),
    ],
)
def test_unreadable_bodies_say_where(body: bytes, line: int | None, byte: int | None) -> None:
    with pytest.raises(Unreadable) as caught:
        READER.read(body, lines=False)
    assert caught.value.line == line
    if byte is not None:
        assert caught.value.byte is not None
        assert abs(caught.value.byte - byte) <= 1


def test_text_that_is_not_ndjson_at_all_is_unreadable() -> None:
    with pytest.raises(Unreadable, match="no line"):
        READER.read(b"hello\nworld\n", lines=True)


def test_at_most_so_many_events() -> None:
    reader = Reader(Event, "events", 3)
    for lines in (False, True):
        join = b"\n" if lines else b","
        text = [json.dumps(call(n)).encode() for n in range(4)]
        body = join.join(text[:3])
        assert len(reader.read(body if lines else b"[" + body + b"]", lines=lines).records) == 3
        for fourth in (text[3], b'{"bad": 1}'):
            body = join.join([*text[:3], fourth])
            with pytest.raises(TooLarge, match="at most 3 events"):
                reader.read(body if lines else b"[" + body + b"]", lines=lines)


@pytest.mark.parametrize("piece", [b"0,", b"[],", b"{},", b"0\n", b"{}\n"])
def test_a_body_of_nothing_but_values_is_refused_before_it_takes_memory(piece: bytes) -> None:
    body = b"[" + piece * (10_000_000 // len(piece)) + b"0]"
    started = time.perf_counter()
    with pytest.raises(TooLarge):
        READER.read(body, lines=b"\n" in piece)
    assert time.perf_counter() - started < 2


def test_ten_thousand_bad_events_are_told_one_by_one_in_good_time() -> None:
    body = json.dumps([call(n, nonsense=n) for n in range(10_000)]).encode()
    started = time.perf_counter()
    parsed = READER.read(body, lines=False)
    assert time.perf_counter() - started < 3
    assert len(parsed.rejections) == 10_000


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**13), 10**13),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.sampled_from(["ok", "batch", "2025-11-22T10:00:00Z", "x" * 201]),
)
MAPS = st.dictionaries(
    st.one_of(st.sampled_from(["input", "output", "web_searches", "gpu_ms"]), st.text(max_size=5)),
    SCALARS,
    max_size=4,
)
EVENTS = st.dictionaries(
    st.sampled_from([*Event.__struct_fields__, "tenant", "Model"]),
    st.one_of(SCALARS, MAPS, st.lists(SCALARS, max_size=2)),
    max_size=6,
).map(lambda event: call() | event)


@given(EVENTS)
def test_whatever_the_decoder_refuses_has_a_field_and_a_reason(event: dict[str, object]) -> None:
    parsed = READER.read(json.dumps([event]).encode(), lines=False)
    for rejection in parsed.rejections:
        assert rejection.field != ""
        assert rejection.field.partition(".")[0] in event
    if parsed.records:
        # What decodes must not be refused by the words either: the two rules are one.
        assert refusal_of(event, Event, "nothing wrong").reason == "nothing wrong"


@given(st.lists(EVENTS, max_size=6))
def test_events_are_judged_alike_alone_together_and_in_lines(
    events: list[dict[str, object]],
) -> None:
    together = READER.read(json.dumps(events).encode(), lines=False)
    lines = READER.read("\n".join(map(json.dumps, events)).encode(), lines=True)
    alone = [bool(READER.read(json.dumps(event).encode(), lines=False).records) for event in events]
    bad = {rejection.place for rejection in together.rejections}
    assert [place not in bad for place in range(len(events))] == alone
    assert together.rejections == lines.rejections
