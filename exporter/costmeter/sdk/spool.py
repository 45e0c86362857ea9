"""Events on the disk while the server is away: append-only files that survive the process.

Every process writes segments of its own, `<owner>-<number>.ndjson`, and holds a lock on
`<owner>.lock` as long as it lives. A lock that can be taken therefore belongs to a process
that has ended, and whoever takes it delivers what that process left. The server recognises
what it has booked already, so a segment is simply sent again from its start.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from threading import Lock

from costmeter.sdk.counts import Books
from costmeter.sdk.event import Line
from costmeter.sdk.notices import Notices
from costmeter.sdk.segments import (
    Owner,
    Segment,
    folder_bytes,
    owners_in,
    read_segment,
    take_ownership,
    write_all,
)

#: Small enough to be read at once, and for little to be sent twice after a kill.
SEGMENT_BYTES = 1 << 20
_SYNC_SECONDS = 1.0
#: After the disk has failed it is left alone for a while; a full spool may empty sooner.
_BROKEN_SECONDS = 10.0
_FULL_SECONDS = 1.0


class Spool:
    """A bounded folder of waiting events. Thread-safe; no method raises OSError."""

    def __init__(
        self, folder: Path, most_bytes: int, max_age_ms: float, books: Books, notices: Notices
    ) -> None:
        self._folder = folder
        self._most_bytes = most_bytes
        self._max_age_ms = max_age_ms
        self._books = books
        self._notices = notices
        self._lock = Lock()
        self._closed = False
        self._full_until = 0.0
        self._broken_until = 0.0
        self._owner: Owner | None = None
        # Being written.
        self._number = 0
        self._writing: Segment | None = None
        self._fd = -1
        self._synced = 0.0
        self._used_bytes = 0
        # Waiting to be read, and being read.
        self._segments: deque[Segment] = deque()
        self._current: Segment | None = None
        self._rest: Sequence[Line] = ()
        self.events = 0

    def append(self, lines: Sequence[Line]) -> Sequence[Line]:
        """Write lines to the disk; those for which there was no room, or no disk."""
        with self._lock:
            if self._closed or not lines or self._paused:
                return lines
            try:
                return self._append(lines)
            except OSError as error:
                self._broken(error)
                return lines

    def _append(self, lines: Sequence[Line]) -> Sequence[Line]:
        segment = self._writing or self._begin()
        room = self._most_bytes - self._used_bytes
        text: list[bytes] = []
        for line in lines:
            room -= len(line.json) + 1
            if room < 0:
                self._full()
                break
            text.append(line.json)
        if text:
            written = b"\n".join(text) + b"\n"
            write_all(self._fd, written, segment.bytes)
            segment.bytes += len(written)
            segment.events += len(text)
            self.events += len(text)
            self._used_bytes += len(written)
            self._sync()
        if segment.bytes >= SEGMENT_BYTES or room < 0:
            # Others share the folder: the next segment begins with a look at its size.
            self._end_writing()
        return lines[len(text) :]

    def _begin(self) -> Segment:
        """A new segment; the first one also takes the lock that says this process lives."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        while self._owner is None:
            self._owner = take_ownership(self._folder, secrets.token_hex(8))
        self._used_bytes = folder_bytes(self._folder)
        self._number += 1
        path = self._folder / f"{self._owner.name}-{self._number:06d}.ndjson"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        self._fd = os.open(path, flags, 0o600)
        self._writing = Segment(path, self._owner)
        self._owner.segments += 1
        return self._writing

    def _sync(self) -> None:
        now = time.monotonic()
        if now - self._synced >= _SYNC_SECONDS:
            self._synced = now
            os.fdatasync(self._fd)

    def _end_writing(self) -> None:
        segment, self._writing = self._writing, None
        if segment is None:
            return
        with contextlib.suppress(OSError):
            os.fdatasync(self._fd)
        with contextlib.suppress(OSError):
            os.close(self._fd)
        self._fd = -1
        if segment.events:
            self._segments.append(segment)
        else:
            self._delete(segment)

    def lease(self, most: int, now_ms: float) -> Sequence[Line]:
        """The oldest lines, which stay on the disk until `done` says that they are settled.

        Lines that are damaged, or too old for the server, are counted and left out.
        """
        with self._lock:
            if self._closed or time.monotonic() < self._broken_until:
                return ()
            try:
                while not self._rest:
                    if not self._read_next(now_ms):
                        return ()
            except OSError as error:
                self._broken(error)
                return ()
            return self._rest[:most]

    def done(self, lines: int) -> bool:
        """The first `lines` of the lease are settled. False when the spool was closed."""
        with self._lock:
            if self._closed:
                return False
            self._rest = self._rest[lines:]
            self.events -= lines
            if not self._rest:
                self._delete_current()
            return True

    def _read_next(self, now_ms: float) -> bool:
        """Read the oldest segment, its own last. False when there is none."""
        self._delete_current()
        if not self._segments:
            self._end_writing()
        if not self._segments:
            return False
        lines = read_segment(self._segments[0].path)
        segment = self._current = self._segments.popleft()
        self._lost("damaged", segment.events - len(lines), "could not be read")
        oldest = now_ms - self._max_age_ms
        self._rest = [line for line in lines if line.at_ms >= oldest]
        self._lost("too_old", len(lines) - len(self._rest), "were older than the server takes")
        return True

    def _lost(self, reason: str, events: int, why: str) -> None:
        if events > 0:
            self.events -= events
            self._books.drop(reason, events)
            self._notices.say(reason, "%d events in the spool %s and were dropped", events, why)

    def _delete_current(self) -> None:
        segment, self._current = self._current, None
        if segment is not None:
            self._delete(segment)

    def _delete(self, segment: Segment) -> None:
        with contextlib.suppress(OSError):
            segment.path.unlink(missing_ok=True)
        self._used_bytes -= segment.bytes
        owner = segment.owner
        owner.segments -= 1
        if owner is not self._owner and not owner.segments:
            owner.release(delete=True)

    def adopt(self) -> None:
        """Take over what processes left that have ended."""
        with self._lock:
            if self._closed:
                return
            try:
                self._adopt()
            except FileNotFoundError:
                return
            except OSError as error:
                self._broken(error)

    def _adopt(self) -> None:
        held = {owner.name for owner in self._owners()}
        for name, paths in owners_in(self._folder).items():
            owner = None if name in held else take_ownership(self._folder, name)
            if owner is None:
                continue
            for path in paths:
                segment = Segment(path, owner)
                with contextlib.suppress(OSError):
                    segment.measure()
                    owner.segments += 1
                    self._segments.append(segment)
                    self.events += segment.events
                    self._books.adopt(segment.events)
            if not owner.segments:
                owner.release(delete=not paths)

    def _owners(self) -> set[Owner]:
        owners = {segment.owner for segment in self._segments}
        if self._current is not None:
            owners.add(self._current.owner)
        return owners if self._owner is None else owners | {self._owner}

    def close(self) -> None:
        """Let go of everything; what is left belongs to whoever looks next."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._end_writing()
            for owner in self._owners():
                owner.release(delete=not owner.segments)

    def forget(self) -> None:
        """In a forked child: the files are the parent's. Takes no lock, changes no file."""
        self._closed = True
        for fd in {self._fd, *(owner.fd for owner in self._owners())} - {-1}:
            with contextlib.suppress(OSError):
                os.close(fd)

    @property
    def _paused(self) -> bool:
        return time.monotonic() < max(self._full_until, self._broken_until)

    def _full(self) -> None:
        self._full_until = time.monotonic() + _FULL_SECONDS
        self._notices.say(
            "spool_full", "the spool %s is full (%d bytes); new events wait in memory, and are "
            "dropped when that is full too", self._folder, self._most_bytes,
        )  # fmt: skip

    def _broken(self, error: OSError) -> None:
        self._broken_until = time.monotonic() + _BROKEN_SECONDS
        self._end_writing()
        self._notices.say(
            "spool", "the spool %s cannot be used: %s; events wait in memory meanwhile",
            self._folder, error.strerror or error,
        )  # fmt: skip
