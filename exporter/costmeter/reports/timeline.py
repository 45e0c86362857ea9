"""Samples with times as OpenMetrics text, series after series, into one file or several.

A value that holds for a while is one run: its lines differ by their time alone, and one
`join` writes them. So the work is a run's, not a sample's, and nothing of a family is held
but the series that is written.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from typing import IO, NamedTuple

from costmeter.metrics.text import escaped


class Part(NamedTuple):
    """A file that takes the samples within [since, until); parts follow each other."""

    file: IO[bytes]
    since_ms: int
    until_ms: int


class Grid:
    """Ascending instants, whole seconds, at which samples may stand."""

    def __init__(self, instants_ms: Sequence[int], parts: Sequence[Part]) -> None:
        self.at_ms = tuple(instants_ms)
        self.stamps = [_stamp(at_ms) for at_ms in self.at_ms]
        self._ends = [bisect_left(self.at_ms, part.until_ms) for part in parts]

    def __len__(self) -> int:
        return len(self.at_ms)

    def after(self, at_ms: int) -> int:
        """The place of the first instant after `at_ms`."""
        return bisect_right(self.at_ms, at_ms)

    def cut(self, first: int, last: int) -> Iterator[tuple[int, int, int]]:
        """The places [first, last) by part: its number, and the places of it."""
        number = bisect_right(self._ends, first)
        while first < last:
            end = min(last, self._ends[number])
            yield number, first, end
            first, number = end, number + 1


class Timeline:
    """Writes families one after the other, each series of one in the order of time."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = parts
        self.samples = 0

    def grid(self, instants_ms: Sequence[int]) -> Grid:
        return Grid(instants_ms, self._parts)

    def family(self, name: str, kind: str, text: str) -> None:
        """Begin a family; a counter is named without its `_total` there."""
        named = name.removesuffix("_total") if kind == "counter" else name
        quoted = escaped(text)
        for part in self._parts:
            part.file.write(f"# HELP {named} {quoted}\n# TYPE {named} {kind}\n".encode())

    def run(self, head: bytes, grid: Grid, first: int, last: int) -> None:
        """The same value at the places [first, last) of a grid; `head` ends with it."""
        for number, low, high in grid.cut(first, last):
            self._parts[number].file.write(head + head.join(grid.stamps[low:high]))
            self.samples += high - low

    def point(self, head: bytes, at_ms: int) -> None:
        """One sample beside the grid."""
        for part in self._parts:
            if part.since_ms <= at_ms < part.until_ms:
                part.file.write(head + _stamp(at_ms))
                self.samples += 1

    def end(self) -> None:
        for part in self._parts:
            part.file.write(b"# EOF\n")


def series_head(name: str, labels: Sequence[tuple[str, str]]) -> bytes:
    """How the lines of a series begin, up to its value. An empty label is an absent one."""
    pairs = ",".join(f'{label}="{escaped(value)}"' for label, value in labels if value)
    text = f"{name}{{{pairs}}} " if pairs else f"{name} "
    # A lone surrogate has no UTF-8; one odd label must not cost the file.
    return text.encode(errors="replace")


def _stamp(at_ms: int) -> bytes:
    return b" %d\n" % (at_ms // 1000)
