"""The ledger's families as text, without computing twice what did not change.

A snapshot shares its chunks with the one before. For each chunk this keeps one layout, the
lines of its series with a gap for every number, valid as long as the labels stay the same
object, and the finished block, valid as long as the chunk does and no veil in it moves.
Python's own `bytes % tuple` fills the 256 gaps of a block in one call: about 0.1 µs a series.

Numbers are written from integers and never pass through a float: `1234567890` nano-USD is
`1234567890e-9` in a large family (valid in both formats, read exactly) and `1.23456789` in a
family of one chunk, which people read.
"""

from __future__ import annotations

from threading import Lock
from typing import NamedTuple

from msgspec import Struct

from costmeter.metrics.blocks import Block
from costmeter.metrics.catalog import FAMILIES, labels_of
from costmeter.metrics.faults import Faults
from costmeter.metrics.text import Shape, header, named
from costmeter.model import Chunk, Snapshot

#: A process whose snapshot is older than this exports nothing of the ledger: after a failover
#: it would otherwise show a counter that another process has already moved on.
STALE_AFTER_MS = 10_000

_FOREVER = 1 << 63


class _Layout(NamedTuple):
    """Lines of a chunk's series with a gap for each number; for `labels`, by identity."""

    labels: tuple[tuple[str, ...], ...]
    plain: bool
    lines: bytes


class _Rendered(Struct, frozen=True):
    """A chunk's block; what is shown at `clock_ms` stays so before `until_ms`."""

    layout: _Layout
    chunk: Chunk
    clock_ms: int
    until_ms: int
    block: Block

    def holds(self, chunk: Chunk, clock_ms: int, plain: bool) -> bool:
        return (
            self.chunk is chunk
            and self.layout.plain is plain
            and (self.clock_ms <= clock_ms < self.until_ms or clock_ms == self.clock_ms)
        )


class Renderer:
    """Renders snapshots; safe to call from several threads, which then share the work."""

    def __init__(self, extra_labels: tuple[str, ...], faults: Faults | None = None) -> None:
        self._faults = faults or Faults()
        self._shapes = [
            Shape(family, labels_of(family.name, extra_labels))
            for family in FAMILIES
            if family.source == "ledger"
        ]
        self._headers = {
            (family.name, openmetrics): Block(header(family, openmetrics))
            for family in (shape.family for shape in self._shapes)
            for openmetrics in (False, True)
        }
        self._kept: dict[str, dict[int, _Rendered]] = {}
        self._lock = Lock()

    def render(
        self,
        snapshot: Snapshot | None,
        now_ms: int,
        names: frozenset[str] | None,
        openmetrics: bool,
    ) -> list[Block]:
        """The page of `snapshot` in catalog order; `names`, unless None, are all it may show.

        Empty without a snapshot or with one whose heartbeat is over 10 s old. A family
        without series is left out, and so is one that cannot be rendered (its fault is noted).
        """
        if snapshot is None or abs(now_ms - snapshot.heartbeat_ms) > STALE_AFTER_MS:
            return []
        page: list[Block] = []
        with self._lock:
            for shape in self._shapes:
                family = shape.family
                if names is not None and not named(family, names):
                    continue
                try:
                    blocks = self._family(shape, snapshot)
                except Exception as error:  # noqa: BLE001  # the others are still right
                    self._kept.pop(family.name, None)
                    self._faults.note(family.name, error)
                    continue
                if blocks:
                    page.append(self._headers[family.name, openmetrics])
                    page += blocks
        return page

    def _family(self, shape: Shape, snapshot: Snapshot) -> list[Block]:
        name, clock_ms = shape.family.name, snapshot.release_clock_ms
        chunks = [chunk for chunk in snapshot.families.get(name, ()) if chunk.labels]
        if not chunks and name in snapshot.scalars:
            chunks = [Chunk(((),), (snapshot.scalars[name],))]
        plain = len(chunks) == 1
        # Entries move from the old generation to the new one; what is left over in the old one
        # belongs to no chunk any more.
        old = self._kept.pop(name, {})
        new: dict[int, _Rendered] = {}
        blocks: list[Block] = []
        for chunk in chunks:
            if len(chunk.labels) != len(chunk.values):
                raise ValueError(f"{len(chunk.values)} values for {len(chunk.labels)} series")
            kept = old.pop(id(chunk.labels), None)
            if kept is None or not kept.holds(chunk, clock_ms, plain):
                if kept is not None and kept.layout.plain is plain:
                    layout = kept.layout
                else:
                    layout = _Layout(chunk.labels, plain, shape.lines(chunk.labels, plain))
                block = Block(layout.lines, shape.gaps(chunk.shown(clock_ms), plain))
                until_ms = _still_until(chunk, clock_ms)
                kept = _Rendered(layout, chunk, clock_ms, until_ms, block)
            new[id(chunk.labels)] = kept
            blocks.append(kept.block)
        self._kept[name] = new
        return blocks


def _still_until(chunk: Chunk, clock_ms: int) -> int:
    """The first instant after `clock_ms` at which the chunk may show something else."""
    until_ms = _FOREVER
    for _, hold_until_ms, _, releases in chunk.veils:
        if clock_ms < hold_until_ms:
            until_ms = min(until_ms, hold_until_ms)
            continue
        for _, from_ms, to_ms in releases:
            if from_ms <= clock_ms < to_ms:
                return clock_ms  # on its way in: another value at any later instant
            if clock_ms < from_ms:
                until_ms = min(until_ms, from_ms)
    return until_ms
