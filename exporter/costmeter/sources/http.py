"""Requests with JSON or text answers, by the standard library: bounded, patient, discreet.

They follow no redirect, because the credential must not go anywhere else, and they quote
nothing of what is sent. From an error's body only a short message is shown.
"""

from __future__ import annotations

import http.client
import json
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol, TypeVar
from urllib.parse import quote, urlencode, urlsplit

from costmeter import __version__
from costmeter.sources.allowance import AllowanceSpent
from costmeter.sources.answers import body_of, message, text_of
from costmeter.sources.backoff import retry_after_ms
from costmeter.sources.contract import Desk, SourceError
from costmeter.sources.reading import Row, parse
from costmeter.sources.secret import SecretError

#: A page of 1,000 rows is under 1 MB.
MOST_BYTES = 32 * 1024 * 1024
_MOST_ERROR_BYTES = 4_096
#: A short wait is worth taking within a poll; for a longer one the poll is given up.
_MOST_TRIES = 4
_LONGEST_PAUSE_MS = 60_000
_FIRST_PAUSE_MS = 1_000
#: Worth another try at once; 408 and 425 are said by proxies.
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529})
#: Credentials, requests and oversize answers do not heal by repetition.
_HEALING = frozenset({"throttled", "server", "timeout", "network", "malformed"})
_JSON = "application/json"
_TEXT = "text/plain;version=0.0.4, text/plain;q=0.9, */*;q=0.1"

Query = Sequence[tuple[str, str]]
_T = TypeVar("_T")


class Credential(Protocol):
    """What a request is authorised with: a `Secret`, or a token that was got with one."""

    @property
    def named(self) -> bool:
        """False sends none."""
        ...

    def read(self) -> str:
        """Raises SecretError."""
        ...


class _Request(NamedTuple):
    method: str
    target: str
    accept: str
    body: bytes | None = None
    content_type: str = ""


