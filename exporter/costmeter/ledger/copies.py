"""Backup while running, and restore as a new epoch."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

from costmeter.ledger.schema import SCHEMA_VERSION
from costmeter.ledger.store import (
    LedgerError,
    Store,
    lock_for_writing,
    plain_reason,
    transaction,
)

_PAGES_A_STEP = 2_000
#: meta key that makes the next start begin a new epoch.
RESTORED = "restored_from"


def back_up(store: Store, target: Path, progress: Callable[[int, int], None] | None = None) -> None:
    """Copy a consistent state of the ledger to `target`, beside a running writer.

    `progress` is told (pages done, pages in all). Raises LedgerError; `target` appears
    only when it is complete and on the disk.
    """
    if target.exists():
        raise LedgerError(f"{target} exists already; name a new file")
    partial = target.with_name(target.name + ".partial")
    partial.unlink(missing_ok=True)
    source = store.reader()
    try:
        # A commit of the writer between two steps would have the copy begin again, and
        # beside a busy writer it would never end: stay with one state of the ledger.
        source.execute("BEGIN")
        source.execute("SELECT count(*) FROM meta").fetchone()
        copy = sqlite3.connect(partial)
        try:
            source.backup(
                copy,
                pages=_PAGES_A_STEP,
                progress=None
                if progress is None
                else (lambda _, left, total: progress(total - left, total)),
            )
            copy.execute("PRAGMA journal_mode = DELETE")
        finally:
            copy.close()
        _sync(partial)
        partial.rename(target)
        _sync(target.parent)
    except (sqlite3.Error, OSError) as error:
        partial.unlink(missing_ok=True)
        raise LedgerError(
            f"the backup to {target} failed: {plain_reason(error, target)[1]}"
        ) from error
    finally:
        source.close()


def restore(backup: Path, path: Path) -> None:
    """Put a backup in the ledger's place; counters begin a new epoch at 0.

    The ledger that was there is kept beside it as `<name>.before-restore`. Raises
    LedgerError when the backup is no ledger or an exporter is running on `path`.
    """
    _check(backup)
    # Not the link: what it leads to is replaced.
    path = path.resolve()
    # The lock proves that no exporter writes here; it need not be a ledger in good order.
    lock = lock_for_writing(path)
    try:
        _replace(backup, path)
    finally:
        lock.close()


def _replace(backup: Path, path: Path) -> None:
    partial = path.with_name(path.name + ".restoring")
    partial.unlink(missing_ok=True)
    try:
        source, copy = sqlite3.connect(f"{backup.resolve().as_uri()}?mode=ro", uri=True), None
        try:
            copy = sqlite3.connect(partial, isolation_level=None)
            source.backup(copy)
            with transaction(copy):
                copy.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (RESTORED, backup.name))
        finally:
            source.close()
            if copy is not None:
                copy.close()
        _sync(partial)
        _set_aside(path)
        partial.rename(path)
        _sync(path.parent)
    except (sqlite3.Error, OSError) as error:
        partial.unlink(missing_ok=True)
        raise LedgerError(f"the restore failed: {plain_reason(error, path)[1]}") from error


def _check(backup: Path) -> None:
    if not backup.is_file():
        raise LedgerError(f"there is no backup at {backup}")
    try:
        connection = sqlite3.connect(f"{backup.resolve().as_uri()}?mode=ro", uri=True)
        try:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            lines = connection.execute("PRAGMA integrity_check").fetchall()
            connection.execute("SELECT v FROM meta WHERE k = 'ledger_id'").fetchone()[0]
        finally:
            connection.close()
    except (sqlite3.Error, TypeError) as error:
        raise LedgerError(f"{backup} is not a ledger's backup ({error})") from error
    if version > SCHEMA_VERSION:
        raise LedgerError(f"{backup} has version {version}; this program knows {SCHEMA_VERSION}")
    if lines != [("ok",)]:
        raise LedgerError(f"{backup} is damaged: {lines[0][0]}")


def _set_aside(path: Path) -> None:
    suffixes = ("", "-wal", "-shm")
    aside = path.with_name(path.name + ".before-restore")
    if path.exists():
        # A log that an earlier restore left here would spoil the database put beside it.
        for suffix in suffixes:
            aside.with_name(aside.name + suffix).unlink(missing_ok=True)
    # Without a ledger here, an earlier restore broke off half-way, and the one aside stays.
    for suffix in suffixes:
        old = path.with_name(path.name + suffix)
        if old.exists():
            old.rename(aside.with_name(aside.name + suffix))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
