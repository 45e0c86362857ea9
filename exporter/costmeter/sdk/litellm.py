"""The LiteLLM callback: `litellm.callbacks = [CostmeterLogger(meter)]`, and for its proxy.

This module imports `litellm`, for its base class; the rest of the SDK does not. Nobody gets
here who has not imported it by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from costmeter.sdk.context import current
from costmeter.sdk.litellm_details import ATTRIBUTES, answer, clean, owner
from costmeter.sdk.meter import Meter
from costmeter.sdk.notices import told

if TYPE_CHECKING:
    # So that types are checked alike with and without LiteLLM at hand.
    CustomLogger = object
else:
    from litellm.integrations.custom_logger import CustomLogger

_OPERATIONS = {"embedding": "embedding", "rerank": "rerank", "moderation": "moderation"}


class CostmeterLogger(CustomLogger):
    """Records every call that LiteLLM makes: sync, async, streamed, failed.

    `meter` is made from the environment (COSTMETER_URL and so on) unless given; `fields` hold
    for every call. Answers from LiteLLM's own cache cost nothing: they are counted in
    `cached` and not recorded. A call whose details have another shape than this class knows
    is counted in `meter.stats.dropped["unreadable"]`. Nothing here raises.
    """

    def __init__(self, meter: Meter | None = None, **fields: Any) -> None:
        super().__init__()
        self.meter = Meter() if meter is None else meter
        self.fields = fields
        self.cached = 0

    def log_pre_api_call(self, model: Any, messages: Any, kwargs: Any) -> None:  # noqa: ARG002
        """The last moment in the caller's own context."""
        attributes = current()
        if attributes and isinstance(kwargs, dict):
            kwargs[ATTRIBUTES] = attributes

    def log_success_event(
        self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        self._record(kwargs, response_obj, start_time, end_time, "ok")

    def log_failure_event(
        self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        self._record(kwargs, response_obj, start_time, end_time, "error")

    async def async_log_success_event(
        self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        self._record(kwargs, response_obj, start_time, end_time, "ok")

    async def async_log_failure_event(
        self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        self._record(kwargs, response_obj, start_time, end_time, "error")

    def _record(self, kwargs: Any, response: Any, start: Any, end: Any, status: str) -> None:
        try:
            details = kwargs.get("standard_logging_object") or {}
            if kwargs.get("cache_hit") is True or details.get("cache_hit") is True:
                self.cached += 1
            elif status != "ok" or not _is_piece(kwargs, response):
                self._send(kwargs, details, response, _ms(start), _ms(end), status)
        except Exception as error:  # noqa: BLE001 LiteLLM goes on whatever it has given us
            pump = self.meter._pump  # noqa: SLF001
            pump.books.refuse("unreadable")
            pump.notices.say("litellm", "a call of LiteLLM could not be read%s", told(error))

    def _send(
        self,
        kwargs: Mapping[str, Any],
        details: Mapping[str, Any],
        response: Any,
        start_ms: int,
        end_ms: int,
        status: str,
    ) -> None:
        provider = details.get("custom_llm_provider") or kwargs.get("custom_llm_provider") or ""
        event = {**owner(kwargs, details), **self.fields}
        event |= {
            "provider": provider or "litellm",
            "timestamp": start_ms,
            "latency_ms": max(0, end_ms - start_ms),
            "status": status,
        }
        kind = str(details.get("call_type") or kwargs.get("call_type") or "").removeprefix("a")
        if kind in _OPERATIONS:
            event.setdefault("operation", _OPERATIONS[kind])
        # One failed attempt is told once, though LiteLLM may call twice for it.
        call_id = clean(details.get("litellm_call_id") or kwargs.get("litellm_call_id"))
        if call_id:
            event["request_id"] = call_id if status == "ok" else f"{call_id}:{start_ms}"
        body = answer(response, kwargs.get("original_response")) if status == "ok" else {}
        model = body.get("model") or details.get("model") or kwargs.get("model") or ""
        model = model.removeprefix(f"{provider}/")
        if body.get("usage"):
            self.meter.record_response({**body, "model": model}, **event)
            return
        units = {}
        if status == "ok":
            event["tags"] = {**event.get("tags", {}), "usage": "unknown"}
            units["unmetered_calls"] = 1
        self.meter.track(model=model, tokens={}, units=units, response_id=body.get("id"), **event)


def _is_piece(kwargs: Mapping[str, Any], response: Any) -> bool:
    """A part of a stream that names no usage; the whole of it is told at its end."""
    whole = ("complete_streaming_response", "async_complete_streaming_response")
    if kwargs.get("stream") is not True or any(kwargs.get(name) for name in whole):
        return False
    return not answer(response, None).get("usage")


def _ms(instant: Any) -> int:
    """Unix milliseconds of what LiteLLM calls a time: local without a zone, or seconds."""
    if isinstance(instant, datetime):
        return int(instant.timestamp() * 1000)
    return int(instant * 1000)
