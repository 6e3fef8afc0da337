"""The SQLite file of a row log: tables, connections, errors in plain words."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from retuned.errors import PermanentError, TransientError
from retuned.rows import arrival, aside
from retuned.runtime.transaction import transaction

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FORMAT = 2

_BUSY_S = 30.0
_FULL_RETRY_S = 30.0

_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE total (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    rows INTEGER NOT NULL, labelled INTEGER NOT NULL, last_seq INTEGER NOT NULL,
    orphans INTEGER NOT NULL  -- labels whose rows have not come yet
);
INSERT INTO total VALUES (1, 0, 0, 0, 0);
-- What tells this log from every other: 16 bytes.
INSERT INTO meta VALUES ('mark', lower(hex(randomblob(16))));
-- Rows, as Arrow record batches without their schema.
CREATE TABLE batch (
    first_seq INTEGER PRIMARY KEY, last_seq INTEGER NOT NULL, rows INTEGER NOT NULL,
    min_time INTEGER NOT NULL, max_time INTEGER NOT NULL,
    first_label INTEGER, last_label INTEGER,  -- labels that were folded in; null for none
    form INTEGER NOT NULL,  -- its columns
    data BLOB NOT NULL
);
CREATE INDEX batch_by_time ON batch (max_time, first_seq);
CREATE INDEX batch_by_label ON batch (last_label) WHERE last_label IS NOT NULL;
CREATE TABLE form (form INTEGER PRIMARY KEY, features TEXT NOT NULL UNIQUE);
CREATE TABLE superseded (
    seq INTEGER PRIMARY KEY,
    by_seq INTEGER NOT NULL,  -- 0 where the row was forgotten
    origin INTEGER NOT NULL  -- sequence number under which the id first came
);
CREATE INDEX superseded_by ON superseded (by_seq);
-- By row: labels come about in the order of their rows, so that the tree grows at its end.
CREATE TABLE label (
    origin INTEGER NOT NULL,  -- sequence number under which the row's id first came
    seq INTEGER NOT NULL, value NOT NULL,
    PRIMARY KEY (origin, seq)
) WITHOUT ROWID;
CREATE INDEX label_by_seq ON label (seq);
CREATE TABLE orphan (seq INTEGER PRIMARY KEY, digest BLOB NOT NULL, value NOT NULL);
CREATE INDEX orphan_by_digest ON orphan (digest, seq);
CREATE TABLE forgotten (digest BLOB PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE loss (
    row_seq INTEGER PRIMARY KEY, label_seq INTEGER NOT NULL,
    version INTEGER NOT NULL, revision INTEGER NOT NULL,
    metric TEXT NOT NULL,  -- the unit of the loss
    loss REAL NOT NULL
);
CREATE INDEX loss_by_version ON loss (version, label_seq);
CREATE INDEX loss_by_label ON loss (label_seq);
"""

_LATER_TABLES = """
-- Spans of segments that were dropped while older rows, by sequence number, were kept.
CREATE TABLE IF NOT EXISTS dropped (first_seq INTEGER PRIMARY KEY, last_seq INTEGER NOT NULL);
"""


class DiskFull(TransientError):
    """The disk is full, or nearly; nothing was stored, and it goes on when there is room."""


