"""`meter.wrap(client)`: the OpenAI and Anthropic clients, metered in one line.

Where to listen was a choice. Wrapping the methods means to know all of them, with their
helpers (`parse`, `stream`, `with_raw_response`, `beta`) and each new version's. Both clients
hand every request of every method to the `send` of their HTTP client, one attempt at a time,
and have done so since their first generated version; copies (`with_options`) share it. So
this stands there: in front of that one client's HTTP client, nowhere else. No class is
patched, and another client on the same HTTP client is not metered.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, TypeVar

from costmeter.sdk.exchange import Recorder

if TYPE_CHECKING:
    from costmeter.sdk.meter import Meter

Client = TypeVar("Client")


def wrap(
    meter: Meter,
    client: Client,
    *,
    provider: str | None = None,
    include_usage: bool = True,
    **fields: Any,
) -> Client:
    """The same client, whose calls are recorded by `meter` from now on.

    `provider` replaces what the address says, `fields` (`tenant_id=`, `feature=` ...) hold
    for every call. With `include_usage` a stream of chat chunks is asked for its usage where
    the application did not ask; the extra chunk is taken out again. Wrapping a client again
    replaces the fields. A client that cannot be wrapped is logged and works as before.
    """
    recorder = Recorder(meter, provider, include_usage, fields)
    inner = getattr(client, "_client", None)
    if isinstance(inner, _Metered):
        inner = inner._costmeter_inner  # noqa: SLF001 our own
    send = getattr(inner, "send", None)
    if send is None:
        recorder.trouble(
            f"wrap() knows clients of openai and anthropic, not {type(client).__name__}", None
        )
        return client
    kind = _AsyncMetered if inspect.iscoroutinefunction(send) else _SyncMetered
    try:
        client._client = kind(inner, recorder)  # type: ignore[attr-defined] # noqa: SLF001
    except Exception as error:  # noqa: BLE001 such as a frozen class
        recorder.trouble(f"{type(client).__name__} cannot be wrapped", error)
    return client


class _Metered:
    """An HTTP client that is everything the other one is, but for `send`."""

    _costmeter_inner: Any
    _costmeter_recorder: Recorder

    def __init__(self, inner: Any, recorder: Recorder) -> None:
        object.__setattr__(self, "_costmeter_inner", inner)
        object.__setattr__(self, "_costmeter_recorder", recorder)

    @property  # type: ignore[misc]
    def __class__(self) -> type[Any]:
        # Copies of a client check that their HTTP client is one of httpx.
        return type(self._costmeter_inner)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_costmeter"):  # while it is being copied
            raise AttributeError(name)
        return getattr(self._costmeter_inner, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._costmeter_inner, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._costmeter_inner, name)


class _SyncMetered(_Metered):
    def send(self, request: Any, *, stream: bool = False, **named: Any) -> Any:
        send = self._costmeter_inner.send
        exchange = self._costmeter_recorder.begin(request, stream)
        if exchange is None:
            return send(request, stream=stream, **named)
        try:
            response = send(exchange.sent, stream=stream, **named)
            if exchange.not_understood(response):
                response.read()
                if exchange.refused(response):
                    response.close()
                    response = send(request, stream=stream, **named)
        except BaseException as error:
            exchange.failed(error)
            raise
        exchange.answered(response)
        return response


class _AsyncMetered(_Metered):
    async def send(self, request: Any, *, stream: bool = False, **named: Any) -> Any:
        send = self._costmeter_inner.send
        exchange = self._costmeter_recorder.begin(request, stream)
        if exchange is None:
            return await send(request, stream=stream, **named)
        try:
            response = await send(exchange.sent, stream=stream, **named)
            if exchange.not_understood(response):
                await response.aread()
                if exchange.refused(response):
                    await response.aclose()
                    response = await send(request, stream=stream, **named)
        except BaseException as error:
            exchange.failed(error)
            raise
        exchange.answered(response)
        return response
