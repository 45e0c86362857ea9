"""The types of single settings: how each is read from text, and how it is shown.

Every kind reads the text that was written, never a float, so amounts and percentages
are exact.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Generic, TypeVar

from costmeter.config.nodes import Node, Scalar, Table, unusable_text
from costmeter.config.problems import HIDDEN, Reading, Wrong, did_you_mean
from costmeter.model import NANO_PER_USD

T = TypeVar("T")

#: Nano-USD is kept in 64 signed bits; this leaves a little room for sums.
MAX_USD = 9_000_000_000
NANO_DIGITS = 9
_PLAIN = re.compile(r"[A-Za-z0-9_./-]+")
_WHOLE = re.compile(r"[+-]?(0|[1-9][0-9]{0,17}|[1-9][0-9]{0,2}(_[0-9]{3}){1,5})")
_DECIMAL = re.compile(r"[+-]?[0-9]{1,30}(\.[0-9]{1,30})?")


class Kind(Generic[T]):
    """What a setting may hold.

    `what` and `write` complete the sentence "'x' is not {what}; write {write}"; `what`
    is also the type that the reference names. `scalar` kinds can come from a variable.
    """

    scalar = True
    takes_null = False
    takes_boolean = False
    secret = False

    def __init__(self, what: str, write: str) -> None:
        self.what = what
        self.write = write

    def read(self, node: Node, key: str, reading: Reading) -> T:
        """The value of the node that stands at `key`; raises Wrong."""
        del key
        if not isinstance(node, Scalar):
            found = "a mapping" if isinstance(node, Table) else "a list"
            raise Wrong(f"{found} stands here, not {self.what}; write {self.write}")
        if node.is_null and not self.takes_null:
            raise Wrong(f"nothing stands here; write {self.write}, or remove the line")
        if node.is_boolean and not self.takes_boolean:
            raise Wrong(f"the truth value {node.text} is not {self.what}; write {self.write}")
        return self.read_text("" if node.is_null else node.text, node.place.folder, reading)

    def read_text(self, text: str, folder: Path, reading: Reading) -> T:
        """The value of a text from a file, a variable or a flag; raises Wrong."""
        if unusable_text(text):
            raise Wrong(f"holds a character that is no text; write {self.write}")
        shown = HIDDEN if self.secret else reading.show(text)
        try:
            return self.parse(text, folder)
        except Wrong as wrong:
            raise Wrong(f"{shown} {wrong}") from None
        except ValueError:
            raise Wrong(f"{shown} is not {self.what}; write {self.write}") from None

    def parse(self, text: str, folder: Path) -> T:
        """Raises ValueError for the usual sentence, Wrong("...") for "'x' ...".

        A kind that overrides `read` and takes no text leaves this as it is: every text is wrong.
        """
        del text, folder
        raise ValueError

    def show(self, value: T) -> str:
        """The value as YAML text that `read` turns into an equal value."""
        text = str(value)
        return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)


class Pattern(Kind[str]):
    """Text of one form. `empty` also takes the empty text."""

    def __init__(self, pattern: str, what: str, write: str, *, empty: bool = False) -> None:
        super().__init__(what, write)
        self._text = pattern
        self._empty = empty

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        """Compiled when it is first needed: most settings are never written."""
        return re.compile(self._text)

    def parse(self, text: str, folder: Path) -> str:
        del folder
        if not (self._empty and not text) and not self._pattern.fullmatch(text):
            raise ValueError
        return text


class Choice(Kind[str]):
    """One of a few words. `empty` also takes the empty text."""

    def __init__(self, *options: str, empty: bool = False) -> None:
        several = len(options) > 1
        what = f"one of {', '.join(options)}" if several else options[0]
        super().__init__(what, "one of them" if several else what)
        self.takes_boolean = "true" in options
        self._options = options
        self._empty = empty

    def parse(self, text: str, folder: Path) -> str:
        del folder
        word = text.lower() if self.takes_boolean else text
        if word in self._options or (self._empty and not word):
            return word
        raise Wrong(f"is not {self.what}.{did_you_mean(text, self._options)}")


class Whole(Kind[int]):
    """A whole number from `least` to `most`."""

    def __init__(self, least: int, most: int) -> None:
        super().__init__(f"a whole number from {least} to {most}", "it in digits")
        self._least, self._most = least, most

    def parse(self, text: str, folder: Path) -> int:
        del folder
        if not _WHOLE.fullmatch(text):
            raise ValueError
        value = int(text)
        if not self._least <= value <= self._most:
            raise Wrong(f"is out of range; write {self.what}")
        return value


class OneOf(Kind[int]):
    """One of a few whole numbers."""

    def __init__(self, *options: int) -> None:
        super().__init__(" or ".join(map(str, options)), "one of them")
        self._options = {str(option): option for option in options}

    def parse(self, text: str, folder: Path) -> int:
        del folder
        try:
            return self._options[text]
        except KeyError:
            raise ValueError from None


class Exact(Kind[Decimal]):
    """An exact decimal number, more than 0 and at most `most`."""

    def __init__(self, what: str, write: str, most: int) -> None:
        super().__init__(what, write)
        self._most = most

    def parse(self, text: str, folder: Path) -> Decimal:
        del folder
        value = decimal_of(text)
        if not 0 < value <= self._most:
            raise Wrong(f"is out of range; write {self.write}")
        return value

    def show(self, value: Decimal) -> str:
        return f"{value:f}"


class Amount(Kind[int | None]):
    """USD as decimal text, kept as integer nano-USD; no float is ever in between."""

    def __init__(self, *, optional: bool = False, zero: bool = False) -> None:
        super().__init__("an amount", "a number of USD such as 500 or 499.99")
        self.takes_null = optional
        self._zero = zero

    def parse(self, text: str, folder: Path) -> int | None:
        del folder
        if self.takes_null and not text:
            return None
        usd = decimal_of(text)
        if usd < 0 or (usd == 0 and not self._zero):
            raise Wrong(f"is not more than 0; write {self.write}")
        if usd > MAX_USD:
            raise Wrong(f"is more than {MAX_USD} USD, the most that is counted exactly")
        # Integers only: Decimal arithmetic would round at the context's precision.
        whole, _, rest = text.removeprefix("+").partition(".")
        rest = rest.rstrip("0")
        if len(rest) > NANO_DIGITS:
            raise Wrong(f"has more than {NANO_DIGITS} decimals; write {self.write}")
        return int(whole) * NANO_PER_USD + int(rest.ljust(NANO_DIGITS, "0"))

    def show(self, value: int | None) -> str:
        if value is None:
            return ""
        whole, rest = divmod(value, NANO_PER_USD)
        return f"{whole}.{rest:0{NANO_DIGITS}d}".rstrip("0") if rest else str(whole)


def decimal_of(text: str) -> Decimal:
    """Plain digits with a decimal point: no exponent, infinity, separator. ValueError."""
    if not _DECIMAL.fullmatch(text):
        raise ValueError
    return Decimal(text)


class Switch(Kind[bool]):
    def __init__(self) -> None:
        super().__init__("true or false", "one of them")
        self.takes_boolean = True

    def parse(self, text: str, folder: Path) -> bool:
        del folder
        if text.lower() not in {"true", "false"}:
            raise ValueError
        return text.lower() == "true"

    def show(self, value: bool) -> str:
        return "true" if value else "false"


class WorkPath(Kind[Path]):
    """A path of working data: meant from the directory the process was started in."""

    def __init__(self) -> None:
        super().__init__("a path", "the path of a file")

    def parse(self, text: str, folder: Path) -> Path:
        del folder
        if not text:
            raise ValueError
        return Path(text)


class ReadFile(Kind[Path | None]):
    """A file that is read: meant from the folder of the file that names it."""

    def __init__(self, *, optional: bool = False) -> None:
        super().__init__("a file name", "the path of a file")
        self.takes_null = optional

    def parse(self, text: str, folder: Path) -> Path | None:
        if not text and not self.takes_null:
            raise ValueError
        return folder / text if text else None

    def show(self, value: Path | None) -> str:
        return '""' if value is None else super().show(value)


class Zone(Kind[str]):
    """An IANA time zone. `empty` also takes the empty text."""

    def __init__(self, *, empty: bool = False) -> None:
        super().__init__("a time zone", "an IANA name such as UTC or Europe/Berlin")
        self._empty = empty

    def parse(self, text: str, folder: Path) -> str:
        del folder
        # Late: the agent has no zones, and no time to load their database.
        from costmeter.config.zones import is_zone, nearest_zone

        if is_zone(text) or (self._empty and not text):
            return text
        near = nearest_zone(text)
        hint = f". Did you mean '{near}'?" if near else ""
        raise Wrong(f"is not {self.what}; write {self.write}{hint}")