class Api:
    """One provider's API at a base URL, such as https://api.openai.com/v1.

    `auth` is the header that carries the credential and what stands before it. A call
    costs `nano_per_call`. Each method asks the allowance before each try, waits passing
    trouble out, and raises SourceError.
    """

    def __init__(
        self,
        base_url: str,
        secret: Credential,
        *,
        auth: tuple[str, str] = ("Authorization", "Bearer "),
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float = 30,
        nano_per_call: int = 0,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        """Raises ValueError for a base URL that cannot be used."""
        parts = urlsplit(base_url)
        if parts.scheme not in ("https", "http") or not parts.hostname:
            raise ValueError(f"{base_url!r} is no base URL; write one like https://api.example.com")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("the base URL holds more than a host and a path; write these alone")
        self._secure = parts.scheme == "https"
        self._host = parts.hostname
        self._port = parts.port
        self._path = parts.path.rstrip("/")
        self._secret = secret
        self._auth = auth
        self._headers = dict(headers or {})
        self._timeout_seconds = timeout_seconds
        self._nano_per_call = nano_per_call
        self._most_bytes = most_bytes
        self._tls = ssl.create_default_context() if self._secure else None

    def __repr__(self) -> str:
        return f"Api({self._host}{self._path})"

    def get(self, desk: Desk, path: str, query: Query = ()) -> Row:
        """The JSON object at a path."""
        return self._ask(desk, _Request("GET", self._target(path, query), _JSON), parse)

    def post(self, desk: Desk, path: str, query: Query, body: Mapping[str, object]) -> Row:
        """The JSON object that answers a question in JSON; 204, which has no content, is {}.

        It is asked again after passing trouble, so the question must not change anything.
        """
        asked = json.dumps(body).encode()
        request = _Request("POST", self._target(path, query), _JSON, asked, _JSON)
        return self._ask(desk, request, parse)

    def form(self, desk: Desk, path: str, fields: Query) -> Row:
        """The JSON object that answers a form, as tokens are asked for."""
        asked = urlencode(fields).encode()
        kind = "application/x-www-form-urlencoded"
        return self._ask(desk, _Request("POST", self._target(path), _JSON, asked, kind), parse)

    def text(self, desk: Desk, path: str, query: Query = ()) -> str:
        """The UTF-8 text at a path, such as an exposition of Prometheus."""
        return self._ask(desk, _Request("GET", self._target(path, query), _TEXT), text_of)

    def _target(self, path: str, query: Query = ()) -> str:
        target = self._path + quote(path)
        return f"{target}?{urlencode(query)}" if query else target or "/"

    def _ask(self, desk: Desk, request: _Request, read: Callable[[bytes], _T]) -> _T:
        for attempt in range(1, _MOST_TRIES + 1):
            try:
                return read(self._once(desk, request))
            except SourceError as error:
                if error.reason not in _HEALING:
                    raise
                wait = error.retry_after_ms
                wait = _FIRST_PAUSE_MS << (attempt - 1) if wait is None else wait
                if attempt == _MOST_TRIES or wait > _LONGEST_PAUSE_MS:
                    raise
                if desk.pause(wait / 1000):
                    raise SourceError("stopped", "the exporter is stopping") from None
        raise AssertionError("the last attempt returns or raises")

    def _once(self, desk: Desk, request: _Request) -> bytes:
        try:
            credential = self._auth[1] + self._secret.read() if self._secret.named else ""
        except SecretError as error:
            raise SourceError("credentials", str(error)) from None
        try:
            desk.allowance.take(desk.clock.now_ms(), self._nano_per_call)
        except AllowanceSpent as error:
            raise SourceError("budget", str(error), error.wait_ms) from None
        headers = {
            "Accept": request.accept,
            "Accept-Encoding": "gzip",
            "User-Agent": f"costmeter/{__version__}",
            **self._headers,
        }
        if request.content_type:
            headers["Content-Type"] = request.content_type
        if credential:
            headers[self._auth[0]] = credential
        connection = self._connection()
        until = time.monotonic() + self._timeout_seconds
        try:
            connection.request(request.method, request.target, request.body, headers)
            answer = connection.getresponse()
            if answer.status == 204 and request.method == "POST":
                return b"{}"
            return self._body(answer, until, desk)
        except TimeoutError:
            raise SourceError("timeout", self._slow) from None
        except ssl.SSLCertVerificationError as error:
            raise SourceError("network", f"{self._host}: {error.verify_message}") from None
        except (OSError, http.client.HTTPException) as error:
            said = getattr(error, "strerror", None) or type(error).__name__
            raise SourceError("network", f"{self._host}: {said}") from None
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        if self._tls is not None:
            return http.client.HTTPSConnection(
                self._host, self._port, timeout=self._timeout_seconds, context=self._tls
            )
        return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_seconds)

    def _body(self, answer: http.client.HTTPResponse, until: float, desk: Desk) -> bytes:
        if answer.status == 200:
            return body_of(answer, self._most_bytes, until, self._slow)
        try:
            said = message(body_of(answer, _MOST_ERROR_BYTES, until, self._slow))
        except SourceError:
            said = ""
        headers = {name.lower(): value for name, value in answer.getheaders()}
        raise self._refused(answer.status, headers, said, desk)

    def _refused(
        self, status: int, headers: Mapping[str, str], said: str, desk: Desk
    ) -> SourceError:
        text = f"{self._host} answered {status}" + (f": {said}" if said else "")
        wait = retry_after_ms(headers, desk.clock.now_ms())
        if status in (401, 403):
            return SourceError("credentials", f"{text}; is the key of the right kind?", wait)
        if status == 429:
            return SourceError("throttled", text, wait)
        if status in _PASSING or status >= 500:
            return SourceError("server", text, wait)
        if 300 <= status < 400:
            return SourceError(
                "request", f"{text}, which leads elsewhere; write that address as base_url"
            )
        return SourceError("request", text)

    @property
    def _slow(self) -> str:
        return f"{self._host} took more than {self._timeout_seconds:g} s to answer"
