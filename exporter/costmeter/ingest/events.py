"""`POST /api/v1/usage` without its HTTP: a body in, usage to book and an answer out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

import msgspec
from msgspec import Struct

from costmeter.ingest.amounts import amounts_of, is_own, own_amounts
from costmeter.ingest.body import Parsed, Reader
from costmeter.ingest.event import MAX_EVENTS, MAX_TEXT, Event
from costmeter.ingest.gpu_segments import SegmentReader, Sent, sent_segments
from costmeter.ingest.owner import Caller, Owners, clean_label, clean_text
from costmeter.ingest.refusal import Refused, Rejection
from costmeter.ingest.window import Bounds, Window, bounds, refuse_outside, unix_ms
from costmeter.model import Usage

if TYPE_CHECKING:
    from costmeter.normalise import Normalised

Booked = TypeVar("Booked")
_NEW = tuple.__new__
_ENCODE = msgspec.json.Encoder().encode


class Batch(Generic[Booked], Struct, frozen=True):
    """What of a body can be booked, where each piece stood, and what was refused.

    Pieces of the same place follow each other: they come from one event.
    """

    items: Sequence[Booked]
    places: Sequence[int]
    rejections: Sequence[Rejection]


class EventReader:
    """Turns bodies into usage. Safe to call from several threads."""

    def __init__(self, window: Window, max_events: int = MAX_EVENTS) -> None:
        self._window = window
        self._reader = Reader(Event, "events", max_events)
        self._owners = Owners()
        self._segments = SegmentReader(max_events)

    def read(
        self, body: bytes, caller: Caller, now_ms: int, *, lines: bool = False
    ) -> Batch[Usage]:
        """Usage of a body's good events. Raises Unreadable or TooLarge for all of it."""
        limits = bounds(self._window, now_ms)
        sent = None if lines or body[:1] == b"[" else sent_segments(body)
        if sent is not None:
            return self._with_segments(sent, caller, limits)
        parsed = self._reader.read(body, lines=lines)
        return self.convert(parsed, caller, limits)

    def _with_segments(self, sent: Sent, caller: Caller, limits: Bounds) -> Batch[Usage]:
        """Segments of GPU time, counted after the events that stand beside them."""
        batch: Batch[Usage] = Batch((), (), ())
        first = 0
        if sent.events is not None:
            parsed = self._reader.read(bytes(sent.events), lines=False)
            first = len(parsed.records) + len(parsed.rejections)
            batch = self.convert(parsed, caller, limits)
        usages, places, rejections = self._segments.read(sent.segments, caller, limits, first)
        return Batch(
            [*batch.items, *usages],
            [*batch.places, *places],
            [*batch.rejections, *rejections],
        )

    def convert(self, parsed: Parsed[Event], caller: Caller, limits: Bounds) -> Batch[Usage]:
        places = parsed.places or range(len(parsed.records))
        usages: list[Usage] = []
        kept: list[int] = []
        rejections = list(parsed.rejections)
        printable = parsed.printable
        for place, event in zip(places, parsed.records, strict=True):
            try:
                if is_own(event):
                    amounts = own_amounts(event)
                    usages.append(self._usage(event, caller, limits, amounts, None, printable))
                    kept.append(place)
                else:
                    several = self._from_provider(event, caller, limits)
                    usages.extend(several)
                    kept.extend([place] * len(several))
            except Refused as refused:
                rejections.append(refused.at(place))
        return Batch(usages, kept, rejections)

    def _from_provider(self, event: Event, caller: Caller, limits: Bounds) -> list[Usage]:
        """One usage, and one more for each other model that the same response consulted."""
        quantities, said = amounts_of(event)
        main = self._usage(event, caller, limits, quantities, said, printable=False)
        others = [
            main._replace(
                event_id=f"{main.event_id}+{number}",
                labels=main.labels._replace(model=clean_label("usage", other.model)),
                quantities=other.quantities,
                latency_ms=0,
            )
            for number, other in enumerate(said.also if said else (), start=1)
        ]
        return [main, *others]

    def _usage(
        self,
        event: Event,
        caller: Caller,
        limits: Bounds,
        quantities: Mapping[str, int],
        said: Normalised | None,
        printable: bool,
    ) -> Usage:
        """The hot path: every event comes through here."""
        at_ms = unix_ms(event.timestamp)
        if not limits.oldest_ms <= at_ms <= limits.newest_ms:
            raise refuse_outside(at_ms, limits)
        if said is None:
            model, response_id = event.model, event.response_id or ""
        else:
            model = event.model or said.model
            response_id = event.response_id or said.response_id
        labels = self._owners.labels(
            caller.tenant_id,
            (
                event.tenant_id,
                event.provider,
                model,
                event.account,
                event.region,
                event.environment,
                event.team,
                event.project,
                event.service,
                event.feature,
                event.operation,
                event.purpose,
            ),
        )
        request_id = event.request_id or ""
        user_id, session_id = event.user_id or "", event.session_id or ""
        if not printable and not f"{request_id}{response_id}{user_id}{session_id}".isprintable():
            clean_text("request_id", request_id)
            clean_text("response_id", response_id)
            clean_text("user_id", user_id)
            clean_text("session_id", session_id)
        # The plain constructor of a named tuple costs three times as much.
        return _NEW(
            Usage,
            (
                event_id(caller.feed, labels.provider, request_id, response_id),
                at_ms,
                caller.feed,
                labels,
                quantities,
                event.status or "ok",
                event.latency_ms or 0,
                event.processing or (said and said.processing) or "standard",
                user_id,
                session_id,
                "",
                _detail(event, request_id if response_id else "", said),
            ),
        )


def event_id(feed: str, provider: str, request_id: str, response_id: str) -> str:
    """The identity of an event: the provider's own id where it is known."""
    if response_id:
        if response_id.isspace() or len(response_id) > MAX_TEXT:
            raise Refused("response_id", f"expected 1 to {MAX_TEXT} characters, not all blank")
        return f"p:{provider}:{response_id}"
    if not request_id:
        raise Refused(
            "request_id",
            "missing; send request_id, or response_id for the provider's own id",
            code="missing",
        )
    if request_id.isspace():
        raise Refused("request_id", "blank; it must tell events apart")
    return f"f:{feed}:{request_id}"


def _detail(event: Event, request_id: str, said: Normalised | None) -> str:
    """JSON of what is kept and never aggregated; empty when there is nothing to say."""
    detail: dict[str, object] = {}
    if request_id:
        detail["request_id"] = request_id
    if event.tags:
        detail["tags"] = _tags(event.tags)
    if event.prompt_hash:
        detail["prompt_hash"] = clean_text("prompt_hash", event.prompt_hash)
    if event.complexity is not None:
        detail["complexity"] = event.complexity
    if event.quality is not None:
        detail["quality"] = event.quality
    if said is not None and said.estimated:
        detail["estimated"] = True
    return _ENCODE(detail).decode() if detail else ""


def _tags(tags: Mapping[str, str]) -> Mapping[str, str]:
    for key, value in tags.items():
        clean_text("tags", key)
        clean_text(f"tags.{key[:64]}", value)
    return tags
