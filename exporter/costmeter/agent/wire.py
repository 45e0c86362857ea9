"""A closed segment as it stands in the spool and in the body that is sent."""

from __future__ import annotations

import json
from collections.abc import Iterable

from costmeter.segment import NOBODY, Owner, Placement, Segment, Share

_DEFAULT_PLACE = Placement()
_PLACE = ("provider", "account", "region", "instance_type", "purchase", "node")
_TIMES = ("used_ms", "idle_ms", "unallocated_ms", "unobserved_ms")
_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


def segment_line(segment: Segment) -> bytes:
    """The segment as one line of JSON, without what is as it is by default."""
    place = segment.placement
    said = {
        "run_id": segment.run_id,
        "sequence": segment.sequence,
        "start_ms": segment.start_ms,
        "duration_ms": segment.duration_ms,
        "uuid": segment.uuid,
        "gpu_model": segment.gpu_model,
        "placement": {
            name: value
            for name in _PLACE
            if (value := getattr(place, name)) != getattr(_DEFAULT_PLACE, name)
        },
        "shares": [_share(share) for share in segment.shares],
    }
    # A name that is no text (a lone surrogate) must not hold up all that comes after it.
    return _encode(said).encode(errors="replace")


def body_of(lines: Iterable[bytes]) -> bytes:
    """The body that sends these lines, not yet packed."""
    return b'{"gpu_segments":[%s]}' % b",".join(lines)


def _share(share: Share) -> dict[str, object]:
    said: dict[str, object] = {}
    if share.owner != NOBODY:
        said["owner"] = _owner(share.owner)
    said.update((name, amount) for name in _TIMES if (amount := getattr(share, name)))
    if share.energy_mj is not None:
        said["energy_mj"] = share.energy_mj
    if share.instance:
        said["instance"] = share.instance
    if share.profile:
        said["profile"] = share.profile
    return said


def _owner(owner: Owner) -> dict[str, str]:
    return {
        name: value
        for name, value, default in zip(Owner._fields, owner, NOBODY, strict=True)
        if value != default and value
    }
