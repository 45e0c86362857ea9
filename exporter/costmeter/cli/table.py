"""Readable tables and exact JSON for whoever asks the ledger something."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal

#: None is what is not known: null in JSON, a dash in a table.
Value = str | int | Decimal | None


def show(
    columns: Sequence[str], rows: Sequence[Sequence[Value]], *, as_json: bool, places: int = 4
) -> None:
    """Print rows; money as exact text in JSON, rounded to `places` decimals in a table."""
    if as_json:
        records = [
            {name: exact(value) for name, value in zip(columns, row, strict=True)} for row in rows
        ]
        print(json.dumps(records, indent=2))
        return
    cells = [list(columns), *[[_rounded(value, places) for value in row] for row in rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    right = [
        bool(rows) and not any(isinstance(row[i], str) for row in rows) for i in range(len(columns))
    ]
    for number, row in enumerate(cells):
        line = [
            text.rjust(width) if flush else text.ljust(width)
            for text, width, flush in zip(row, widths, right, strict=True)
        ]
        print("  ".join(line).rstrip())
        if number == 0:
            print("  ".join("-" * width for width in widths))


def exact(value: Value) -> str | int | None:
    """A value as JSON has it: a decimal as text with all its digits."""
    return f"{value:f}" if isinstance(value, Decimal) else value


def _rounded(value: Value, places: int) -> str:
    if isinstance(value, Decimal):
        return f"{value:,.{places}f}"
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else (value or "(none)")
