"""Rows of a CSV or a Parquet file, a batch at a time, and of them only what is asked for."""

from __future__ import annotations

import csv
import gzip
import io
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from operator import itemgetter
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol

from costmeter.sources.contract import SourceError

_BATCH = 8_192


class Pick(NamedTuple):
    """Columns that are asked for; an empty `end` where rows are of one day."""

    keys: tuple[str, ...]
    start: str
    end: str
    costs: tuple[str, ...]


#: The number of the row (1 is the first below the header), key cells, start, end, costs.
Picked = tuple[int, tuple[Any, ...], Any, Any, tuple[Any, ...]]
#: Told of a row that is none: its number, the column or nothing, and why.
Report = Callable[[int, str, str], None]


class Table(Protocol):
    @property
    def columns(self) -> tuple[str, ...]: ...

    def rows(self, pick: Pick, report: Report) -> Iterator[Picked]:
        """Raises SourceError("malformed") for a file that breaks off."""
        ...


def needs_pyarrow(name: str) -> bool:
    return name.lower().endswith((".parquet", ".pq"))


@contextmanager
def tables(path: Path, name: str) -> Iterator[Iterator[Table]]:
    """The table that a file holds, or in a .zip each of them, one after the other.

    The kind is told by the name's end: .parquet, else CSV, with .gz or .zip behind it.
    """
    with ExitStack() as stack:
        yield _tables(path, name, stack)


def _tables(path: Path, name: str, stack: ExitStack) -> Iterator[Table]:
    lower = name.lower()
    try:
        if needs_pyarrow(lower):
            yield _Parquet(path, name)
        elif lower.endswith(".zip"):
            archive = stack.enter_context(zipfile.ZipFile(path))
            members = [name for name in archive.namelist() if name.lower().endswith(".csv")]
            if not members:
                raise SourceError("malformed", f"{name} holds no .csv")
            for member in members:
                yield _Csv(stack.enter_context(archive.open(member)), f"{name}/{member}")
        elif lower.endswith(".gz"):
            stream = gzip.GzipFile(path, "rb")
            # It is a stream of bytes, whatever its stub says.
            yield _Csv(stack.enter_context(stream), name)  # type: ignore[arg-type]
        else:
            yield _Csv(stack.enter_context(path.open("rb")), name)
    except (EOFError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error) as error:
        raise broken(name, error) from None


def broken(name: str, error: Exception) -> SourceError:
    return SourceError(
        "malformed", f"{name} cannot be read; it may be cut off ({type(error).__name__})"
    )


class _Csv:
    def __init__(self, stream: IO[bytes], name: str) -> None:
        self._name = name
        lines = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="replace", newline="")
        try:
            self._reader = csv.reader(lines)
            header = next(self._reader, [])
        except csv.Error as error:
            raise broken(name, error) from None
        except (EOFError, gzip.BadGzipFile, zlib.error, OSError) as error:
            raise broken(name, error) from None
        self.columns = tuple(cell.strip() for cell in header)

    def rows(self, pick: Pick, report: Report) -> Iterator[Picked]:
        at = {name: index for index, name in reversed(list(enumerate(self.columns)))}
        keys, costs = _cells(at, pick.keys), _cells(at, pick.costs)
        start = at[pick.start]
        end = at[pick.end] if pick.end else start
        width = len(self.columns)
        number = 0
        while True:
            try:
                for row in self._reader:
                    number += 1
                    if len(row) != width:
                        if row:
                            report(number, "", f"has {len(row)} cells and not {width}")
                        else:
                            number -= 1  # an empty line is no row
                        continue
                    yield number, keys(row), row[start], row[end], costs(row)
                return
            except csv.Error as error:
                number += 1
                report(number, "", f"is no CSV: {error}")
            except (EOFError, gzip.BadGzipFile, zlib.error, zipfile.BadZipFile) as error:
                raise broken(self._name, error) from None


def _cells(at: dict[str, int], names: Sequence[str]) -> Callable[[Sequence[str]], tuple[str, ...]]:
    if len(names) == 1:
        only = at[names[0]]
        return lambda row: (row[only],)
    return itemgetter(*(at[name] for name in names))


class _Parquet:
    """Instants become milliseconds; decimals and binary numbers stay what they are."""

    def __init__(self, path: Path, name: str) -> None:
        try:
            import pyarrow as pa
            from pyarrow import parquet
        except ImportError:
            raise SourceError(
                "request",
                f"{name} is Parquet, which needs pyarrow; "
                "install it with: pip install 'costmeter[files]'",
            ) from None
        self._name = name
        self._pa = pa
        try:
            # Without a buffer of whole row groups, whose size is the writer's choice.
            self._file = parquet.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False)
        except (pa.ArrowException, OSError) as error:
            raise broken(name, error) from None
        self.columns = tuple(self._file.schema_arrow.names)

    def rows(self, pick: Pick, report: Report) -> Iterator[Picked]:  # noqa: ARG002 - none is broken
        end = pick.end or pick.start
        names = list(dict.fromkeys((*pick.keys, pick.start, end, *pick.costs)))
        number = 0
        try:
            for batch in self._file.iter_batches(_BATCH, columns=names, use_threads=False):
                times = {pick.start, end}
                cells = {
                    name: self._cells(batch.column(name), time=name in times) for name in names
                }
                yield from zip(
                    range(number + 1, number + batch.num_rows + 1),
                    zip(*(cells[name] for name in pick.keys), strict=True),
                    cells[pick.start],
                    cells[end],
                    zip(*(cells[name] for name in pick.costs), strict=True),
                    strict=True,
                )
                number += batch.num_rows
        except (self._pa.ArrowException, OSError) as error:
            raise broken(self._name, error) from None

    def _cells(self, column: Any, *, time: bool) -> list[Any]:
        pa = self._pa
        kind = column.type
        if time and (pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
            zone = getattr(kind, "tz", None)
            column = column.cast(pa.timestamp("ms", zone), safe=False).cast(pa.int64())
        found: list[Any] = column.to_pylist()
        if pa.types.is_map(kind):
            return [None if cell is None else tuple(cell) for cell in found]
        if pa.types.is_struct(kind):
            return [None if cell is None else tuple(cell.items()) for cell in found]
        return found
