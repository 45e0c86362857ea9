"""What the engine and the worker say to each other: a header of JSON, then raw integers.

Request: a line {"last_day", "ahead", "series", "days", "deep", "maturity"?}, then series x days
little-endian int64 nano-USD, UNKNOWN where a day is not known. Answer: for each series
a line of JSON, then the raw intervals.
"""

from __future__ import annotations

import json
import sys
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from msgspec import Struct, field

from costmeter.analysis.forecast.results import Character, Forecast, Intervals, Quality

#: No amount: the smallest int64.
UNKNOWN = -(2**63)
#: Largest request: series x days.
MOST_VALUES = 20_000_000


class Grown(NamedTuple):
    """`known[k]` (nano-USD) of a day's `final` amount was known k days after it, None = not."""

    known: tuple[int | None, ...]
    final: int


class Request(Struct, frozen=True):
    """`series` are daily nano-USD, oldest first, None = unknown; the last of each is of
    `last_day` (days since 1970-01-01). The first `deep` series get deep models, where the
    extra `forecast` is installed: put the largest first. `age` is how many days ago `last_day`
    was, for `grown`, the lag pattern of days that are not final; without it all are final."""

    last_day: int
    series: Sequence[Sequence[int | None]]
    ahead: int = 90
    deep: int = 0
    age: int = 0
    grown: Sequence[Grown] = field(default_factory=tuple)


def encode(request: Request) -> Iterable[bytes]:
    """The request's bytes, piece by piece. ValueError where it is too large."""
    days = max(map(len, request.series), default=0)
    if len(request.series) * days > MOST_VALUES:
        raise ValueError(f"{len(request.series)} series x {days} days: at most {MOST_VALUES}")
    header = {
        "last_day": request.last_day,
        "ahead": request.ahead,
        "series": len(request.series),
        "days": days,
        "deep": request.deep,
        "age": request.age,
        "grown": [[list(one.known), one.final] for one in request.grown],
    }
    yield json.dumps(header).encode() + b"\n"
    for one in request.series:
        row = array("q", [UNKNOWN]) * (days - len(one))
        row.extend(UNKNOWN if amount is None else amount for amount in one)
        if sys.byteorder == "big":
            row.byteswap()
        yield row.tobytes()


def pack(found: Forecast) -> bytes:
    """A forecast as a line of JSON, then the raw intervals of its days and of its totals."""
    quality, character = found.quality, found.character
    head = {
        "last_day": found.last_day,
        "ahead": len(found.days),
        "method": found.method,
        "method_share": found.method_share,
        "history_days": found.history_days,
        "quality": {name: getattr(quality, name) for name in Quality.__struct_fields__},
        "character": {name: getattr(character, name) for name in Character.__struct_fields__},
    }
    return json.dumps(head).encode() + b"\n" + found.days.packed + found.totals.packed


def unpack(body: bytes) -> Iterator[Forecast]:
    """The forecasts of packed bytes, one after the other.

    ValueError, KeyError or TypeError where they are none.
    """
    at = 0
    while at < len(body):
        end = body.index(b"\n", at)
        head: dict[str, Any] = json.loads(body[at:end])
        size = int(head.pop("ahead")) * 40
        at = end + 1 + 2 * size
        if at > len(body):
            raise ValueError("the last forecast is cut off")
        days = Intervals(body[end + 1 : end + 1 + size])
        totals = Intervals(body[end + 1 + size : at])
        quality = Quality(**head.pop("quality"))
        character = Character(**head.pop("character"))
        yield Forecast(days=days, totals=totals, quality=quality, character=character, **head)
