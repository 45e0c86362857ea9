"""Segments on the disk until the server has booked them: files that are only appended to.

Oldest first, on the disk and on the way out. When the spool is full, the oldest are kept
and what is new is dropped and counted. When the disk cannot be used, segments wait in
memory as far as there is room, and go to the disk as soon as it can be used again.
"""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from threading import Lock

from costmeter.agent.spool_file import SpoolFile, SpoolState, in_words, numbered, read_file
from costmeter.agent.spool_writing import Writing
from costmeter.clock import Clock
from costmeter.tally import Tally

_log = logging.getLogger("costmeter.agent")

#: Small enough to be read at once, and for little to be sent twice after a kill.
FILE_BYTES = 1 << 20
#: What waits in memory while the disk cannot be used: a node of eight busy GPUs fills it
#: in some hours.
MEMORY_BYTES = 4 << 20
#: After the disk has failed it is left alone for a while.
RETRY_MS = 10_000

DROPPED = "costmeter_agent_segments_dropped_total"


class Spool:
    """A bounded folder of segments that wait. Thread-safe; no method raises OSError.

    `lease` hands out the oldest, which stay until `done` settles them.
    """

    def __init__(
        self,
        folder: Path,
        most_bytes: int,
        clock: Clock,
        tally: Tally,
        *,
        file_bytes: int = FILE_BYTES,
        memory_bytes: int = MEMORY_BYTES,
    ) -> None:
        self._folder = folder
        self._most_bytes = most_bytes
        self._clock = clock
        self._tally = tally
        self._file_bytes = file_bytes
        self._memory_bytes = memory_bytes
        self._lock = Lock()
        self._files: deque[SpoolFile] = deque()
        self._number = 0
        self._open: Writing | None = None
        self._memory: deque[bytes] = deque()
        self._memory_used = 0
        self._memory_since_ms: int | None = None
        self._broken_until_ms: int | None = None
        self._said = ""
        self._full = False
        # The lease: rows of the oldest file, or of memory.
        self._leased: deque[bytes] | None = None
        self._state = SpoolState(0, 0, 0, True, None)
        for reason in ("spool_full", "memory_full", "damaged"):
            tally.add(DROPPED, reason, by=0)
        self._look()
        self._publish()

    def _look(self) -> None:
        """What the last process left, counted by its lines."""
        try:
            for number, path, size in numbered(self._folder):
                self._number = max(self._number, number)
                segments = path.read_bytes().count(b"\n")
                modified_ms = int(path.stat().st_mtime * 1000)
                self._files.append(SpoolFile(number, path, size, segments, modified_ms))
        except FileNotFoundError:
            return
        except OSError as error:
            self._broken(error)
        if self._files:
            waiting = sum(file.segments for file in self._files)
            _log.info("%d segments of GPU time wait in %s", waiting, self._folder)

    def append(self, lines: Sequence[bytes]) -> None:
        """Keep lines until they are settled; on the disk when this returns, where it can be."""
        if not lines:
            return
        with self._lock:
            for line in lines:
                self._memory.append(line)
                self._memory_used += len(line)
            if self._memory_since_ms is None:
                self._memory_since_ms = self._clock.now_ms()
            self._flush()
            self._bound_memory()
            self._publish()

    def flush(self) -> None:
        """Try the disk again for what waits in memory."""
        with self._lock:
            self._flush()
            self._publish()

    def _flush(self) -> None:
        if not self._memory or self._paused() or self._memory_is_leased():
            return
        lines = list(self._memory)
        room = self._most_bytes - sum(file.bytes for file in self._files)
        room -= self._open.file.bytes if self._open else 0
        kept: list[bytes] = []
        for line in lines:
            room -= len(line) + 10
            if room < 0:
                break
            kept.append(line)
        if kept and not self._write(kept):
            return
        self._memory.clear()
        self._memory_used, self._memory_since_ms = 0, None
        self._drop_new(len(lines) - len(kept))

    def _drop_new(self, lines: int) -> None:
        if lines:
            self._tally.add(DROPPED, "spool_full", by=lines)
            if not self._full:
                _log.error(
                    "the spool %s is full (forward.spool_bytes: %d): the oldest GPU time is kept, "
                    "new GPU time is dropped until the server takes what is there",
                    self._folder,
                    self._most_bytes,
                )
        self._full = bool(lines)

    def _bound_memory(self) -> None:
        # What was there before had room: only what just came is dropped, never what is leased.
        dropped = 0
        while self._memory_used > self._memory_bytes and self._memory:
            self._memory_used -= len(self._memory.pop())
            dropped += 1
        if dropped:
            self._tally.add(DROPPED, "memory_full", by=dropped)

    def _write(self, lines: Sequence[bytes]) -> bool:
        try:
            if self._open is None:
                self._number += 1
                self._open = Writing(self._folder, self._number, self._clock.now_ms())
            self._open.add(lines)
        except OSError as error:
            self._end_writing()
            self._broken(error)
            return False
        if self._open.file.bytes >= self._file_bytes:
            self._end_writing()
        self._mended()
        return True

    def _end_writing(self) -> None:
        writing, self._open = self._open, None
        file = writing.end() if writing is not None else None
        if file is not None:
            self._files.append(file)

    def lease(self, most: int, most_bytes: int) -> list[bytes]:
        """The oldest lines, at least one where there is any; the same again until `done`."""
        with self._lock:
            while not self._leased:
                if self._leased is not None:
                    self._settled()
                more = self._next()
                self._publish()
                if not more:
                    return []
            found: list[bytes] = []
            size = 0
            for line in self._leased:
                size += len(line) + 1
                if found and (len(found) >= most or size > most_bytes):
                    break
                found.append(line)
            return found

    def _next(self) -> bool:
        """Lease the oldest file, the one being written last, then what is in memory."""
        if not self._files:
            self._end_writing()
        while self._files:
            file = self._files[0]
            try:
                contents = read_file(file.path)
            except OSError as error:
                self._files.popleft()
                self._lost(file.segments, f"{file.path} cannot be read: {error.strerror}")
                continue
            if contents.damaged:
                self._lost(contents.damaged, f"{file.path} holds damaged lines")
            self._leased = deque(contents.lines)
            if contents.lines:
                return True
            self._settled()
        self._leased = deque(self._memory) if self._memory else None
        return self._leased is not None

    def _lost(self, segments: int, why: str) -> None:
        self._tally.add(DROPPED, "damaged", by=segments)
        _log.error("%d segments of GPU time are lost: %s", segments, why)

    def done(self, lines: int) -> None:
        """The first `lines` of the lease are settled: the server has them, or never will."""
        with self._lock:
            if self._leased is None:
                return
            in_memory = self._memory_is_leased()
            for _ in range(min(lines, len(self._leased))):
                line = self._leased.popleft()
                if in_memory and self._memory:
                    self._memory.popleft()
                    self._memory_used -= len(line)
            if not self._leased:
                self._settled()
            self._publish()

    def release(self) -> None:
        """The lease failed: what is in memory may go to the disk meanwhile."""
        with self._lock:
            if self._memory_is_leased():
                self._leased = None

    def _memory_is_leased(self) -> bool:
        return self._leased is not None and not self._files

    def _settled(self) -> None:
        """All of the lease is settled: its file goes."""
        from_disk = bool(self._files)
        self._leased = None
        if not from_disk and not self._memory:
            self._memory_since_ms = None
        if from_disk:
            file = self._files.popleft()
            with contextlib.suppress(OSError):
                file.path.unlink(missing_ok=True)

    def state(self) -> SpoolState:
        """As it was after the last change. Takes no lock: a scrape waits for no disk."""
        return self._state

    def _publish(self) -> None:
        files = [*self._files, *([self._open.file] if self._open else [])]
        on_disk = sum(file.segments for file in files)
        if self._files and self._leased is not None:
            on_disk += len(self._leased) - self._files[0].segments
        self._state = SpoolState(
            bytes=sum(file.bytes for file in files),
            segments=on_disk + len(self._memory),
            in_memory=len(self._memory),
            usable=self._broken_until_ms is None,
            oldest_ms=files[0].written_ms if files else self._memory_since_ms,
        )

    def close(self) -> None:
        with self._lock:
            self._broken_until_ms = None
            if not self._memory_is_leased():
                self._flush()
            self._end_writing()
            self._publish()

    def _paused(self) -> bool:
        until = self._broken_until_ms
        return until is not None and self._clock.monotonic_ms() < until

    def _broken(self, error: OSError) -> None:
        self._broken_until_ms = self._clock.monotonic_ms() + RETRY_MS
        why = in_words(error)
        if why != self._said:
            self._said = why
            _log.error(
                "the spool %s cannot be used: %s; GPU time waits in memory, up to %d bytes",
                self._folder,
                why,
                self._memory_bytes,
            )

    def _mended(self) -> None:
        self._broken_until_ms = None
        if self._said:
            self._said = ""
            _log.info("the spool %s can be used again", self._folder)
