"""The ledger's file: opening, locking, settings made at creation, plain-word errors."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from costmeter.ledger.schema import MIGRATIONS, SCHEMA_VERSION
from costmeter.model import MS_PER_HOUR

#: Pages of SQLite's own cache; negative means KiB.
_CACHE_KIB = 16_384
#: The backstop: a checkpoint inside a commit makes everybody wait, so `Checkpointer`
#: keeps the log shorter than this from outside.
_WAL_PAGES_BEFORE_CHECKPOINT = 32_000


class LedgerError(Exception):
    """The ledger cannot be used; the text says why and what to do."""


def plain_reason(error: BaseException, path: Path) -> tuple[str, str]:
    """A short code and a sentence for an error of SQLite or of the file system."""
    text = str(error).lower()
    where = f"the ledger {path}"
    if "disk is full" in text or "no space left" in text:
        return "disk_full", f"the disk under {where} is full; make room and it goes on by itself"
    if "readonly" in text or "read-only" in text or "permission denied" in text:
        return "read_only", f"{where} is not writable; check its owner and mode, and its folder's"
    if "no such table" in text or "no such column" in text:
        return "foreign", f"{path} is no ledger of costmeter ({error}); name another file"
    if "malformed" in text or "not a database" in text or "corrupt" in text:
        return (
            "corrupt",
            f"{where} is damaged ({error}); keep a copy, then run 'costmeter restore BACKUP'",
        )
    if "locked" in text or "busy" in text:
        return "locked", f"{where} is locked by another program; stop that program"
    if "unable to open" in text:
        return (
            "missing",
            f"{where} cannot be opened; does its folder exist, and may we write there?",
        )
    return "other", f"{where} refused a write: {error}"


class Store:
    """One open ledger. A writing store holds the lock until `close`."""

    def __init__(self, path: Path, connection: sqlite3.Connection, lock: IO[str] | None) -> None:
        self.path = path
        self.connection = connection
        self._lock = lock

    @property
    def read_only(self) -> bool:
        return self._lock is None

    def reader(self) -> sqlite3.Connection:
        """Another connection, for reading beside the writer."""
        return _connect(self.path, read_only=True)

    def meta(self, key: str) -> str:
        row = self.connection.execute("SELECT v FROM meta WHERE k = ?", (key,)).fetchone()
        if row is None:
            raise LedgerError(f"{self.path} has no '{key}'; it is not a complete ledger")
        return str(row[0])

    @property
    def cell_ms(self) -> int:
        """Width of a cell; fixed when the ledger is created."""
        return int(self.meta("cell_ms"))

    def wait_for_disk(self, wait: bool) -> None:
        """Whether a commit returns when it is on the disk, or as soon as a kill cannot undo it.

        Whoever does not wait brings the log to the disk before anybody is answered.
        """
        self.connection.execute(f"PRAGMA synchronous = {'FULL' if wait else 'NORMAL'}")

    def empty_log(self) -> None:
        """Bring all that the log holds into the database and to the disk, and begin it anew.

        Raises sqlite3.Error, also while somebody still reads an older state.
        """
        # Frames behind a damaged one would be lost with it, so no log is gone on with.
        row = self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if row[0]:
            raise sqlite3.OperationalError("the log is busy")

    def close(self) -> None:
        self.connection.close()
        if self._lock is not None:
            self._lock.close()
            self._lock = None


class Checkpointer:
    """Moves the write-ahead log into the database while the writer goes on."""

    def __init__(self, store: Store) -> None:
        self._path = store.path
        self._connection = _connect(store.path, read_only=False)
        self._connection.execute("PRAGMA wal_autocheckpoint = 0")

    def run(self) -> None:
        """As far as readers allow it, without making anybody wait. Raises LedgerError."""
        try:
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except sqlite3.Error as error:
            raise LedgerError(plain_reason(error, self._path)[1]) from error

    def close(self) -> None:
        self._connection.close()


def _connect(path: Path, *, read_only: bool) -> sqlite3.Connection:
    mode = "ro" if read_only else "rwc"
    connection = sqlite3.connect(
        f"{path.resolve().as_uri()}?mode={mode}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=5.0,
        cached_statements=256,
    )
    try:
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    except BaseException:
        connection.close()
        raise
    return connection


def lock_for_writing(path: Path) -> IO[str]:
    """Hold the ledger until the answer is closed. Raises LedgerError when another holds it."""
    # Through a symbolic link it is the same ledger.
    path = path.resolve()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = path.with_name(path.name + ".lock").open("a+", encoding="ascii")
    except OSError as error:
        raise LedgerError(plain_reason(error, path)[1]) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        handle.seek(0)
        holder = handle.read().strip() or "unknown"
        handle.close()
        raise LedgerError(
            f"another costmeter (process {holder}) writes the ledger {path}; "
            f"stop it, or start this one with --read-only"
        ) from None
    # Who holds it is a help for people, and a full disk must not keep us from recovering.
    with suppress(OSError):
        os.ftruncate(handle.fileno(), 0)
        os.write(handle.fileno(), str(os.getpid()).encode())
    return handle


def open_for_writing(path: Path, cell_ms: int | None = None) -> Store:
    """Open the ledger as its one writer; create it when it does not exist.

    Raises LedgerError when another process writes it, when it is newer than this
    program, damaged or out of reach, or when it was created with another `cell_ms`.
    """
    lock = lock_for_writing(path)
    connection = None
    try:
        connection = _connect(path, read_only=False)
        store = Store(path, connection, lock)
        _refuse_foreign(path, connection)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES_BEFORE_CHECKPOINT}")
        _migrate(store, cell_ms or MS_PER_HOUR)
        if cell_ms is not None:
            _check_cell_width(store, cell_ms)
    except BaseException as error:
        if connection is not None:
            connection.close()
        lock.close()
        if isinstance(error, sqlite3.Error | ValueError):
            raise LedgerError(plain_reason(error, path)[1]) from error
        raise
    return store


def open_for_reading(path: Path) -> Store:
    """Open an existing ledger beside its writer. Raises LedgerError."""
    if not path.exists():
        raise LedgerError(f"there is no ledger at {path}; 'costmeter serve' creates one")
    connection = None
    try:
        connection = _connect(path, read_only=True)
        _refuse_older(path, _refuse_foreign(path, connection))
        store = Store(path, connection, None)
        store.meta("ledger_id")
    except (sqlite3.Error, LedgerError) as error:
        if connection is not None:
            connection.close()
        if isinstance(error, LedgerError):
            raise
        raise LedgerError(plain_reason(error, path)[1]) from error
    return store


def _version(connection: sqlite3.Connection) -> int:
    row = connection.execute("PRAGMA user_version").fetchone()
    return int(row[0])


def _refuse_newer(path: Path, version: int) -> None:
    if version > SCHEMA_VERSION:
        raise LedgerError(
            f"{path} has version {version}; this program knows versions up to {SCHEMA_VERSION}. "
            f"Install the newer costmeter that wrote it"
        )


def _refuse_older(path: Path, version: int) -> None:
    if version < SCHEMA_VERSION:
        raise LedgerError(
            f"{path} has version {version}, this program reads {SCHEMA_VERSION}; "
            f"start 'costmeter serve' once, which migrates it"
        )


def _refuse_foreign(path: Path, connection: sqlite3.Connection) -> int:
    """The version of a ledger; 0 for a file that is empty."""
    version = _version(connection)
    _refuse_newer(path, version)
    if version == 0 and connection.execute("SELECT 1 FROM sqlite_schema").fetchone() is not None:
        raise LedgerError(f"{path} is another program's database; name another file")
    return version


def _migrate(store: Store, cell_ms: int) -> None:
    version = _version(store.connection)
    for step in range(version, SCHEMA_VERSION):
        with transaction(store.connection):
            MIGRATIONS[step](store.connection)
            if step == 0:
                _stamp(store.connection, cell_ms)
            store.connection.execute(f"PRAGMA user_version = {step + 1}")


def _stamp(connection: sqlite3.Connection, cell_ms: int) -> None:
    connection.executemany(
        "INSERT INTO meta VALUES (?, ?)",
        [
            ("ledger_id", str(uuid.uuid4())),
            ("epoch", "1"),
            ("cell_ms", str(cell_ms)),
            ("reporting_timezone", ""),
            ("release_clock", "0"),
            ("heartbeat", "0"),
            ("booked", "0"),
            ("revision", "0"),
            ("flushed_event", "0"),
        ],
    )


def _check_cell_width(store: Store, wanted_ms: int) -> None:
    if store.cell_ms != wanted_ms:
        raise LedgerError(
            f"{store.path} was created with cells of {store.cell_ms // 60_000} minutes and the "
            f"configuration says {wanted_ms // 60_000}; cells cannot be recut. Set "
            f"ledger.cell_minutes back, or import the old ledger's usage into a new one"
        )


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing, and durable when the block has ended."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # A failed COMMIT may have ended the transaction already.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def transaction_for_reading(connection: sqlite3.Connection) -> Iterator[None]:
    """One consistent state for every query of the block."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
