"""Segments that the server will never take, kept beside the spool for a person to look at."""

from __future__ import annotations

import json
import logging
from pathlib import Path

_log = logging.getLogger("costmeter.agent")

NAME = "rejected.ndjson"
#: Two files of this size: the one being written and the one before it.
MOST_BYTES = 4 << 20


class Rejects:
    """Appends `{"field", "reason", "segment"}` to rejected.ndjson; never raises OSError."""

    def __init__(self, folder: Path, most_bytes: int = MOST_BYTES) -> None:
        self._path = folder / NAME
        self._most_bytes = most_bytes

    def keep(self, refused: list[tuple[bytes, str, str]]) -> None:
        """Each as (line of the spool, field, reason)."""
        rows = b"".join(
            b'{"field":%s,"reason":%s,"segment":%s}\n'
            % (json.dumps(field).encode(), json.dumps(reason).encode(), line)
            for line, field, reason in refused
        )
        try:
            if self._path.exists() and self._path.stat().st_size + len(rows) > self._most_bytes:
                self._path.replace(self._path.with_name(f"{NAME}.1"))
            with self._path.open("ab") as file:
                file.write(rows)
        except OSError as error:
            _log.error("refused segments cannot be kept in %s: %s", self._path, error.strerror)
