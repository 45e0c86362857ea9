"""The meter: what an application calls. Nothing here waits, and nothing here raises."""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Never, TypeVar, Unpack, cast

from costmeter.sdk.call import Call
from costmeter.sdk.context import CURRENT, Attributes, attributes
from costmeter.sdk.counts import Stats
from costmeter.sdk.event import Fields, Raw, encode
from costmeter.sdk.pump import Pump, forget_all
from costmeter.sdk.settings import DEFAULT_URL, Settings, environment

Client = TypeVar("Client")

_now_ns = time.time_ns
#: Every meter of the process, so that a forked child can begin with an empty queue.
_METERS: weakref.WeakSet[Meter] = weakref.WeakSet()


class Meter:
    """Tells a costmeter server about calls to models, from any thread, task or process.

    Arguments, with the environment variable that stands in for a missing one:

    - `url` (COSTMETER_URL): the server, `http://127.0.0.1:9952` unless given.
    - `token` (COSTMETER_TOKEN) or `token_file` (COSTMETER_TOKEN_FILE): who sends. The file
      is read anew for each request, so that it can be replaced.
    - `defaults`: fields of every event, such as `environment="prod"` (COSTMETER_TENANT_ID,
      COSTMETER_ENVIRONMENT, COSTMETER_TEAM, COSTMETER_PROJECT, COSTMETER_SERVICE,
      COSTMETER_FEATURE).
    - `queue_events`: how many events wait in memory at most; the newest are dropped then.
    - `spool` (COSTMETER_SPOOL): a folder for what cannot be delivered now, at most
      `spool_bytes` of it.
    - `linger_seconds`: how long an event waits for company; `connect_seconds` and
      `timeout_seconds` for a request; `max_backoff_seconds` between two tries;
      `exit_seconds` at the end of the program.
    - `max_age_days`: the server's open window; older events are dropped unsent.
    - `strict`: a wrong argument raises ValueError. For tests.

    Raises ValueError here for settings that cannot work. No other method raises anything of
    its own, and none but `flush` and `close` waits.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        token: str | None = None,
        token_file: str | Path | None = None,
        queue_events: int = 10_000,
        spool: str | Path | None = None,
        spool_bytes: int = 256 * 1024 * 1024,
        max_age_days: float = 7,
        linger_seconds: float = 1.0,
        connect_seconds: float = 3.0,
        timeout_seconds: float = 10.0,
        max_backoff_seconds: float = 60.0,
        exit_seconds: float = 5.0,
        strict: bool = False,
        **defaults: Unpack[Fields],
    ) -> None:
        said = dict(environment())
        if token is not None or token_file is not None:
            said.pop("token", None)
            said.pop("token_file", None)
        token_file = token_file or said.pop("token_file", None)
        token = token or said.pop("token", None)
        folder = spool or said.pop("spool", None)
        said.pop("token", None)
        self._settings = Settings(
            url=url or said.pop("url", None) or DEFAULT_URL,
            token=None if token_file else token,
            token_file=Path(token_file) if token_file else None,
            defaults={**{n: v for n, v in said.items() if n != "url"}, **defaults},
            queue_events=queue_events,
            spool=Path(folder) if folder else None,
            spool_bytes=spool_bytes,
            max_age_days=max_age_days,
            linger_seconds=linger_seconds,
            connect_seconds=connect_seconds,
            timeout_seconds=timeout_seconds,
            max_backoff_seconds=max_backoff_seconds,
            exit_seconds=exit_seconds,
            strict=strict,
        )
        self._strict = strict
        self._limit = queue_events
        self._pump = Pump(self._settings)
        self._queue = self._pump.queue
        _METERS.add(self)

    def track(
        self,
        *wrong: Never,
        provider: str = "",
        model: str = "",
        tokens: Mapping[str, int] | None = None,
        units: Mapping[str, int] | None = None,
        usage: object = None,
        request_id: str | None = None,
        response_id: str | None = None,
        timestamp: datetime | int | None = None,
        latency_ms: float | None = None,
        status: str = "ok",
        **fields: Unpack[Fields],
    ) -> None:
        """One call to a model. Returns at once; a wrong argument is counted and logged.

        `provider` and `model` are required, and one of `tokens` (integers by disjoint class,
        such as `{"input": 1200, "output": 150}`), `usage` (the provider's own object,
        unchanged) or `units`. `response_id` is the provider's id of its response: with it the
        same call is booked once, whoever else reports it. `timestamp` is now unless given: a
        datetime with a zone, or Unix milliseconds.
        """
        if wrong:
            self._mistake("track takes its arguments by name: track(provider=..., model=...)")
            return
        if type(tokens) is dict:
            tokens = tokens.copy()
        if type(usage) is dict:
            usage = usage.copy()
        raw: Raw = (
            _now_ns(), provider, model, tokens, units, usage, None, request_id, response_id,
            timestamp, latency_ms, status, CURRENT.get(), fields,
        )  # fmt: skip
        self.put(raw)

    def record_response(
        self,
        body: object,
        *,
        provider: str = "",
        model: str | None = None,
        request_id: str | None = None,
        response_id: str | None = None,
        timestamp: datetime | int | None = None,
        latency_ms: float | None = None,
        status: str = "ok",
        units: Mapping[str, int] | None = None,
        **fields: Unpack[Fields],
    ) -> None:
        """A provider's whole response: a dict, JSON text, or the object that a client gave.

        Usage, id, model and tier are taken from it and nothing else of it is sent. `model` and
        `response_id`, when given, win over those of the body.
        """
        if type(body) is dict:
            body = body.copy()
        elif body is None:
            body = {}
        raw: Raw = (
            _now_ns(), provider, model, None, units, None, body, request_id, response_id,
            timestamp, latency_ms, status, CURRENT.get(), fields,
        )  # fmt: skip
        self.put(raw)

    def call(
        self,
        *,
        provider: str = "",
        model: str | None = None,
        request_id: str | None = None,
        response_id: str | None = None,
        **fields: Unpack[Fields],
    ) -> Call:
        """Time a call: `with meter.call(provider="openai") as call: call.record(answer)`.

        Also for `async with`. The application's exceptions pass through.
        """
        given: dict[str, Any] = dict(fields)
        return Call(
            self, provider, model,
            {**given, "request_id": request_id, "response_id": response_id},
        )  # fmt: skip

    def attributes(self, **fields: Unpack[Fields]) -> Attributes:
        """Fields for every event tracked in a `with` block, in its thread or task."""
        return attributes(**fields)

    def wrap(
        self,
        client: Client,
        *,
        provider: str | None = None,
        include_usage: bool = True,
        **fields: Unpack[Fields],
    ) -> Client:
        """The same OpenAI or Anthropic client, with every call of it tracked.

        `docs/sdk-clients.md` says what is recorded, and what `include_usage` does to streams.
        """
        # Late: not every application has such a client.
        from costmeter.sdk.wrap import wrap

        meter = cast("Any", self)
        return wrap(meter, client, provider=provider, include_usage=include_usage, **fields)

    def flush(self, timeout: float = 5) -> bool:
        """Wait until what was tracked before has been delivered, at most `timeout` seconds.

        True when it was, or was counted as lost; False when something of it still waits, in
        memory or in the spool. Blocks: in asyncio use `await asyncio.to_thread(meter.flush)`.
        """
        return self._pump.flush(timeout)

    def close(self, timeout: float = 5) -> bool:
        """Flush, then end. What is left goes into the spool or is counted as dropped.

        True when everything was delivered. Runs by itself when the program ends.
        """
        return self._pump.close(timeout)

    @property
    def stats(self) -> Stats:
        """What became of every event so far, in this process."""
        return self._pump.stats()

    def __enter__(self) -> Meter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Meter({self._settings.url!r})"

    def put(self, raw: Raw) -> None:
        """For the SDK's own parts. A tuple into the queue, a wake-up only where one is due."""
        if self._strict:
            encode(raw, "strict", self._settings.defaults)
        pump = self._pump
        size = len(self._queue)
        if size >= self._limit or pump.closing:
            pump.turn_away(size)
            return
        self._queue.append(raw)
        if size >= pump.wake_at:
            pump.wake()

    def _mistake(self, what: str) -> None:
        if self._strict:
            raise ValueError(what)
        self._pump.books.refuse("invalid")
        self._pump.notices.say("invalid", "an event was dropped: %s", what)

    def begin_anew(self) -> None:
        """In the child: the parent delivers what it queued, the child begins anew."""
        self._pump = Pump(self._settings, forked=True)
        self._queue = self._pump.queue


def _after_fork_in_child() -> None:
    forget_all()
    for meter in list(_METERS):
        meter.begin_anew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
