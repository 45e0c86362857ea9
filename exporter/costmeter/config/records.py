"""Mappings and lists of the file: read key by key, every mistake noted, none fatal.

What cannot be read keeps its default, so that the rest is still checked; the caller
refuses the whole configuration afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar

from costmeter.config.kinds import Kind
from costmeter.config.nodes import Listing, Node, Scalar, Table
from costmeter.config.problems import Place, Reading, Wrong, did_you_mean
from costmeter.config.spec import Setting, settings_of

R = TypeVar("R")

#: Looking for a near word takes a millisecond; a file of wrong keys shall not take minutes.
MAX_HINTS = 100
ENVIRONMENT_PREFIX = "COSTMETER_"
NOTHING: Mapping[str, str] = MappingProxyType({})


class Section(Kind[R]):
    """One record: a mapping with the keys of a dataclass. Nothing means its defaults."""

    scalar = False
    takes_null = True

    def __init__(self, record: type[R], instead: Mapping[str, str] = NOTHING) -> None:
        """`instead` says what to do about keys that people bring from elsewhere."""
        super().__init__("a mapping of settings", "its settings below it, indented, as key: value")
        self.record = record
        self._instead = instead

    def read(self, node: Node, key: str, reading: Reading) -> R:
        if isinstance(node, Scalar) and node.is_null:
            node = Table(node.place)
        if not isinstance(node, Table):
            found = "a list" if isinstance(node, Listing) else "a single value"
            raise Wrong(f"{found} stands here, not {self.what}; write {self.write}")
        known = settings_of(self.record)
        prefix = f"{key}." if key else ""
        values: dict[str, Any] = {}
        for word, child in single_entries(node, prefix, reading):
            setting = known.get(word.text)
            if setting is None:
                self._unknown(word, prefix, reading)
                continue
            reading.places[prefix + word.text] = child.place
            try:
                values[setting.name] = setting.kind.read(child, prefix + word.text, reading)
            except Wrong as wrong:
                reading.wrong(child.place, prefix + word.text, str(wrong))
        written = {word.text for word, _ in node.entries}
        for setting in known.values():
            if setting.required and setting.key not in written:
                text = f"is missing; write {setting.kind.write}"
                reading.wrong(node.place, prefix + setting.key, text)
        return self.record(**values)

    def _unknown(self, word: Scalar, prefix: str, reading: Reading) -> None:
        known = list(settings_of(self.record))
        text = self._instead.get(word.text)
        if text is None:
            few = len(reading.problems) < MAX_HINTS
            near = did_you_mean(word.text, known) if few else ""
            near = near or f" Known here: {', '.join(known)}"
            text = f"is no setting.{near}"
            shown = "a key" if reading.secret else word.text[:60]
        else:
            shown = word.text
        reading.wrong(word.place, prefix + shown, text)

    def show(self, value: R) -> str:
        known = settings_of(self.record).values()
        pairs = ((setting, getattr(value, setting.name)) for setting in known)
        written = (
            f"{setting.key}: {setting.kind.show(shown)}"
            for setting, shown in pairs
            if setting.required or shown != setting.default
        )
        return f"{{{', '.join(written)}}}"


def single_entries(table: Table, prefix: str, reading: Reading) -> Iterator[tuple[Scalar, Node]]:
    """The entries of a mapping; a key that stands twice is noted and its first one used."""
    seen: dict[str, Scalar] = {}
    for word, child in table.entries:
        first = seen.get(word.text)
        if first is None:
            seen[word.text] = word
            yield word, child
        else:
            text = f"stands twice, first in {first.place.seen_from(word.place)}; remove one"
            shown = "a key" if reading.secret else word.text[:60]
            reading.wrong(word.place, prefix + shown, text)


class Records(Kind[tuple[R, ...]]):
    """A list of records. No two may have the same `name`."""

    scalar = False

    def __init__(self, record: type[R], instead: Mapping[str, str] = NOTHING) -> None:
        super().__init__("a list", "one item a line, each beginning with '- '")
        self.record = record
        self._one = Section(record, instead)

    def read(self, node: Node, key: str, reading: Reading) -> tuple[R, ...]:
        found = []
        taken: dict[str, Place] = {}
        for number, item in enumerate(items_of(node, self)):
            item_key = f"{key}[{number}]"
            reading.places[item_key] = item.place
            try:
                record = self._one.read(item, item_key, reading)
            except Wrong as wrong:
                reading.wrong(item.place, item_key, str(wrong))
                record = self.record()
            name = str(getattr(record, "name", ""))
            place = reading.place_of(f"{item_key}.name")
            if name and name in taken:
                text = f"{reading.show(name)} is taken already, in {taken[name].seen_from(place)}"
                reading.wrong(place, f"{item_key}.name", f"{text}; every name stands once")
            taken.setdefault(name, place)
            found.append(record)
        return tuple(found)

    def show(self, value: tuple[R, ...]) -> str:
        return f"[{', '.join(self._one.show(record) for record in value)}]"


class ListOf(Kind[tuple[Any, ...]]):
    """A list of single values, each of one kind and each once."""

    scalar = False

    def __init__(self, kind: Kind[Any], what: str) -> None:
        super().__init__(f"a list of {what}", "them in brackets, as in [a, b]")
        self._kind = kind

    def read(self, node: Node, key: str, reading: Reading) -> tuple[Any, ...]:
        found: dict[Any, None] = {}
        for number, item in enumerate(items_of(node, self)):
            item_key = f"{key}[{number}]"
            reading.places[item_key] = item.place
            try:
                value = self._kind.read(item, item_key, reading)
            except Wrong as wrong:
                reading.wrong(item.place, item_key, str(wrong))
                continue
            if value in found:
                reading.wrong(item.place, item_key, "stands twice in this list; remove one")
            found[value] = None
        return tuple(found)

    def show(self, value: tuple[Any, ...]) -> str:
        return f"[{', '.join(self._kind.show(item) for item in value)}]"


def items_of(node: Node, kind: Kind[Any]) -> tuple[Node, ...]:
    """The items of a list; nothing is an empty list. Raises Wrong for anything else."""
    if isinstance(node, Listing):
        return node.items
    if isinstance(node, Scalar) and node.is_null:
        return ()
    found = "a mapping" if isinstance(node, Table) else "a single value"
    raise Wrong(f"{found} stands here, not {kind.what}; write {kind.write}")


@dataclass(frozen=True, slots=True)
class Leaf:
    """A setting at the end of a path of sections: `key` is its full dotted name."""

    key: str
    path: tuple[str, ...]
    setting: Setting

    @property
    def variable(self) -> str:
        """The environment variable that sets it, where its kind is scalar."""
        return ENVIRONMENT_PREFIX + self.key.replace(".", "_").upper()


def leaves(record: type[Any], key: str = "", path: tuple[str, ...] = ()) -> Iterator[Leaf]:
    """Every setting beneath a record that is no section itself, in the order of the file."""
    for setting in settings_of(record).values():
        leaf = Leaf(f"{key}{setting.key}", (*path, setting.name), setting)
        if isinstance(setting.kind, Section):
            yield from leaves(setting.kind.record, f"{leaf.key}.", leaf.path)
        else:
            yield leaf
