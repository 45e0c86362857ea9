"""YAML text into plain nodes that remember their line and the text of every number.

Built from the parser's events instead of its objects: so 0.1 stays "0.1", a tenant
called 007 keeps its zeros, nesting costs no stack, and a document that grows out of a
few aliases is refused before it is expanded.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from costmeter.config.nodes import Listing, Node, Scalar, Table, unusable_text
from costmeter.config.problems import Place, Reading

MAX_BYTES = 4 * 1024 * 1024
MAX_NODES = 200_000
MAX_DEPTH = 32

#: libyaml's where PyYAML was built with it: ten times as fast, and the same events.
LOADER: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Refused(Exception):
    def __init__(self, line: int, text: str) -> None:
        super().__init__(text)
        self.line = line


def read_document(path: Path, reading: Reading, *, quiet: bool = False) -> Node | None:
    """The one document of a YAML file; None when it is empty or a problem was noted.

    `quiet` keeps the parser's own words, which quote the text, out of the problems.
    """
    where = str(path)
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        reading.wrong(Place(where), "", "there is no such file")
        return None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "this is not a file name"
        reading.wrong(Place(where), "", f"cannot be read: {reason}")
        return None
    if len(raw) > MAX_BYTES:
        reading.wrong(Place(where), "", f"is larger than {MAX_BYTES // 1024**2} MiB")
        return None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        reading.wrong(Place(where, line), "", "is not UTF-8 text; save it as UTF-8")
        return None
    return parse_document(text, where, path.parent, reading, quiet=quiet)


def parse_document(
    text: str,
    where: str,
    folder: Path,
    reading: Reading,
    *,
    quiet: bool = False,
    loader: type[Any] = LOADER,
) -> Node | None:
    """Nodes of YAML `text`; None when it is empty or a problem was noted."""
    try:
        return _Builder(text, where, folder, loader).document()
    except _Refused as refused:
        reading.wrong(Place(where, refused.line), "", str(refused))
    except yaml.YAMLError as error:
        line, reason = _explain(error, text)
        reading.wrong(Place(where, line), "", "is not YAML here" if quiet else reason)
    except (ValueError, OverflowError):
        # An escape such as "\UFFFFFFFF" passes the scanner and fails in chr().
        reading.wrong(Place(where), "", "holds a character escape that names no character")
    return None


def _explain(error: yaml.YAMLError, text: str) -> tuple[int | None, str]:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is None:
        return None, "holds a control character that YAML does not allow"
    lines = text.splitlines()
    written = lines[mark.line] if mark.line < len(lines) else ""
    if "\t" in written[: len(written) - len(written.lstrip())]:
        return mark.line + 1, "a tab indents this line; YAML takes spaces only"
    problem = getattr(error, "problem", None) or "cannot be understood"
    return mark.line + 1, f"is not YAML here: {problem}"


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark is not None else 1


class _Builder:
    """Turns one stream of events into nodes; `size` counts aliases as if written out."""

    def __init__(self, text: str, where: str, folder: Path, loader: type[Any]) -> None:
        self._events: Iterator[yaml.Event] = yaml.parse(text, Loader=loader)
        self._where = where
        self._folder = folder
        self._anchors: dict[str, tuple[Node, int]] = {}
        self._size = 0

    def document(self) -> Node | None:
        root: Node | None = None
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                if root is not None:
                    text = "a second document begins here; write everything in one"
                    raise _Refused(_line(event), text)
                root = self._node(next(self._events), 0)
        return None if isinstance(root, Scalar) and root.is_null else root

    def _node(self, event: yaml.Event, depth: int) -> Node:
        line = _line(event)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event.anchor or "", line)
        if not isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent):
            raise _Refused(line, "is not YAML here")
        self._count(1, line)
        if depth > MAX_DEPTH:
            raise _Refused(line, f"is nested deeper than {MAX_DEPTH} levels")
        if event.tag is not None and event.tag != "!":
            raise _Refused(line, "a tag (!...) stands here; no setting takes one, remove it")
        before = self._size
        node = self._content(event, Place(self._where, line, self._folder), depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = (node, self._size - before + 1)
        return node

    def _content(
        self, event: yaml.ScalarEvent | yaml.CollectionStartEvent, place: Place, depth: int
    ) -> Node:
        if isinstance(event, yaml.SequenceStartEvent):
            return Listing(place, tuple(self._items(depth)))
        if isinstance(event, yaml.ScalarEvent):
            if unusable_text(event.value):
                raise _Refused(place.line or 0, "holds a character that is no text")
            return Scalar(place, event.value, quoted=bool(event.style))
        return Table(place, tuple(_merged(list(self._entries(depth)))))

    def _items(self, depth: int) -> Iterator[Node]:
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            yield self._node(event, depth + 1)

    def _entries(self, depth: int) -> Iterator[tuple[Scalar, Node]]:
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._node(event, depth + 1)
            if not isinstance(key, Scalar):
                raise _Refused(_line(event), "a key must be a plain word")
            yield key, self._node(next(self._events), depth + 1)

    def _alias(self, name: str, line: int) -> Node:
        if name not in self._anchors:
            raise _Refused(line, "an alias (*...) stands here without its anchor (&...) before it")
        node, size = self._anchors[name]
        self._count(size, line)
        return node

    def _count(self, size: int, line: int) -> None:
        self._size += size
        if self._size > MAX_NODES:
            raise _Refused(
                line, f"holds more than {MAX_NODES} values once its aliases are followed"
            )


def _merged(entries: list[tuple[Scalar, Node]]) -> Iterator[tuple[Scalar, Node]]:
    """Entries with every `<<: *anchor` replaced by what it brings and nobody wrote."""
    written = {key.text for key, _ in entries}
    for key, node in entries:
        if key.quoted or key.text != "<<":
            yield key, node
            continue
        tables = node.items if isinstance(node, Listing) else (node,)
        for table in tables:
            if not isinstance(table, Table):
                raise _Refused(key.place.line or 0, "<< takes an alias of a mapping")
            for merged_key, merged_node in table.entries:
                if merged_key.text not in written:
                    written.add(merged_key.text)
                    yield merged_key, merged_node
