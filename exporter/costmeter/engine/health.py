"""Whether the exporter is well, for its probes, its log and its metrics."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from costmeter.ledger.door import Unavailable
from costmeter.ledger.store import LedgerError, Store, plain_reason
from costmeter.model import Snapshot

#: Older than this, a snapshot's figures are not exported.
STALE_AFTER_MS = 10_000


class Health(Struct, frozen=True):
    """`healthy` is false when only a restart helps, `ready` when figures are not shown."""

    healthy: bool
    ready: bool
    reasons: tuple[str, ...]


def staleness(snapshot: Snapshot | None, now_ms: int) -> list[str]:
    """Why the figures of this snapshot are not shown; empty when they are."""
    if snapshot is None:
        return ["the ledger has not been read yet"]
    age_ms = now_ms - snapshot.heartbeat_ms
    if abs(age_ms) <= STALE_AFTER_MS:
        return []
    return [
        f"the newest state of the ledger is {age_ms // 1000} s old, so no llm_* figures are shown"
    ]


def disk(store: Store) -> dict[str, dict[tuple[str, ...], float]]:
    """The ledger's size and the space left, by family, in bytes; absent when unknown."""
    try:
        files = [store.path.with_name(store.path.name + suffix) for suffix in ("", "-wal", "-shm")]
        size = sum(path.stat().st_size for path in files if path.exists())
        free = shutil.disk_usage(store.path.parent).free
    except OSError:
        return {}
    return {
        "costmeter_ledger_size_bytes": {(): float(size)},
        "costmeter_ledger_free_bytes": {(): float(free)},
    }


@contextmanager
def in_plain_words(path: Path) -> Iterator[None]:
    """What SQLite says at the start, for the person who started the exporter."""
    try:
        yield
    except sqlite3.Error as error:
        raise LedgerError(plain_reason(error, path)[1]) from error
    except Unavailable as error:
        raise LedgerError(str(error)) from error
