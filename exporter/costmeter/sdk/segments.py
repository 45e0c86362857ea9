"""The files of a spool: who owns them, how much they hold, and how they are read."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from costmeter.sdk.event import Line

try:
    import fcntl
except ImportError:  # Windows has no flock
    fcntl = None  # type: ignore[assignment]

_LOCK, _SEGMENT = ".lock", ".ndjson"


@dataclass(eq=False, slots=True)
class Owner:
    """A lock that is held: the process that wrote these segments, or the one that took over."""

    name: str
    path: Path
    fd: int
    segments: int = 0

    def release(self, *, delete: bool) -> None:
        """Delete before the lock goes, so that nobody takes a lock that is about to vanish."""
        if self.fd < 0:
            return
        try:
            if delete:
                self.path.unlink(missing_ok=True)
        finally:
            os.close(self.fd)
            self.fd = -1


@dataclass(eq=False, slots=True)
class Segment:
    """One file of lines. `events` counts a torn last line too: it was an event once."""

    path: Path
    owner: Owner
    events: int = 0
    bytes: int = 0

    def measure(self) -> None:
        """Count what another process wrote. Raises OSError."""
        text = self.path.read_bytes()
        self.bytes = len(text)
        self.events = text.count(b"\n") + (not text.endswith(b"\n") and bool(text))


def take_ownership(folder: Path, name: str) -> Owner | None:
    """The lock of `name`, made when it is missing; None when somebody else holds it.

    Raises OSError when the folder cannot be written, or has no locks.
    """
    if fcntl is None:
        raise OSError("this system has no file locks, and a spool needs them")
    path = folder / f"{name}{_LOCK}"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Its last owner may have deleted it between our open and our lock.
        if os.fstat(fd).st_ino == path.stat().st_ino:
            return Owner(name, path, fd)
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        os.close(fd)
        raise
    os.close(fd)
    return None


def owners_in(folder: Path) -> Mapping[str, Sequence[Path]]:
    """The segments in a folder by owner, oldest first. Raises OSError."""
    found: dict[str, list[Path]] = {}
    for entry in sorted(os.listdir(folder)):  # noqa: PTH208 - names alone are asked for
        name, dot, ending = entry.rpartition(".")
        if dot + ending == _SEGMENT:
            found.setdefault(name.rpartition("-")[0], []).append(folder / entry)
        elif dot + ending == _LOCK:
            found.setdefault(name, [])
    return found


def folder_bytes(folder: Path) -> int:
    """Of all segments, whoever wrote them."""
    with os.scandir(folder) as entries:
        return sum(_size(entry) for entry in entries if entry.name.endswith(_SEGMENT))


def holds_segments(folder: Path) -> bool:
    """True when something may wait there; false when nobody can tell."""
    try:
        with os.scandir(folder) as entries:
            return any(entry.name.endswith(_SEGMENT) for entry in entries)
    except OSError:
        return False


def write_all(fd: int, text: bytes, size: int) -> None:
    """All of the text or none of it: half a line would spoil the next one.

    `size` is the file's before. Raises OSError.
    """
    try:
        rest = memoryview(text)
        while rest:
            rest = rest[os.write(fd, rest) :]
    except OSError:
        with contextlib.suppress(OSError):
            os.ftruncate(fd, size)
        raise


def read_segment(path: Path) -> Sequence[Line]:
    """The lines that are whole. A missing file holds none. Raises OSError."""
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return ()
    return [line for piece in text.split(b"\n") if piece and (line := _line(piece)) is not None]


def _line(text: bytes) -> Line | None:
    try:
        event = json.loads(text)
        at_ms = event["timestamp"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return Line(at_ms, text) if isinstance(at_ms, int) else None


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat().st_size
    except FileNotFoundError:
        return 0
