"""Makes commits durable beside the writer, which books the next batch meanwhile.

SQLite writes a commit to its write-ahead log and waits for the disk. A batch of events need
not make the writer wait: it is committed without, and one thread here brings the log to the
disk and then lets the answers go, for all batches that have gathered meanwhile at once.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue

_log = logging.getLogger("costmeter.ledger")
#: Told the error, or None when everything committed before is on the disk.
Told = Callable[[OSError | None], None]
# What SQLite itself uses, where the system has it: the log's own times may stay behind.
_sync = getattr(os, "fdatasync", os.fsync)


class LogSync:
    """Whoever calls `after` is told, in order, by the thread that `start` starts.

    The log is opened at the first need, when the ledger's connection has made it. It holds no
    lock of SQLite, so that opening and closing it here takes none away.
    """

    def __init__(self, ledger: Path, sync: Callable[[int], None] = _sync) -> None:
        self._path = f"{ledger.resolve()}-wal"
        self._sync = sync
        self._file = -1
        #: None at the end.
        self._waiting: SimpleQueue[Told | None] = SimpleQueue()
        self._error: OSError | None = None
        self._thread = threading.Thread(target=self._loop, name="ledger-log", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Tell everybody who waits, then end."""
        self._waiting.put(None)
        if self._thread.is_alive():
            self._thread.join()
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    @property
    def failed(self) -> bool:
        """Whether the disk failed. What the log holds may be lost then, whatever a later try
        says: everybody is told the error until `mended`."""
        return self._error is not None

    def mended(self) -> None:
        """All that the log holds is safe in another way."""
        self._error = None

    def after(self, told: Told) -> None:
        """Call `told` when what is committed by now is on the disk."""
        self._waiting.put(told)

    def _loop(self) -> None:
        everybody: list[Told | None] = []
        while None not in everybody:
            everybody = [self._waiting.get()]
            for _ in range(self._waiting.qsize()):
                everybody.append(self._waiting.get())
            if self._error is None and everybody != [None]:
                self._error = self._bring()
            error = self._error
            for told in filter(None, everybody):
                try:
                    told(error)
                except Exception:  # noqa: BLE001 - the others wait, too
                    _log.exception("an answer could not be given")

    def _bring(self) -> OSError | None:
        try:
            if self._file < 0:
                self._file = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
            self._sync(self._file)
        except OSError as error:
            return error
        return None
