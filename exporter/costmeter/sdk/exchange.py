"""One request of a wrapped client and the record it becomes."""

from __future__ import annotations

import contextvars
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from costmeter.sdk.context import current
from costmeter.sdk.hosts import provider_of
from costmeter.sdk.notices import told
from costmeter.sdk.routes import Route, asking, model_of, route_of
from costmeter.sdk.streams import ResponsesReader, reduced
from costmeter.sdk.tap import BodyObserver, StreamObserver, listen, parsed

if TYPE_CHECKING:
    from costmeter.sdk.meter import Meter

_REQUEST_IDS = ("x-request-id", "request-id", "apim-request-id")
#: The server's bounds of a text and of the number of tags.
_MAX_TEXT = 200
_MAX_TAGS = 32
#: Responses that are made in the background, until somebody fetches them.
_MAX_PENDING = 10_000
_UNFINISHED = ("queued", "in_progress")
#: Servers older than `stream_options` answer so to what they do not know.
_NOT_UNDERSTOOD = (400, 422)


class Recorder:
    """What `wrap` was told, and the way from an exchange to the meter."""

    def __init__(
        self, meter: Meter, provider: str | None, include_usage: bool, fields: Mapping[str, Any]
    ) -> None:
        self.meter = meter
        self.provider = provider
        self.include_usage = include_usage
        self.fields = fields
        self.pending: dict[str, Exchange] = {}
        #: Hosts that refused `stream_options`.
        self.refusing: set[str] = set()

    def begin(self, request: Any, stream: bool) -> Exchange | None:
        """The exchange of a request of httpx; None where nothing is to be recorded."""
        try:
            path = request.url.path
            if request.method == "GET":
                pending = self.pending.get(path.rsplit("/", 1)[-1]) if self.pending else None
                return None if pending is None or stream else pending.fetched(request)
            route = route_of(path) if request.method == "POST" else None
            return None if route is None else Exchange(self, route, request, stream)
        except Exception as error:  # noqa: BLE001 the request goes out, metered or not
            self.lost("a request could not be metered", error)
            return None

    def trouble(self, what: str, error: BaseException | None) -> None:
        """Say what goes wrong, not too often; the application has nothing to do with it."""
        self.meter._pump.notices.say(what, "%s%s", what, told(error))  # noqa: SLF001

    def lost(self, what: str, error: BaseException | None) -> None:
        """A call that is not recorded: `stats.dropped["unreadable"]`."""
        self.meter._pump.books.refuse("unreadable")  # noqa: SLF001
        self.trouble(what, error)


