"""A YAML document as nodes that know their line, with checks that name file and line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import NoReturn

import yaml

from costmeter.pricing.errors import PriceFileError

_LOADER: type = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_NULL = "tag:yaml.org,2002:null"


class Entry:
    """One node of a file under the key by which a person finds it."""

    def __init__(self, file: str, key: str, node: yaml.Node) -> None:
        self.file, self.key, self.node = file, key, node
        self.line = node.start_mark.line + 1

    @property
    def origin(self) -> str:
        return f"{self.file}:{self.line}"

    def refuse(self, problem: str) -> NoReturn:
        raise PriceFileError(self.file, self.line, self.key, problem)

    def fields(self, allowed: Iterable[str]) -> dict[str, Entry]:
        """The entries of a mapping; refuses unknown and repeated keys."""
        known = list(allowed)
        if not isinstance(self.node, yaml.MappingNode):
            self.refuse(f"is not a mapping; write keys such as {known[0]}: ...")
        found: dict[str, Entry] = {}
        for name_node, value in self.node.value:
            name = str(name_node.value)
            entry = Entry(self.file, f"{self.key}.{name}" if self.key else name, value)
            entry.line = name_node.start_mark.line + 1
            if name not in known:
                from difflib import get_close_matches  # late: for mistakes only

                near = get_close_matches(name, known, 1)
                hint = near[0] if near else f"one of {', '.join(sorted(known))}"
                entry.refuse(f"is not known here; write {hint} instead")
            if name in found:
                entry.refuse(f"stands twice, also in line {found[name].line}; keep one of them")
            found[name] = entry
        return found

    def items(self) -> Iterator[Entry]:
        """The entries of a list."""
        if self._empty():
            return
        if not isinstance(self.node, yaml.SequenceNode):
            self.refuse('is not a list; begin each entry with "- "')
        for number, node in enumerate(self.node.value):
            yield Entry(self.file, f"{self.key}[{number}]", node)

    def text(self) -> str:
        if not isinstance(self.node, yaml.ScalarNode) or self._empty() or not self.node.value:
            self.refuse("has no value; write a text")
        return str(self.node.value)

    def number(self) -> Decimal:
        """A finite number that is not negative, exactly as it is written."""
        text = self.text()
        try:
            value = Decimal(text.replace("_", ""))
        except InvalidOperation:
            self.refuse(f"{text!r} is not a number; write a decimal such as 2.50")
        if not value.is_finite() or value < 0:
            self.refuse(f"{text!r} is not an amount; write a number of 0 or more")
        if value and not -30 <= value.adjusted() <= 9:
            self.refuse(f"{text!r} is out of range; write an amount between 0 and 10 billion")
        return value

    def integer(self) -> int:
        value = self.number()
        if value != value.to_integral_value():
            self.refuse(f"{self.text()!r} is not a whole number; write for example 200000")
        return int(value)

    def flag(self) -> bool:
        text = self.text().lower()
        if text not in ("true", "false"):
            self.refuse(f"{self.text()!r} is neither true nor false; write true")
        return text == "true"

    def choice(self, allowed: Iterable[str]) -> str:
        text, known = self.text().lower(), list(allowed)
        if text not in known:
            self.refuse(f"{text!r} is not known; write one of {', '.join(known)}")
        return text

    def instant_ms(self) -> int:
        """A date (midnight UTC) or an instant with its offset, as Unix milliseconds."""
        text = self.text()
        try:
            at = datetime.fromisoformat(text)
        except ValueError:
            self.refuse(f"{text!r} is not a date; write 2026-01-31 or 2026-01-31T12:00:00Z")
        if _DAY.fullmatch(text):
            at = at.replace(tzinfo=UTC)
        if at.tzinfo is None:
            self.refuse(f"{text!r} does not say its time zone; write {text}Z for UTC")
        since = at - datetime(1970, 1, 1, tzinfo=UTC)
        return since.days * 86_400_000 + since.seconds * 1000 + since.microseconds // 1000

    def _empty(self) -> bool:
        return isinstance(self.node, yaml.ScalarNode) and self.node.tag == _NULL


def document(file: str, text: str) -> Entry | None:
    """The root of a file, None for an empty one. PriceFileError when it is not YAML."""
    try:
        node = yaml.compose(text, Loader=_LOADER)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark is not None else 1
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise PriceFileError(
            file, line, "file", f"is not YAML ({problem}); write it with spaces and quotes balanced"
        ) from None
    return None if node is None else Entry(file, "", node)
