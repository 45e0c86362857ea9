"""The items of a JSON list that comes over the network, one by one.

A list of a node's pods is about a megabyte, and ten of them as Python objects: more than
an agent has in all. Read like this, one pod is in memory at a time.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable, Iterator
from typing import Any

_CHUNK = 1 << 16
_BLANK = " \t\r\n"
_LARGEST_ITEM = 8 << 20


class ListReader:
    """Iterate over `items` of an object; the other fields are in `fields` afterwards.

    Raises ValueError for what is not such an object, or is cut off.
    """

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._json = json.JSONDecoder()
        self._text = ""
        self._at = 0
        self.fields: dict[str, Any] = {}

    def __iter__(self) -> Iterator[Any]:
        self._expect("{")
        if self._next() == "}":
            return
        while True:
            name = self._value()
            self._expect(":")
            if name == "items" and self._next() == "[":
                yield from self._items()
            else:
                self.fields[str(name)] = self._value()
            if self._next() == "}":
                return
            self._expect(",")

    def _items(self) -> Iterator[Any]:
        self._expect("[")
        if self._next() == "]":
            self._at += 1
            return
        while True:
            yield self._value()
            if self._next() == "]":
                self._at += 1
                return
            self._expect(",")

    def _value(self) -> Any:
        self._next()
        while True:
            try:
                value, end = self._json.raw_decode(self._text, self._at)
            except ValueError:
                if not self._more():
                    raise
                continue
            # A number at the end of what is here may have more digits.
            if end < len(self._text) or not self._more():
                self._at = end
                return value

    def _next(self) -> str:
        """The next character that is not blank, which stays where it is."""
        while True:
            while self._at < len(self._text):
                if self._text[self._at] not in _BLANK:
                    return self._text[self._at]
                self._at += 1
            if not self._more():
                raise ValueError("the answer is cut off")

    def _expect(self, character: str) -> None:
        found = self._next()
        if found != character:
            raise ValueError(f"{character!r} is missing before {found!r}")
        self._at += 1

    def _more(self) -> bool:
        self._text = self._text[self._at :]
        self._at = 0
        if len(self._text) > _LARGEST_ITEM:
            raise ValueError(f"one item is larger than {_LARGEST_ITEM} bytes")
        # What is half read is parsed again each time: take as much as there is of it.
        chunk = self._read(max(_CHUNK, len(self._text)))
        self._text += self._decoder.decode(chunk, final=not chunk)
        return bool(chunk)
