"""`POST /api/v1/corrections` without its HTTP: records that name a booked event."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from costmeter.ingest.amounts import counted
from costmeter.ingest.body import Reader
from costmeter.ingest.event import MAX_EVENTS, CorrectionRecord
from costmeter.ingest.events import Batch, event_id
from costmeter.ingest.owner import Caller, clean_label, clean_provider, clean_text, tenant_of
from costmeter.ingest.refusal import Refused
from costmeter.ingest.window import unix_ms
from costmeter.model import MS_PER_DAY, PROCESSING, STATUSES, Correction

#: The fields that can be put right. The tenant is part of an event's identity.
CORRECTABLE = (
    "account",
    "environment",
    "feature",
    "model",
    "operation",
    "processing",
    "project",
    "provider",
    "purpose",
    "region",
    "service",
    "status",
    "team",
)
_CLOSED: Mapping[str, tuple[str, ...]] = {"processing": PROCESSING, "status": STATUSES}
_NEEDED = frozenset({"model", "operation", "provider", "purpose"})
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()


class CorrectionReader:
    """Turns bodies into corrections. Safe to call from several threads."""

    def __init__(self, max_corrections: int = MAX_EVENTS) -> None:
        self._reader = Reader(CorrectionRecord, "corrections", max_corrections)

    def read(self, body: bytes, caller: Caller, *, lines: bool = False) -> Batch[Correction]:
        """Corrections of a body. Raises Unreadable or TooLarge for all of it."""
        parsed = self._reader.read(body, lines=lines)
        places = parsed.places or range(len(parsed.records))
        corrections: list[Correction] = []
        kept: list[int] = []
        rejections = list(parsed.rejections)
        for place, record in zip(places, parsed.records, strict=True):
            try:
                corrections.append(_correction(record, caller))
                kept.append(place)
            except Refused as refused:
                rejections.append(refused.at(place))
        return Batch(corrections, kept, rejections)


def _correction(record: CorrectionRecord, caller: Caller) -> Correction:
    correction_id = clean_text("correction_id", record.correction_id)
    if not correction_id.strip():
        raise Refused("correction_id", "missing", code="missing")
    named = event_id(
        caller.feed,
        _provider(record),
        clean_text("request_id", record.request_id or ""),
        clean_text("response_id", record.response_id or ""),
    )
    changes = {name: _right(name, value) for name, value in (record.set or {}).items()}
    replaced = record.tokens is not None or record.units is not None
    if not changes and not replaced:
        raise Refused("set", "nothing to correct; send set, tokens or units", code="missing")
    return Correction(
        correction_id=correction_id,
        tenant_id=tenant_of(caller.tenant_id, clean_label("tenant_id", record.tenant_id or "")),
        day=_day(record),
        event_id=named,
        changes=changes,
        quantities=counted(record.tokens, record.units) if replaced else None,
    )


def _provider(record: CorrectionRecord) -> str:
    if not record.response_id:
        return ""
    provider = clean_provider(clean_label("provider", record.provider or ""))
    if not provider:
        raise Refused("provider", "missing; a response_id is told apart by it", code="missing")
    return provider


def _day(record: CorrectionRecord) -> int:
    """The UTC day of the event's own time, in days since 1970-01-01."""
    if record.timestamp is not None:
        if record.day is not None:
            raise Refused("day", "send timestamp or day, not both")
        day = unix_ms(record.timestamp) // MS_PER_DAY
        if not 0 <= day < 4_000_000:
            raise Refused("timestamp", "expected Unix milliseconds of the event's own time")
        return day
    if record.day is None:
        raise Refused(
            "timestamp", "missing; send the event's timestamp, or its UTC day", code="missing"
        )
    try:
        day = date.fromisoformat(record.day).toordinal() - _EPOCH_ORDINAL
    except ValueError:
        raise Refused("day", "expected a UTC day, like 2026-11-22") from None
    if day < 0:
        raise Refused("day", "before 1970")
    return day


def _right(name: str, value: str) -> str:
    field = f"set.{name[:64]}"
    if name == "tenant_id":
        raise Refused(
            field, "a tenant cannot be corrected: it is part of the event's identity", code="tenant"
        )
    if name not in CORRECTABLE:
        raise Refused(field, "cannot be corrected; these can: " + ", ".join(CORRECTABLE))
    text = clean_label(field, value)
    if name in _CLOSED and text not in _CLOSED[name]:
        raise Refused(field, "expected one of " + ", ".join(_CLOSED[name]))
    if name in _NEEDED and not text:
        raise Refused(field, "cannot be empty")
    return clean_provider(text) if name == "provider" else text
