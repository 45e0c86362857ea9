"""The layers of any configuration: file under environment under flags."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from costmeter.config.environment import apply_environment, apply_flags
from costmeter.config.nodes import Node, Table
from costmeter.config.problems import Place, Reading, Wrong
from costmeter.config.records import NOTHING, Section

C = TypeVar("C")


def layered(
    record: type[C],
    path: Path | None,
    environ: Mapping[str, str],
    overrides: Mapping[str, str],
    reading: Reading,
    *,
    instead: Mapping[str, str] = NOTHING,
) -> C:
    """A record with what each layer says; mistakes are noted in `reading`.

    `instead` says what to do about sections that belong to another process.
    """
    config = record() if path is None else _from_file(record, path, reading, instead)
    config = apply_environment(config, environ, reading)
    return apply_flags(config, overrides, reading)


def _from_file(record: type[C], path: Path, reading: Reading, instead: Mapping[str, str]) -> C:
    # Late: the parser of YAML is of use to who has a file.
    from costmeter.config.document import read_document
    from costmeter.config.includes import with_includes

    document = read_document(path, reading)
    root: Node = Table(Place(str(path), None, path.parent)) if document is None else document
    reading.places[""] = root.place
    try:
        return Section(record, instead).read(with_includes(root, path, reading), "", reading)
    except Wrong as wrong:
        reading.wrong(root.place, "", str(wrong))
        return record()
