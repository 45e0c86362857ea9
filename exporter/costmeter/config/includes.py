"""`include:` — sections of the configuration that stand in files of their own.

Included files lie relative to the folder of the file that names them and include
nothing themselves. Mappings are joined, lists are appended in the order of the files;
a single setting that two files give is a mistake, since neither would be the obvious one.
"""

from __future__ import annotations

from pathlib import Path

from costmeter.config.document import read_document
from costmeter.config.kinds import ReadFile
from costmeter.config.nodes import Listing, Node, Scalar, Table
from costmeter.config.problems import Reading, Wrong
from costmeter.config.records import ListOf, single_entries

INCLUDE = "include"
_FILES = ListOf(ReadFile(), "files")


def with_includes(root: Node, path: Path, reading: Reading) -> Node:
    """The document with its included files joined into it; mistakes are noted."""
    if not isinstance(root, Table):
        return root
    own = Table(root.place, tuple(entry for entry in root.entries if entry[0].text != INCLUDE))
    joined = own
    for word, node in single_entries(
        Table(root.place, tuple(e for e in root.entries if e[0].text == INCLUDE)), "", reading
    ):
        try:
            files = _FILES.read(node, INCLUDE, reading)
        except Wrong as wrong:
            reading.wrong(word.place, INCLUDE, str(wrong))
            continue
        for file in filter(None, files):
            joined = _joined_with(joined, file, path, reading)
    return joined


def _joined_with(table: Table, file: Path, path: Path, reading: Reading) -> Table:
    if file == path:
        reading.wrong_setting(INCLUDE, "a file cannot include itself")
        return table
    document = read_document(file, reading)
    if document is None:
        return table
    if not isinstance(document, Table):
        reading.wrong(document.place, "", "is not a mapping of sections")
        return table
    for word, _ in document.entries:
        if word.text == INCLUDE:
            reading.wrong(word.place, INCLUDE, "an included file cannot include others")
    entries = tuple(entry for entry in document.entries if entry[0].text != INCLUDE)
    return _joined(table, Table(document.place, entries), "", reading)


def _joined(left: Table, right: Table, prefix: str, reading: Reading) -> Table:
    places = {word.text: number for number, (word, _) in enumerate(left.entries)}
    entries = list(left.entries)
    for word, node in right.entries:
        if word.text not in places:
            entries.append((word, node))
            continue
        number = places[word.text]
        first_word, first = entries[number]
        key = f"{prefix}{word.text}"
        if isinstance(first, Table) and isinstance(node, Table):
            entries[number] = (first_word, _joined(first, node, f"{key}.", reading))
        elif isinstance(first, Listing) and isinstance(node, Listing):
            entries[number] = (first_word, Listing(first.place, first.items + node.items))
        elif isinstance(first, Scalar) and first.is_null:
            entries[number] = (word, node)
        elif not (isinstance(node, Scalar) and node.is_null):
            at = first.place.seen_from(node.place)
            reading.wrong(node.place, key, f"is set already, in {at}; remove one of the two")
    return Table(left.place, tuple(entries))