class Exchange:
    """A request on its way, as one attempt: a client that tries again begins another one."""

    def __init__(self, recorder: Recorder, route: Route, request: Any, stream: bool) -> None:
        self.recorder = recorder
        self.route = route
        self.request = request
        #: What is sent; another one than `request` where usage had to be asked for.
        self.sent = request
        self._stream = stream
        self._context = contextvars.copy_context()
        self._at_ms = time.time_ns() // 1_000_000
        self._began = time.monotonic()
        self._request_id = ""
        self._host: str = request.url.host
        self._path: str = request.url.path
        if stream and route.asks and recorder.include_usage and self._host not in recorder.refusing:
            self._ask()

    def _ask(self) -> None:
        try:
            self.sent = asking(self.request) or self.request
        except Exception as error:  # noqa: BLE001 it is sent as it is
            self.recorder.trouble("a stream could not be asked for its usage", error)

    @property
    def _asked(self) -> bool:
        """The provider tells the usage because costmeter asked, not the application."""
        return self.route.asks and self.sent is not self.request

    def fetched(self, request: Any) -> Exchange:
        """The same exchange, whose answer is fetched by another request."""
        self.sent = request
        self._stream = False
        return self

    def failed(self, error: BaseException) -> None:
        """No answer came: the connection broke, time was over, or the task was cancelled."""
        if self.sent.method != "GET":
            self._finish("error" if isinstance(error, Exception) else "aborted", {})

    def not_understood(self, response: Any) -> bool:
        """The server may have refused what costmeter added; its text has to be read."""
        return self._asked and response.status_code in _NOT_UNDERSTOOD

    def refused(self, response: Any) -> bool:
        """The server refused what costmeter added: send the application's own request."""
        if not (self.not_understood(response) and b"stream_options" in response.content):
            return False
        self.recorder.refusing.add(self._host)
        self.sent = self.request
        return True

    def answered(self, response: Any) -> None:
        """An answer has begun, or is there as a whole."""
        try:
            self._answered(response)
        except Exception as error:  # noqa: BLE001 an answer is handed on, metered or not
            self.recorder.lost("an answer could not be metered", error)

    def _answered(self, response: Any) -> None:
        headers = response.headers
        kind = headers.get("content-type", "").lower()
        found = (headers.get(name) for name in _REQUEST_IDS)
        self._request_id = next((text for text in found if text), "")
        if response.status_code >= 400:
            if self.sent.method != "GET":
                self._finish("error", None)
        elif not self._stream:
            self._finish("ok", parsed(response.content, self.recorder.trouble))
        elif kind.startswith("text/event-stream"):
            trouble = self.recorder.trouble
            listen(
                response, StreamObserver(self.route.reader(), self._asked, self._finish, trouble)
            )
        elif kind.startswith("application/json"):
            listen(response, BodyObserver(self._finish, self.recorder.trouble))
        else:
            self.recorder.lost(f"answers of type {kind!r} cannot be read", None)

    def _finish(self, status: str, body: Mapping[str, Any] | None) -> None:
        """Record it, in the context of the call; `body` is None where nothing was used."""
        try:
            said = None if body is None else body.get("status")
            if body and said in _UNFINISHED and self.route.reader is ResponsesReader:
                self._wait(body)
                return
            if status == "ok" and body:
                status = _status_of(body)
            known = None if body is None else reduced(body)
            self.recorder.pending.pop((known or {}).get("id", ""), None)
            self._context.run(self._record, status, known)
        except Exception as error:  # noqa: BLE001 the application never hears of it
            self.recorder.lost("a call could not be recorded", error)

    def _wait(self, body: Mapping[str, Any]) -> None:
        """A response in the background is recorded when the application fetches it."""
        pending = self.recorder.pending
        name = body.get("id")
        if isinstance(name, str):
            self.request = self.sent = None  # with the prompt in it
            pending[name] = self
            if len(pending) > _MAX_PENDING:
                del pending[next(iter(pending))]
                self.recorder.lost("responses in the background were never fetched", None)

    def _record(self, status: str, body: Mapping[str, Any] | None) -> None:
        known = body or {}
        usage = known.get("usage")
        if not usage and status == "ok" and not self.route.certain:
            return
        event = dict(self.recorder.fields)
        if self.route.operation:
            event.setdefault("operation", self.route.operation)
        event |= {
            "provider": self.recorder.provider or provider_of(self._host),
            "status": status,
            "timestamp": self._at_ms,
            "latency_ms": round(1000 * (time.monotonic() - self._began)),
        }
        tags = {}
        name = self._request_id
        if name and len(name) <= _MAX_TEXT and name.isprintable():
            # The provider's response id names the call. Where it has none, the request id
            # does not replace it: servers repeat one that came in with several requests.
            if known.get("id"):
                event["request_id"] = name
            else:
                tags["x_request_id"] = name
        unmetered = not usage and status != "error"
        if not usage and body is not None:
            tags["usage"] = "unknown"
            if status == "ok":
                self.recorder.trouble("a provider said nothing of a call's usage", None)
        self._put_tags(event, tags)
        model = known.get("model") or model_of(self.request, self._path)
        if usage:
            self.recorder.meter.record_response({**known, "model": model}, **event)
        else:
            # What nobody stated is not nothing: such a call is unpriced, never free.
            units = {"unmetered_calls": 1} if unmetered else {}
            self.recorder.meter.track(
                model=model, tokens={}, units=units, response_id=known.get("id") or None, **event
            )

    def _put_tags(self, event: dict[str, Any], own: Mapping[str, str]) -> None:
        """Beside the tags of the wrapped client and of the context, not in their place."""
        if own:
            tags = {**(current().get("tags") or {}), **(event.get("tags") or {})}  # type: ignore[dict-item]
            room = _MAX_TAGS - len(tags)
            event["tags"] = {**tags, **dict(list(own.items())[: max(0, room)])}


def _status_of(body: Mapping[str, Any]) -> str:
    """Of an answer that came with 200: some gateways write an error into it."""
    if body.get("status") == "cancelled":
        return "aborted"
    failed = body.get("status") == "failed" or (body.get("error") and not body.get("usage"))
    return "error" if failed else "ok"
