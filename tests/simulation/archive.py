"""From scraped pages to blocks of a Prometheus database: OpenMetrics with times, one file a block.

promtool turns each file into one block, beside the simulation that goes on. Were they one file,
promtool would read all of it once for each block.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, NamedTuple

from rules.tools import program
from simulation.plan import Fold

#: The longest blocks that promtool 2.42 makes under --max-block-duration=24h: of the lengths
#: 2 h, 6 h, 18 h, 54 h, which begin at multiples of theirs.
BLOCK_MS = 18 * 3_600_000

_LABEL = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"')
#: A recorded value is remembered for so long, as `last_over_time(...[10m])` does.
_MEMORY_MS = 600_000


class _Known(NamedTuple):
    """A scraped series: how its line begins, and the recorded series that it is part of."""

    start: bytes
    folds: tuple[bytes, ...]


class Page(NamedTuple):
    """What a target answered, and after how long."""

    text: bytes
    seconds: float


class BlockFiles:
    """Takes lines in the order of time and hands each finished block to promtool."""

    def __init__(self, folder: Path, blocks: Path) -> None:
        self._folder = folder
        self._blocks = blocks
        self._number: int | None = None
        self._file: IO[bytes] | None = None
        self._working: subprocess.Popen[bytes] | None = None
        self._being_read: Path | None = None
        self.samples = 0
        folder.mkdir(parents=True, exist_ok=True)
        blocks.mkdir(parents=True, exist_ok=True)

    def write(self, at_ms: int, lines: Sequence[bytes]) -> None:
        """Lines that end in a newline and carry this instant."""
        number = at_ms // BLOCK_MS
        if number != self._number:
            self._finish()
            self._number = number
            self._file = self._path(number).open("wb")
        assert self._file is not None
        self._file.write(b"".join(lines))
        self.samples += len(lines)

    def close(self) -> None:
        """Every block is there when this returns."""
        self._finish()
        self._wait()

    def _finish(self) -> None:
        if self._file is None or self._number is None:
            return
        self._file.write(b"# EOF\n")
        self._file.close()
        self._file = None
        self._wait()
        self._being_read = self._path(self._number)
        self._working = subprocess.Popen(
            [
                program("promtool"), "tsdb", "create-blocks-from", "--max-block-duration=24h",
                "--quiet", "openmetrics", str(self._being_read), str(self._blocks),
            ],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip

    def _wait(self) -> None:
        if self._working is None or self._being_read is None:
            return
        _, said = self._working.communicate()
        if self._working.returncode:
            raise AssertionError(f"promtool refuses {self._being_read}: {said.decode()}")
        self._being_read.unlink()
        self._working = None

    def _path(self, number: int) -> Path:
        return self._folder / f"{number}.om"


class Scraper:
    """What Prometheus does with a page: labels of its target, `up`, and recording at once."""

    def __init__(
        self, files: BlockFiles, folds: Mapping[str, Sequence[Fold]], job: str = "costmeter"
    ) -> None:
        self._files = files
        self._folds = folds
        self._job = job
        self._known: dict[str, dict[bytes, _Known]] = {}
        self._clamped: set[bytes] = set()
        self._last: dict[bytes, tuple[int, bytes]] = {}

    def scrape(self, at_ms: int, pages: Mapping[str, Page | None]) -> None:
        """Keep the pages of one pass by instance; None is a target that did not answer."""
        stamp = b" %d.%03d\n" % divmod(at_ms, 1000)
        lines: list[bytes] = []
        recorded: dict[bytes, bytes] = {}
        for instance, page in pages.items():
            target = f'{{job="{self._job}",instance="{instance}"}}'.encode()
            lines.append(b"up%b %d%b" % (target, page is not None, stamp))
            if page is None:
                continue
            known = self._known.setdefault(instance, {})
            before = len(lines)
            for line in page.text.splitlines():
                if line[:1] == b"#":
                    continue
                key, _, value = line.rpartition(b" ")
                series = known.get(key)
                if series is None:
                    series = known[key] = self._learn(instance, key.decode())
                lines.append(series.start + value + stamp)
                for record in series.folds:
                    other = recorded.get(record)
                    if other is None or float(value) > float(other):
                        recorded[record] = value
            count = len(lines) - before
            lines.append(b"scrape_samples_scraped%b %d%b" % (target, count, stamp))
            lines.append(b"scrape_duration_seconds%b %.6f%b" % (target, page.seconds, stamp))
        for record, value in recorded.items():
            shown = self._clamp(record, at_ms, value) if record in self._clamped else value
            lines.append(record + shown + stamp)
        self._files.write(at_ms, lines)

    def _clamp(self, record: bytes, at_ms: int, value: bytes) -> bytes:
        last_ms, last = self._last.get(record, (0, b"0"))
        if at_ms - last_ms <= _MEMORY_MS and value != last:
            before = float(last)
            if 0.99 * before < float(value) < before:
                value = last
        self._last[record] = (at_ms, value)
        return value

    def _learn(self, instance: str, key: str) -> _Known:
        name, _, rest = key.partition("{")
        labels = dict(_LABEL.findall(rest))
        labels |= {"job": self._job, "instance": instance}
        folds = []
        for fold in self._folds.get(name, ()):
            kept = {label: text for label, text in labels.items() if label not in fold.without}
            folds.append(_series(fold.record, kept))
            if fold.clamped:
                self._clamped.add(folds[-1])
        return _Known(_series(name, labels), tuple(folds))


def _series(name: str, labels: Mapping[str, str]) -> bytes:
    """A series as a line begins; label values are escaped already."""
    pairs = ",".join(f'{label}="{text}"' for label, text in labels.items())
    return f"{name}{{{pairs}}} ".encode()
