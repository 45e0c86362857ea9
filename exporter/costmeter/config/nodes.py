"""What a configuration file is read into: plain nodes that remember where they stand.

Apart from the parser, so that whoever has no file to read does without it.
"""

from __future__ import annotations

from dataclasses import dataclass

from costmeter.config.problems import Place

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS = frozenset({"true", "True", "TRUE", "false", "False", "FALSE"})


@dataclass(frozen=True, slots=True)
class Scalar:
    place: Place
    text: str
    quoted: bool = True

    @property
    def is_null(self) -> bool:
        return not self.quoted and self.text in _NULLS

    @property
    def is_boolean(self) -> bool:
        return not self.quoted and self.text in _BOOLEANS


@dataclass(frozen=True, slots=True)
class Listing:
    place: Place
    items: tuple[Node, ...] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """A mapping as it was written: a key that stands twice is here twice."""

    place: Place
    entries: tuple[tuple[Scalar, Node], ...] = ()


Node = Scalar | Listing | Table


def unusable_text(text: str) -> bool:
    """True for what neither a file name nor a label nor UTF-8 can carry."""
    return any(c == "\0" or "\ud800" <= c <= "\udfff" for c in text)
