"""The file of the spool that is being appended to."""

from __future__ import annotations

import contextlib
import os
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from costmeter.agent.spool_file import SUFFIX, SpoolFile


class Writing:
    """A new file; `file` says what is in it. Raises OSError."""

    def __init__(self, folder: Path, number: int, now_ms: int) -> None:
        self._handle, path = create_file(folder, number)
        self.file = SpoolFile(number, path, 0, 0, now_ms)

    def add(self, lines: Sequence[bytes]) -> None:
        """Append lines; they are on the disk when this returns. Raises OSError, and then
        nothing of them is there."""
        data = encoded(lines)
        try:
            write_all(self._handle, data)
            os.fdatasync(self._handle)
        except OSError:
            # Half a line would hide the next one.
            with contextlib.suppress(OSError):
                os.ftruncate(self._handle, self.file.bytes)
            raise
        size, count = self.file.bytes + len(data), self.file.segments + len(lines)
        self.file = self.file._replace(bytes=size, segments=count)

    def end(self) -> SpoolFile | None:
        """Close it; None when nothing is in it, and it is gone."""
        with contextlib.suppress(OSError):
            os.close(self._handle)
        if self.file.segments:
            return self.file
        with contextlib.suppress(OSError):
            self.file.path.unlink()
        return None


def encoded(lines: Iterable[bytes]) -> bytes:
    return b"".join([b"%08x %s\n" % (zlib.crc32(line), line) for line in lines])


def write_all(handle: int, data: bytes) -> None:
    """Raises OSError; what of the data was written then is not known."""
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def create_file(folder: Path, number: int) -> tuple[int, Path]:
    """A new file to append to, known to the folder for good. Raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{number:012d}{SUFFIX}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
    handle = os.open(path, flags, 0o600)
    parent = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)
    return handle, path
