"""Samples of the Prometheus text exposition, version 0.0.4: strict, and exact in its numbers.

Raises SourceError("malformed") with the line's number, never with its text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import NamedTuple

from costmeter.sources.reading import malformed

_SAMPLE = re.compile(
    r"[ \t]*(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)"
    r"(?:[ \t]*\{(?P<labels>(?:[^\"}]|\"(?:[^\"\\]|\\.)*\")*)\}[ \t]*|[ \t]+)"
    r"(?P<value>[^ \t]+)(?:[ \t]+(?P<at>-?[0-9]+))?[ \t]*"
)
_LABEL = re.compile(
    r"[ \t]*(?P<name>[a-zA-Z_][a-zA-Z0-9_]*)[ \t]*=[ \t]*"
    r"\"(?P<value>(?:[^\"\\]|\\.)*)\"[ \t]*(?:,|$)"
)
_ESCAPE = re.compile(r"\\(.)")
_ESCAPED = {"n": "\n", "\\": "\\", '"': '"'}
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
_SPECIAL = re.compile(r"[+-]?inf(inity)?|nan", re.IGNORECASE)


class Sample(NamedTuple):
    """`value` may be infinite or no number at all; `at_ms` is None where none is written."""

    name: str
    labels: Mapping[str, str]
    value: Decimal
    at_ms: int | None


def samples(text: str) -> Iterator[Sample]:
    """Every sample. A text without a newline at its end is taken for cut off."""
    if not text.endswith("\n"):
        raise malformed("the exposition", "its last line has no end (it looks cut off)")
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.removesuffix("\r")
        if not line.strip(" \t") or line.lstrip(" \t").startswith("#"):
            continue
        found = _SAMPLE.fullmatch(line)
        if found is None:
            raise malformed(f"line {number}", "no sample")
        at = found["at"]
        yield Sample(
            found["name"],
            _labels(found["labels"] or "", number),
            _value(found["value"], number),
            None if at is None else int(at),
        )


def whole(sample: Sample) -> int:
    """The value of a counter of whole things."""
    value = sample.value
    if not value.is_finite() or not 0 <= value <= 10**15 or value != value.to_integral_value():
        raise malformed(sample.name, "expected a whole number, 0 or more")
    return int(value)


def _labels(written: str, number: int) -> dict[str, str]:
    found: dict[str, str] = {}
    at = 0
    while written[at:].strip(" \t"):
        label = _LABEL.match(written, at)
        if label is None or label["name"] in found:
            raise malformed(f"line {number}", "labels that cannot be read")
        found[label["name"]] = _ESCAPE.sub(
            lambda m: _ESCAPED.get(m.group(1), m.group(0)), label["value"]
        )
        at = label.end()
    return found


def _value(written: str, number: int) -> Decimal:
    if _NUMBER.fullmatch(written) or _SPECIAL.fullmatch(written):
        try:
            return Decimal(written)
        except InvalidOperation:
            pass
    raise malformed(f"line {number}", "a value that is no number")
