"""What an answer means: what became of each event, or what somebody has to repair."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from costmeter.sdk.transport import Answer

_MOST_FIELD = 64


class Verdict(NamedTuple):
    """Counts of a batch; (field, reason) of what was refused, places of what must wait."""

    accepted: int
    duplicate: int
    observed: int
    refused: Sequence[tuple[str, str]]
    later: Sequence[int]


def read_verdict(body: bytes, events: int) -> Verdict | None:
    """What a server says became of a batch; None when this is no such answer."""
    try:
        told: Any = json.loads(body)
        counts = [int(told[name]) for name in ("accepted", "duplicate", "observed")]
        rejected = list(told["rejected"])
        if sum(counts) + len(rejected) != events:
            return None
        later = [int(item["index"]) for item in rejected if item.get("retriable")]
        refused = [
            (str(item.get("field") or "event")[:_MOST_FIELD], str(item.get("reason", "")))
            for item in rejected
            if not item.get("retriable")
        ]
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None
    if min(counts) < 0 or any(not 0 <= index < events for index in later):
        return None
    return Verdict(counts[0], counts[1], counts[2], refused, later)


def said(answer: Answer) -> str:
    """The server's own words, if it is a costmeter."""
    try:
        return str(json.loads(answer.body)["error"])[:300]
    except (ValueError, KeyError, TypeError, RecursionError):
        return "no reason given"


def advice(answer: Answer) -> str:
    if answer.status == 401:
        return "the token is missing or not known (401); set token= or token_file="
    if answer.status == 403:
        return f"this credential may not send (403): {said(answer)}"
    if 300 <= answer.status < 400:
        return f"answered a redirect to {answer.location[:200]}; set url= to where it leads"
    return f"this is no costmeter (it answered {answer.status}); check url="