class LogFile:
    """One writing and one reading connection to a file, each for one thread at a time.

    Connections are opened when they are first needed, and again after `rest`.
    """

    def __init__(self, path: Path, *, spare: int = 0) -> None:
        """Open the file, or make it.

        Args:
            path: the file.
            spare: bytes of the disk that others need; nothing is stored where fewer are free.

        Raises:
            PermanentError: it is damaged, no row log, or of another release.
            DiskFull: the disk is full.
            TransientError: the file is locked.
        """
        self.path = path
        self._spare = spare
        self._writing = threading.Lock()
        self._reading = threading.Lock()
        self._writer: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None
        self._is_closed = False
        self.uses = 0
        with self._writing, self._translated():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._open_writer()

    @contextmanager
    def write(self, *, needs_room: bool = True) -> Iterator[sqlite3.Connection]:
        """Write in one transaction: durable at the end, or undone as a whole.

        Args:
            needs_room: whether to refuse where the disk is nearly full; what makes room does
                not.
        """
        self.uses += 1
        with self._writing, self._translated():
            if needs_room:
                self._check_room()
            with transaction(self._open_writer()) as writer:
                yield writer

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Read one consistent state of the file."""
        self.uses += 1
        with self._reading, self._translated():
            if self._reader is None:
                self._check_open()
                self._reader = self._connect()
            self._reader.execute("BEGIN")
            try:
                yield self._reader
            finally:
                self._reader.execute("ROLLBACK")

    def give_back(self, pages: int) -> bool:
        """Give unused pages, and the journal's, back to the disk.

        Args:
            pages: at the most, and as long as more than a tenth of the file is unused: what
                grows and shrinks would otherwise do so all the time.

        Returns:
            Whether there are more.
        """
        with self._writing, self._reading, self._translated():
            writer = self._open_writer()
            spare = _unused(writer)
            if spare > 0:
                # Not `execute`, which does one step, and so gives back one page.
                writer.executescript(f"PRAGMA incremental_vacuum({min(pages, spare)})")
            writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            return spare > pages

    def rest(self) -> None:
        """Close the connections until they are needed again."""
        with self._writing, self._reading:
            for connection in (self._reader, self._writer):
                if connection is not None:
                    connection.close()
            self._reader = self._writer = None

    def close(self) -> None:
        """Close the connections for good; waits for what they do."""
        self._is_closed = True
        self.rest()

    def _open_writer(self) -> sqlite3.Connection:
        if self._writer is None:
            self._check_open()
            writer = self._connect()
            try:
                _prepare(writer, self.path)
            except BaseException:
                writer.close()
                raise
            self._writer = writer
        return self._writer

    def _check_open(self) -> None:
        if self._is_closed:
            message = f"{self.path} was closed: the daemon stops."
            raise TransientError(message)

    def _check_room(self) -> None:
        if self._spare and shutil.disk_usage(self.path.parent).free < self._spare:
            message = (
                f"The disk is nearly full: less than {self._spare // 1_000_000} MB are free "
                f"beside {self.path} (RETUNED_ROWS__SPARE_MB). Make room; nothing was stored."
            )
            raise DiskFull(message, retry_after=_FULL_RETRY_S)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
        )
        # Before the first table, or it would take a VACUUM of the whole file.
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise self._operational(error) from error
        except sqlite3.DatabaseError as error:
            message = (
                f"{self.path} is damaged ({error}): restore it from a backup, or move it away "
                "to begin again without its rows."
            )
            raise PermanentError(message) from error
        except OSError as error:
            message = f"{self.path} cannot be used: {error}. Mend that; it is tried again."
            raise TransientError(message) from error

    def _operational(self, error: sqlite3.OperationalError) -> TransientError:
        if "full" in str(error):
            message = f"The disk is full: {self.path} cannot grow. Make room; nothing was stored."
            return DiskFull(message, retry_after=_FULL_RETRY_S)
        return TransientError(f"{self.path} cannot be used at the moment: {error}.")


def _unused(db: sqlite3.Connection) -> int:
    """Unused pages beyond a tenth of the file."""
    (unused,) = db.execute("PRAGMA freelist_count").fetchone()
    (pages,) = db.execute("PRAGMA page_count").fetchone()
    return int(unused) - int(pages) // 10


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version > FORMAT:
        message = (
            f"{path} has format {version}; this release knows {FORMAT}. "
            "It was written by a newer release: install that one."
        )
        raise PermanentError(message)
    if version == 0:
        db.executescript(f"BEGIN; {_TABLES} PRAGMA user_version = {FORMAT}; COMMIT;")
    elif version < FORMAT:
        message = (
            f"{path} has format {version}, of a build before the first release; this one knows "
            f"{FORMAT}. Move the file away to begin again without its rows."
        )
        raise PermanentError(message)
    db.executescript(f"BEGIN; {_LATER_TABLES} {aside.TABLES} {arrival.TABLES} COMMIT;")
