"""`costmeter bills check`: what a bill's file charges, and the rows that cannot be read."""

from __future__ import annotations

import argparse
import glob
import json
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

from costmeter.cli.errors import CommandError
from costmeter.cli.table import Value, show
from costmeter.sources.contract import Settings, SourceError
from costmeter.sources.files.reading import SHAPES, Read, Sums, read_file
from costmeter.sources.files.shapes import BASES, Whose
from costmeter.sources.files.values import EXACT
from costmeter.sources.reading import plain
from costmeter.sources.secret import Secret
from costmeter.sources.tags import TagKeys

_SHOWN = 20
_BY = ("provider", "service", "charge", "currency")


class _Totals:
    """Amounts by provider, service, charge and currency, and by day."""

    def __init__(self) -> None:
        self.found: dict[tuple[str, ...], list[Decimal | None]] = {}
        self.days: set[int] = set()

    def keep(self, sums: Sums) -> None:
        for (day, group), amounts in sums.items():
            self.days.add(day)
            labels = group.labels
            key = (labels.provider, labels.service, group.charge, group.currency)
            old = self.found.setdefault(key, [None] * len(BASES))
            for at, value in enumerate(amounts):
                if value is not None:
                    before = old[at]
                    old[at] = value if before is None else EXACT.add(before, value)


def check(arguments: argparse.Namespace) -> int:
    """Totals of files and what could not be read; 1 when there is such a row."""
    whose = Whose(Settings("check", Secret()), TagKeys())
    totals, reads = _Totals(), Counter[str]()
    problems: list[dict[str, object]] = []
    kinds = (arguments.kind,) if arguments.kind else tuple(SHAPES)
    for path in _paths(arguments.files):
        read = _read(path, kinds, whose, totals)
        reads.update(rows=read.rows, unreadable=read.unreadable)
        problems += [problem._asdict() for problem in read.problems]
    columns = (*_BY, *BASES)
    rows: list[Sequence[Value]] = [
        [*key, *("" if value is None else plain(value) for value in amounts)]
        for key, amounts in sorted(totals.found.items())
    ]
    if arguments.json:
        found = {
            "rows": reads["rows"],
            "unreadable": reads["unreadable"],
            "days": len(totals.days),
            "totals": [dict(zip(columns, row, strict=True)) for row in rows],
            "problems": problems,
        }
        print(json.dumps(found, indent=2))
        return int(reads["unreadable"] > 0)
    show(columns, rows, as_json=False)
    print(
        f"\n{reads['rows']} rows, {len(totals.days)} days, {len(totals.found)} lines above; "
        f"{reads['unreadable']} rows cannot be read"
    )
    for problem in problems[:_SHOWN]:
        where = f", {problem['column']}" if problem["column"] else ""
        print(f"{problem['file']}: row {problem['row']}{where}: {problem['why']}")
    if reads["unreadable"] > _SHOWN:
        print(f"and {reads['unreadable'] - _SHOWN} more; --json lists the first 1000 of each file")
    return int(reads["unreadable"] > 0)


def _paths(named: Sequence[str]) -> list[Path]:
    found = [
        Path(path)
        for name in named
        for path in sorted(glob.glob(name, recursive=True)) or [name]  # noqa: PTH207
    ]
    missing = [path for path in found if not path.is_file()]
    if missing:
        raise CommandError(f"{missing[0]} is no file; name one that ends in .csv or .parquet")
    return found


def _read(path: Path, kinds: tuple[str, ...], whose: Whose, totals: _Totals) -> Read:
    try:
        return read_file(path, str(path), kinds, whose, totals.keep, even_if_nothing=True)
    except (SourceError, OSError) as error:
        raise CommandError(f"{path} cannot be read: {error}") from None
