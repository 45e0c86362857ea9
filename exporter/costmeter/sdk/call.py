"""One call to a provider, timed: `with meter.call(...) as call: call.record(response)`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Unpack

from costmeter.sdk.context import CURRENT
from costmeter.sdk.event import Fields, Raw

if TYPE_CHECKING:
    from costmeter.sdk.meter import Meter

_NS_PER_MS = 1_000_000


class Call:
    """Times a block and sends what was recorded in it when the block ends.

    An exception makes the status "error", a cancellation or an end of the program
    "aborted"; either goes on to the application untouched. A block that recorded nothing
    and did not fail is counted as dropped: what it used is not known.
    """

    __slots__ = (
        "_began_ns",
        "_fields",
        "_latency_ms",
        "_meter",
        "_recorded",
        "_request_id",
        "_response_id",
        "_steady_ns",
        "model",
        "provider",
    )

    def __init__(
        self, meter: Meter, provider: str, model: str | None, fields: Mapping[str, Any]
    ) -> None:
        self._meter = meter
        self.provider = provider
        self.model = model
        self._fields = dict(fields)
        self._recorded: list[tuple[str, object, Mapping[str, int] | None]] = []
        self._request_id: str | None = self._fields.pop("request_id", None)
        self._response_id: str | None = self._fields.pop("response_id", None)
        self._began_ns = time.time_ns()
        self._steady_ns = time.perf_counter_ns()
        self._latency_ms: int | None = None

    def record(self, body: object) -> None:
        """The provider's response: a dict, JSON text, or the object that the client gave.

        Each response of several becomes an event of its own. Only what counts is sent of
        it: usage, id, model and tier, never what was asked or answered.
        """
        self._recorded.append(("response", body.copy() if type(body) is dict else body, None))

    def count(
        self,
        *,
        tokens: Mapping[str, int] | None = None,
        units: Mapping[str, int] | None = None,
        usage: object = None,
    ) -> None:
        """What the call used, when there is no whole response: see `Meter.track`."""
        if usage is not None:
            self._recorded.append(("usage", usage, units))
        else:
            self._recorded.append(("tokens", tokens, units))

    def set(
        self,
        *,
        model: str | None = None,
        request_id: str | None = None,
        response_id: str | None = None,
        **fields: Unpack[Fields],
    ) -> None:
        """What became known during the call."""
        self.model = model or self.model
        self._request_id = request_id or self._request_id
        self._response_id = response_id or self._response_id
        self._fields.update(fields)

    def stop(self) -> None:
        """Stop the clock before the block ends, once the answer is there."""
        self._latency_ms = (time.perf_counter_ns() - self._steady_ns) // _NS_PER_MS

    def __enter__(self) -> Call:
        self._began_ns = time.time_ns()
        self._steady_ns = time.perf_counter_ns()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._latency_ms is None:
            self.stop()
        self._send(_status(error))

    async def __aenter__(self) -> Call:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, trace)

    def _send(self, status: str) -> None:
        # A call that failed used nothing that anybody knows of, and still was a call.
        recorded = self._recorded or [("tokens", {} if status != "ok" else None, None)]
        several = len(recorded) > 1
        latency_ms = self._latency_ms
        for number, (kind, what, units) in enumerate(recorded):
            request_id = self._request_id
            if several and request_id is not None:
                request_id = f"{request_id}+{number}"
            raw: Raw = (
                self._began_ns, self.provider, self.model,
                what if kind == "tokens" else None, units,
                what if kind == "usage" else None,
                what if kind == "response" else None,
                request_id, None if several else self._response_id,
                None, latency_ms, status, CURRENT.get(), self._fields,
            )  # fmt: skip
            self._meter.put(raw)
            latency_ms = None


def _status(error: BaseException | None) -> str:
    if error is None:
        return "ok"
    # CancelledError, GeneratorExit and KeyboardInterrupt are no failures of the provider.
    return "error" if isinstance(error, Exception) else "aborted"
