"""Questions in JSON and answers in text, beside what the fault tables of the kinds show."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from typing import Any

import pytest

from costmeter.sources.allowance import Allowance
from costmeter.sources.contract import Desk, SourceError
from costmeter.sources.http import Api
from costmeter.sources.secret import Secret
from fakes.clock import FakeClock
from fakes.reports import Fault, Query, Reports, serving


class Echo(Reports):
    """Says what it was asked; its text is an exposition."""

    answer: Any = "requests_total 7\n# é\n"

    def allowed(self, headers: Any) -> bool:
        return True

    def route(self, path: str, query: Query) -> Any:
        return self.answer

    def posted(self, path: str, query: Query, body: bytes) -> Any:
        if path == "/nothing":
            return None
        return {"path": path, "query": query, "body": body.decode()}


@pytest.fixture
def echo() -> Iterator[Echo]:
    fake = Echo()
    with serving(fake):
        yield fake


class Waits:
    """Every pause that was made; the last one of `stop` says that the process ends."""

    def __init__(self, stop: bool = False) -> None:
        self.made: list[float] = []
        self._stop = stop

    def __call__(self, seconds: float) -> bool:
        self.made.append(seconds)
        return self._stop


def desk(waits: Waits | None = None, calls: int | None = None) -> Desk:
    return Desk(FakeClock(1_795_343_400_000), Allowance(calls), waits or Waits())


def api(fake: Reports, secret: Secret | None = None, **more: Any) -> Api:
    return Api(fake.url, secret or Secret(), **more)


def test_a_question_in_json(echo: Echo) -> None:
    secret = Secret(variable="KEY", environ={"KEY": "abc"})
    said = api(echo, secret).post(desk(), "/a b", [("page", "1&2")], {"type": "é", "n": 1})
    assert said["path"] == "/a%20b"
    assert said["query"] == {"page": ["1&2"]}
    assert json.loads(said["body"]) == {"type": "é", "n": 1}
    (asked,) = echo.asked
    assert asked.headers["authorization"] == "Bearer abc"
    assert asked.headers["content-type"] == "application/json"
    assert asked.headers["accept"] == "application/json"


def test_an_answer_without_content_is_an_empty_object(echo: Echo) -> None:
    assert api(echo).post(desk(), "/nothing", (), {}) == {}


def test_an_empty_answer_is_no_object(echo: Echo) -> None:
    echo.faults.extend([Fault(body=b"")] * 4)
    with pytest.raises(SourceError, match="no readable JSON"):
        api(echo).post(desk(), "/", (), {})


def test_a_form_is_sent_as_one(echo: Echo) -> None:
    said = api(echo).form(desk(), "/token", [("scope", "a/.default"), ("secret", "x&y")])
    assert said["body"] == "scope=a%2F.default&secret=x%26y"
    assert echo.asked[0].headers["content-type"] == "application/x-www-form-urlencoded"


def test_text(echo: Echo) -> None:
    assert api(echo).text(desk(), "/metrics", [("name[]", "a")]) == "requests_total 7\n# é\n"
    (asked,) = echo.asked
    assert asked.headers["accept"].startswith("text/plain;version=0.0.4")
    assert asked.query == {"name[]": ["a"]}


def test_without_a_credential_no_header_is_sent(echo: Echo) -> None:
    api(echo).text(desk(), "/metrics")
    assert "authorization" not in echo.asked[0].headers


def test_text_is_unpacked_and_bounded(echo: Echo) -> None:
    packed = {"Content-Encoding": "gzip"}
    echo.faults.append(Fault(headers=packed, body=gzip.compress(b"up 1\n")))
    assert api(echo).text(desk(), "/") == "up 1\n"
    echo.faults.append(Fault(headers=packed, body=gzip.compress(b"a" * 101)))
    echo.answer = "a" * 101
    for _ in range(2):
        with pytest.raises(SourceError) as caught:
            api(echo, most_bytes=100).text(desk(), "/")
        assert caught.value.reason == "too_large"
    echo.answer = "a" * 100
    assert api(echo, most_bytes=100).text(desk(), "/") == echo.answer


@pytest.mark.parametrize("body", [b"\xff\xfe", b"caf\xe9"])
def test_what_is_no_utf8_is_no_text(echo: Echo, body: bytes) -> None:
    echo.faults.extend([Fault(body=body)] * 4)
    with pytest.raises(SourceError) as caught:
        api(echo).text(desk(), "/")
    assert caught.value.reason == "malformed"
    assert not echo.faults


METHODS = {
    "post": lambda api, at: api.post(at, "/", (), {"a": 1}),
    "form": lambda api, at: api.form(at, "/", [("a", "1")]),
    "text": lambda api, at: api.text(at, "/"),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("fault", "waited"),
    [
        (Fault(503), [1, 2]),
        (Fault(429, {"Retry-After": "7"}), [7, 7]),
        (Fault(cut=1), [1, 2]),
    ],
)
def test_passing_trouble_is_waited_out(
    echo: Echo, method: str, fault: Fault, waited: list[float]
) -> None:
    echo.faults.extend([fault, fault])
    waits = Waits()
    at = desk(waits)
    METHODS[method](api(echo), at)
    assert waits.made == waited
    assert at.allowance.calls == 3
    assert len({(asked.method, asked.body) for asked in echo.asked}) == 1


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("fault", "reason", "tries"),
    [
        (Fault(401), "credentials", 1),
        (Fault(400), "request", 1),
        (Fault(307, {"Location": "http://127.0.0.1:1/"}), "request", 1),
        (Fault(429, {"Retry-After": "61"}), "throttled", 1),
        (Fault(500), "server", 4),
    ],
)
def test_other_trouble_is_told(
    echo: Echo, method: str, fault: Fault, reason: str, tries: int
) -> None:
    echo.faults.extend([fault] * 4)
    with pytest.raises(SourceError) as caught:
        METHODS[method](api(echo), desk())
    assert caught.value.reason == reason
    assert len(echo.asked) == tries


@pytest.mark.parametrize("method", METHODS)
def test_the_allowance_is_asked_before(echo: Echo, method: str) -> None:
    with pytest.raises(SourceError) as caught:
        METHODS[method](api(echo), desk(calls=0))
    assert caught.value.reason == "budget"
    assert not echo.asked


def test_a_text_without_content_is_none(echo: Echo) -> None:
    echo.answer = None
    with pytest.raises(SourceError, match="answered 204"):
        api(echo).text(desk(), "/")


def test_stopping_ends_the_waiting(echo: Echo) -> None:
    echo.faults.append(Fault(500))
    with pytest.raises(SourceError) as caught:
        api(echo).text(desk(Waits(stop=True)), "/")
    assert caught.value.reason == "stopped"


def test_an_error_in_the_shape_of_oauth_is_shown_without_keys(echo: Echo) -> None:
    said = {"error": "invalid_client", "error_description": "AADSTS7000215: Invalid secret."}
    echo.faults.append(Fault(400, body=json.dumps(said).encode()))
    with pytest.raises(SourceError, match="AADSTS7000215: Invalid secret"):
        api(echo).form(desk(), "/", [])
