"""Whatever is sent: never a 500, never a traceback, never half of a body."""

from __future__ import annotations

import gzip
import http.client
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from costmeter.ingest.event import CorrectionRecord, Event
from fakes.calls import call
from fakes.door import MemoryDoor
from fakes.served import Rig, serving

PATHS = st.sampled_from(["/api/v1/usage", "/api/v1/corrections"])
TYPES = st.sampled_from(["application/json", "application/x-ndjson"])
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=20)
)
JSON_VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
FIELDS = st.sampled_from([*Event.__struct_fields__, *CorrectionRecord.__struct_fields__])
COUNTS = st.dictionaries(
    st.sampled_from(["input", "output", "prompt_tokens", "input_tokens", "completion_tokens"]),
    st.one_of(st.integers(-5, 10**13), SCALARS),
    max_size=4,
)
NEARLY = st.dictionaries(FIELDS, st.one_of(SCALARS, COUNTS, JSON_VALUES), max_size=5).map(
    lambda changes: call() | changes
)
BODIES = st.one_of(JSON_VALUES, NEARLY, st.lists(st.one_of(NEARLY, JSON_VALUES), max_size=5)).map(
    lambda value: json.dumps(value).encode()
)

FUZZ = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


class Client:
    """One connection that is kept: a fuzzed request must not harm the next one either."""

    def __init__(self, rig: Rig) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", rig.port, timeout=20)

    def post(self, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, Any]:
        self._connection.request("POST", path, body, headers)
        answer = self._connection.getresponse()
        text = answer.read().decode()
        assert "Traceback" not in text
        return answer.status, json.loads(text)

    def close(self) -> None:
        self._connection.close()


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with serving(Rig()) as rig:
        yield rig


@pytest.fixture(scope="module")
def client(rig: Rig) -> Iterator[Client]:
    client = Client(rig)
    yield client
    client.close()


def check(rig: Rig, status: int, said: Any, before: int) -> None:
    door = rig.door
    assert isinstance(door, MemoryDoor)
    gained = len(door.usages) - before
    if status == 200:
        assert gained >= said["accepted"] or said["accepted"] <= len(door.corrected)
        indexes = [rejection["index"] for rejection in said["rejected"]]
        assert indexes == sorted(set(indexes))
        assert all(rejection["reason"] for rejection in said["rejected"])
    else:
        assert status in (400, 413, 415)
        assert said["error"]
        assert gained == 0


@FUZZ
@given(path=PATHS, kind=TYPES, body=st.one_of(BODIES, st.binary(max_size=60)), packed=st.booleans())
def test_any_body(
    rig: Rig, client: Client, path: str, kind: str, body: bytes, packed: bool
) -> None:
    assert rig.door is not None
    before = len(rig.door.usages)
    headers = {"Content-Type": kind} | ({"Content-Encoding": "gzip"} if packed else {})
    status, said = client.post(path, gzip.compress(body) if packed else body, headers)
    check(rig, status, said, before)


@FUZZ
@given(garbage=st.binary(max_size=80), cut=st.integers(0, 60))
def test_any_gzip(rig: Rig, client: Client, garbage: bytes, cut: int) -> None:
    assert rig.door is not None
    before = len(rig.door.usages)
    packed = gzip.compress(json.dumps([call()]).encode())
    for body in (garbage, packed[:cut] + garbage):
        status, said = client.post("/api/v1/usage", body, {"Content-Encoding": "gzip"})
        check(rig, status, said, before)


@FUZZ
@given(events=st.lists(st.one_of(NEARLY, JSON_VALUES), max_size=6))
def test_each_event_is_answered_once(
    rig: Rig, client: Client, events: list[dict[str, object]]
) -> None:
    status, said = client.post("/api/v1/usage", json.dumps(events).encode(), {})
    if status == 200:
        answered = said["accepted"] + said["duplicate"] + said["observed"] + len(said["rejected"])
        assert answered == len(events)
    else:
        assert status == 400


@FUZZ
@given(
    method=st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"]),
    path=st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20),
    header=st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=30),
)
def test_any_request(rig: Rig, method: str, path: str, header: str) -> None:
    headers = {
        name: header.strip()
        for name in ("Authorization", "Accept", "Content-Type", "Content-Encoding", "Origin")
    }
    encoded = {name: value.encode("latin-1") for name, value in headers.items()}
    answer = rig.ask(method, f"/{path}", headers=encoded)  # type: ignore[arg-type]
    assert answer.status < 500
