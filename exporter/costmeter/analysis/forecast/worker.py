"""`python -m costmeter.analysis.forecast.worker`: forecasts for one request, then gone.

The arithmetic and its libraries live and die here: the server never imports them. Memory is
bounded: series are read, forecast and answered a few hundred at a time.
"""

from __future__ import annotations

import json
import sys
from datetime import date
from typing import Any, BinaryIO, TextIO

import numpy as np

from costmeter.analysis.forecast.core import CHUNK, forecast
from costmeter.analysis.forecast.describe import describe
from costmeter.analysis.forecast.heavy import available, deepen
from costmeter.analysis.forecast.immature import immature, learn
from costmeter.analysis.forecast.money import NANO
from costmeter.analysis.forecast.wire import MOST_VALUES, UNKNOWN, pack

_EPOCH = date(1970, 1, 1).toordinal()
_NUMBERS = ("last_day", "ahead", "series", "days", "deep", "age")
#: Bytes of the first line: the lag pattern of some hundred days is 50 kB.
_LONGEST_HEADER = 16 * 1024 * 1024


def main(source: BinaryIO, out: BinaryIO, errors: TextIO) -> int:
    """Answer one request. 0, or 1 after a line on `errors` that says what is wrong."""
    try:
        header = _header(source)
        series, days = header["series"], header["days"]
        last = date.fromordinal(_EPOCH + header["last_day"])
        deep = min(header["deep"], series)
        if deep and not available():
            print(
                "the extra `forecast` is not installed: light methods serve all series",
                file=errors,
            )
            deep = 0
        done = 0
        while done < series:
            # What the deep models take ends with a chunk of its own.
            count = min(CHUNK, (deep if done < deep else series) - done)
            amounts, spread = _read(source, count, days, header)
            batch = forecast(amounts, last, header["ahead"], spread)
            method = None
            if done < deep:
                batch, method = deepen(batch, amounts)
            out.writelines(pack(found) for found in describe(batch, method))
            done += count
        out.flush()
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        print(f"the request is no forecast request: {error}", file=errors)
        return 1
    return 0


def _header(source: BinaryIO) -> dict[str, Any]:
    """The request's first line. ValueError or TypeError where it cannot be one."""
    line = source.readline(_LONGEST_HEADER)
    if not line.endswith(b"\n"):
        raise ValueError("its first line is no header")
    header = json.loads(line)
    if not isinstance(header, dict):
        raise TypeError("its first line is no object")
    for name in _NUMBERS:
        found = header.get(name)
        if not isinstance(found, int) or (found < 0 and name != "last_day"):
            raise ValueError(f"{name} is {found!r}, which is no number of its kind")
    if header["series"] * max(header["days"], 1) > MOST_VALUES:
        raise ValueError(f"more than {MOST_VALUES} amounts: ask for them in parts")
    if not isinstance(header.get("grown"), list):
        raise TypeError("grown is no list")
    return header


def _read(source: BinaryIO, count: int, days: int, header: dict[str, Any]) -> Any:
    raw = source.read(count * days * 8)
    if len(raw) != count * days * 8:
        raise ValueError(f"it ends early: {len(raw)} of {count * days * 8} bytes")
    nano = np.frombuffer(raw, dtype="<i8").reshape(count, days)
    if not days:
        nano = np.full((count, 1), UNKNOWN, dtype=np.int64)
    amounts = np.where(nano == UNKNOWN, np.nan, nano / NANO)
    if not header["grown"]:
        return amounts, None
    ages = max(len(known) for known, _final in header["grown"])
    ratios = np.full((len(header["grown"]), ages), np.nan)
    for at, (known, final) in enumerate(header["grown"]):
        for age, amount in enumerate(known):
            if amount is not None and final > 0:
                ratios[at, age] = amount / final
    return immature(amounts, learn(ratios), header["age"])


if __name__ == "__main__":
    sys.exit(main(sys.stdin.buffer, sys.stdout.buffer, sys.stderr))
