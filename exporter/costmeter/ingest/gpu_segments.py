"""Closed segments of GPU time, as agents send them: `{"gpu_segments": [...]}`.

A segment books for whoever holds the GPU, so no tenant's own token may send one. Its
shares add up to its duration exactly, or it is refused: a share that went missing on the
way would be money of nobody.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated

import msgspec
from msgspec import Meta, Raw, Struct

from costmeter.ingest.event import MAX_EVENTS, MAX_TEXT
from costmeter.ingest.owner import Caller, clean_label, clean_provider, is_control
from costmeter.ingest.refusal import Refused, Rejection, TooLarge, Unreadable
from costmeter.ingest.window import Bounds, refuse_outside
from costmeter.model import MS_PER_HOUR, OTHER, UNATTRIBUTED, Usage
from costmeter.segment import Owner, Placement, Purchase, Segment, Share, segment_usages

#: The key of a body that holds segments.
ENVELOPE = "gpu_segments"
_MARK = b'"gpu_segments"'
#: Kubernetes' longest name of a pod.
MAX_NAME = 253
#: A GPU cut into seven instances, each handed out to dozens, is far below it.
MAX_SHARES = 1_000
#: Over what any GPU can draw in an hour by a factor of ten thousand; sums stay in int64.
MAX_ENERGY_MJ = 10**14

ID = r"^[A-Za-z0-9._:-]{1,96}$"
Text = Annotated[str, Meta(max_length=MAX_TEXT)]
Name = Annotated[str, Meta(max_length=MAX_NAME)]
Id = Annotated[str, Meta(pattern=ID)]
Ms = Annotated[int, Meta(ge=0, le=MS_PER_HOUR)]
_PLACE = re.compile(r" - at `\$\.?(?P<field>[^`]*)`$")


class OwnerRecord(Struct, forbid_unknown_fields=True, frozen=True, gc=False):
    tenant_id: Text = ""
    environment: Text = ""
    team: Text = ""
    project: Text = ""
    feature: Text = ""
    purpose: Text = ""
    namespace: Name = ""
    pod: Name = ""
    container: Name = ""
    workload: Name = ""
    serves: Name = ""


class ShareRecord(Struct, forbid_unknown_fields=True, gc=False):
    owner: OwnerRecord = OwnerRecord()
    used_ms: Ms = 0
    idle_ms: Ms = 0
    unallocated_ms: Ms = 0
    unobserved_ms: Ms = 0
    energy_mj: Annotated[int, Meta(ge=0, le=MAX_ENERGY_MJ)] | None = None
    instance: Name = ""
    profile: Name = ""


class PlacementRecord(Struct, forbid_unknown_fields=True, frozen=True, gc=False):
    provider: Text = "onprem"
    account: Text = ""
    region: Text = ""
    instance_type: Text = ""
    purchase: Purchase = "on_demand"
    node: Name = ""


class SegmentRecord(Struct, forbid_unknown_fields=True, gc=False):
    run_id: Id
    sequence: Annotated[int, Meta(ge=0, le=2**53)]
    start_ms: int
    duration_ms: Annotated[int, Meta(ge=1, le=MS_PER_HOUR)]
    uuid: Id
    gpu_model: Annotated[str, Meta(min_length=1, max_length=MAX_TEXT)]
    shares: Annotated[list[ShareRecord], Meta(min_length=1, max_length=MAX_SHARES)]
    placement: PlacementRecord = PlacementRecord()


class Sent(Struct):
    """The two lists of a body, not decoded further; None where it has no such list."""

    segments: Raw
    events: Raw | None


def sent_segments(body: bytes) -> Sent | None:
    """The body's lists when it has segments; None when it is any other body.

    Bodies of ordinary events pay one search for the key. Raises Unreadable for a key
    that has no place beside the two.
    """
    if _MARK not in body:
        return None
    try:
        members = msgspec.json.decode(body, type=dict[str, Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    segments = members.pop(ENVELOPE, None)
    if segments is None:
        return None
    events = members.pop("events", None)
    if members:
        raise Unreadable(f"unknown key {min(members)[:64]!r} beside '{ENVELOPE}'; remove it")
    return Sent(segments, events)


class SegmentReader:
    """Turns segments into usage. Safe to call from several threads."""

    def __init__(self, max_events: int = MAX_EVENTS) -> None:
        self._max_events = max_events
        self._many = msgspec.json.Decoder(list[SegmentRecord])
        self._one = msgspec.json.Decoder(SegmentRecord)
        self._items = msgspec.json.Decoder(list[Raw])

    def read(
        self, sent: Raw, caller: Caller, limits: Bounds, first: int = 0
    ) -> tuple[list[Usage], list[int], list[Rejection]]:
        """Usage, the place of each piece, and what was refused; places count from `first`.

        A share counts as an event. Raises Unreadable, or TooLarge for more than
        `max_events` of them.
        """
        records, rejections = self._decoded(sent, first)
        pieces = sum(len(record.shares) for record in records.values())
        if first + max(pieces, len(records) + len(rejections)) > self._max_events:
            raise TooLarge(
                f"a body holds at most {self._max_events} events, and a share of a segment "
                "is one; send it in smaller parts"
            )
        usages: list[Usage] = []
        places: list[int] = []
        for place, record in records.items():
            try:
                found = list(segment_usages(_segment(record, caller, limits), caller.feed))
            except Refused as refused:
                rejections.append(refused.at(place))
            else:
                usages.extend(found)
                places.extend([place] * len(found))
        return usages, places, rejections

    def _decoded(
        self, sent: Raw, first: int
    ) -> tuple[Mapping[int, SegmentRecord], list[Rejection]]:
        try:
            return dict(enumerate(self._many.decode(sent), first)), []
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
        try:
            items: Sequence[Raw] = self._items.decode(sent)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise Unreadable(f"'{ENVELOPE}' must be an array") from None
        records: dict[int, SegmentRecord] = {}
        rejections: list[Rejection] = []
        for place, item in enumerate(items, first):
            try:
                records[place] = self._one.decode(item)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                rejections.append(_in_words(error).at(place))
        return records, rejections


def _in_words(error: Exception) -> Refused:
    """msgspec says the place at the end: "Expected `int`, got `str` - at `$.sequence`"."""
    text = str(error)
    place = _PLACE.search(text)
    missing = "missing required field" in text
    return Refused(
        place["field"][:200] if place else "",
        _PLACE.sub("", text)[:300],
        code="missing" if missing else "unknown_field" if "unknown field" in text else "invalid",
    )


def _segment(record: SegmentRecord, caller: Caller, limits: Bounds) -> Segment:
    if caller.tenant_id is not None:
        raise Refused(
            "",
            "a GPU's time may belong to several tenants: send it with a token that is bound "
            "to none",
            code="tenant",
        )
    start_ms, end_ms = record.start_ms, record.start_ms + record.duration_ms
    if not (limits.oldest_ms <= start_ms and end_ms <= limits.newest_ms):
        late = end_ms if end_ms > limits.newest_ms else start_ms
        refused = refuse_outside(late, limits)
        raise Refused("start_ms", refused.reason, code=refused.code, retriable=refused.retriable)
    if start_ms // MS_PER_HOUR != (end_ms - 1) // MS_PER_HOUR:
        raise Refused("duration_ms", "crosses an hour of UTC; end a segment where its hour ends")
    shares = tuple(_shares(record))
    total_ms = sum(share.total_ms for share in shares)
    if total_ms != record.duration_ms:
        raise Refused(
            "shares", f"add up to {total_ms} ms and not to the {record.duration_ms} ms of it"
        )
    place = record.placement
    return Segment(
        run_id=record.run_id,
        sequence=record.sequence,
        start_ms=start_ms,
        duration_ms=record.duration_ms,
        uuid=record.uuid,
        gpu_model=_needed("gpu_model", record.gpu_model),
        placement=Placement(
            provider=clean_provider(_needed("placement.provider", place.provider)),
            account=clean_label("placement.account", place.account),
            region=clean_label("placement.region", place.region),
            instance_type=clean_label("placement.instance_type", place.instance_type),
            purchase=place.purchase,
            node=_name("placement.node", place.node),
        ),
        shares=shares,
    )


def _shares(record: SegmentRecord) -> Iterator[Share]:
    for number, share in enumerate(record.shares):
        key = f"shares[{number}]"
        yield Share(
            _owner(share.owner, f"{key}.owner"),
            share.used_ms,
            share.idle_ms,
            share.unallocated_ms,
            share.unobserved_ms,
            share.energy_mj,
            _name(f"{key}.instance", share.instance),
            _name(f"{key}.profile", share.profile),
        )


def _owner(owner: OwnerRecord, key: str) -> Owner:
    if owner.tenant_id == OTHER:
        raise Refused(f"{key}.tenant_id", f"{OTHER} is reserved; name a tenant", code="tenant")
    return Owner(
        clean_label(f"{key}.tenant_id", owner.tenant_id) or UNATTRIBUTED,
        clean_label(f"{key}.environment", owner.environment),
        clean_label(f"{key}.team", owner.team),
        clean_label(f"{key}.project", owner.project),
        clean_label(f"{key}.feature", owner.feature),
        clean_label(f"{key}.purpose", owner.purpose),
        _name(f"{key}.namespace", owner.namespace),
        _name(f"{key}.pod", owner.pod),
        _name(f"{key}.container", owner.container),
        _name(f"{key}.workload", owner.workload),
        _name(f"{key}.serves", owner.serves),
    )


def _needed(field: str, text: str) -> str:
    cleaned = clean_label(field, text)
    if not cleaned:
        raise Refused(field, "missing", code="missing")
    return cleaned


def _name(field: str, text: str) -> str:
    if not text.isprintable() and any(is_control(letter) for letter in text):
        raise Refused(field, "control characters are not allowed")
    return text
