"""FOCUS's rows as CSV or Parquet, a batch at a time."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import islice
from typing import IO, Any

from costmeter.reports.focus import Column
from costmeter.reports.focus_rows import Row

_BATCH = 10_000


def write_csv(file: IO[bytes], columns: Sequence[Column], rows: Iterable[Row]) -> int:
    """RFC 4180 with a header; null is an empty field. The number of rows."""
    text = io.TextIOWrapper(file, "utf-8", errors="replace", newline="", write_through=True)
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(column.name for column in columns)
    count = 0
    for row in rows:
        writer.writerow([_pointed(column, row[column.name]) for column in columns])
        count += 1
    text.flush()
    text.detach()
    return count


def write_parquet(file: IO[bytes], columns: Sequence[Column], rows: Iterable[Row]) -> int:
    """Decimals and instants in their own types. Raises ValueError without pyarrow."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise ValueError(
            "Parquet needs a package: pip install 'costmeter[files]', or write FILE.csv"
        ) from None
    types = {
        "string": pa.string(),
        "json": pa.string(),
        "time": pa.timestamp("us", tz="UTC"),
        "decimal": pa.decimal128(38, 9),
    }
    schema = pa.schema(
        [pa.field(one.name, types[one.type], nullable=one.nullable) for one in columns]
    )
    count = 0
    source = iter(rows)
    with pq.ParquetWriter(file, schema) as writer:
        while batch := list(islice(source, _BATCH)):
            arrays = [
                pa.array([_typed(one, row[one.name]) for row in batch], types[one.type])
                for one in columns
            ]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
            count += len(batch)
    return count


def _pointed(column: Column, text: str | None) -> str | None:
    """A decimal always has a point: who guesses types must not take a column for integers."""
    if column.type == "decimal" and text is not None and "." not in text:
        return f"{text}.0"
    return text


def _typed(column: Column, text: str | None) -> Any:
    if text is None:
        return None
    if column.type == "decimal":
        return Decimal(text)
    if column.type == "time":
        return datetime.fromisoformat(text)
    return text.encode(errors="replace").decode()
