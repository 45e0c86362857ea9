"""One file of the spool: lines of JSON, each behind its checksum, and the lock on the folder.

    7c211433 {"run_id": ...}

A line that was torn by a kill or damaged on the disk does not match its checksum.
"""

from __future__ import annotations

import errno
import fcntl
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

SUFFIX = ".spool"
_DIGITS = 8


class SpoolState(NamedTuple):
    """What the spool holds; `bytes` are on the disk, `in_memory` counts segments."""

    bytes: int
    segments: int
    in_memory: int
    usable: bool
    oldest_ms: int | None


class SpoolFile(NamedTuple):
    number: int
    path: Path
    bytes: int
    segments: int
    written_ms: int


class Contents(NamedTuple):
    """The whole lines of a file, and how many were damaged.

    A last line that is torn is neither: whoever wrote it was killed before anybody relied
    on it, and offers it again.
    """

    lines: list[bytes]
    damaged: int


class InUse(Exception):
    """Another process has the folder."""


def read_file(path: Path) -> Contents:
    """Raises OSError."""
    lines: list[bytes] = []
    damaged = 0
    *rows, _torn = path.read_bytes().split(b"\n")
    for row in rows:
        line = row[_DIGITS + 1 :]
        if b"%08x " % zlib.crc32(line) == row[: _DIGITS + 1]:
            lines.append(line)
        else:
            damaged += 1
    return Contents(lines, damaged)


def numbered(folder: Path) -> Iterator[tuple[int, Path, int]]:
    """The files of the spool, oldest first, with their numbers and sizes."""
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            stem, dot, suffix = entry.name.partition(".")
            if f"{dot}{suffix}" == SUFFIX and stem.isascii() and stem.isdigit():
                found.append((int(stem), Path(entry.path), entry.stat().st_size))
    return iter(sorted(found))


def take_folder(folder: Path) -> int:
    """The folder, made where it is missing, held by a lock that ends with the process.

    The lock is on the folder itself, so that it needs no room and no right to write.
    Raises InUse, or OSError when there is no such folder and it cannot be made.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        if isinstance(error, BlockingIOError):
            raise InUse(
                f"{folder} is used by another agent: one agent runs on a node. Stop the other "
                "one, or give this one a folder of its own (forward.spool_folder)"
            ) from None
        raise
    return handle


def in_words(error: OSError) -> str:
    """Why the disk cannot be used."""
    return {
        errno.ENOSPC: "the disk is full",
        errno.EDQUOT: "its quota is used up",
        errno.EROFS: "it is on a read-only file system",
        errno.EACCES: "this user may not write there",
    }.get(error.errno or 0, error.strerror or str(error))
