"""The SQLite file of a row log: tables, connections, errors in plain words."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from retuned.errors import PermanentError, TransientError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FORMAT = 1

_BUSY_S = 30.0

_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE total (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    rows INTEGER NOT NULL, labelled INTEGER NOT NULL, last_seq INTEGER NOT NULL,
    orphans INTEGER NOT NULL  -- labels whose rows have not come yet
);
INSERT INTO total VALUES (1, 0, 0, 0, 0);
-- Rows, as Arrow record batches without their schema.
CREATE TABLE batch (
    first_seq INTEGER PRIMARY KEY, last_seq INTEGER NOT NULL,
    min_time INTEGER NOT NULL, max_time INTEGER NOT NULL, data BLOB NOT NULL
);
CREATE INDEX batch_by_time ON batch (max_time, first_seq);
-- Ids by 128-bit digest: text ids would make the index several times larger and slower.
CREATE TABLE identity (
    digest BLOB PRIMARY KEY,
    origin INTEGER NOT NULL,  -- sequence number under which the id first came
    newest INTEGER NOT NULL,  -- and under which it came last
    content BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE superseded (seq INTEGER PRIMARY KEY, by_seq INTEGER NOT NULL);
CREATE TABLE label (
    seq INTEGER PRIMARY KEY, origin INTEGER, digest BLOB NOT NULL, value NOT NULL
);
CREATE INDEX label_by_origin ON label (origin, seq);
CREATE INDEX label_by_digest ON label (digest, seq);
CREATE TABLE loss (
    row_seq INTEGER PRIMARY KEY, label_seq INTEGER NOT NULL,
    version INTEGER NOT NULL, revision INTEGER NOT NULL,
    metric TEXT NOT NULL,  -- the unit of the loss
    loss REAL NOT NULL
);
CREATE INDEX loss_by_version ON loss (version, label_seq);
CREATE INDEX loss_by_label ON loss (label_seq);
"""


class LogFile:
    """One writing and one reading connection to a file, each for one thread at a time."""

    def __init__(self, path: Path) -> None:
        """Open the file, or make it.

        Raises:
            PermanentError: it is damaged, no row log, or of a newer release.
            TransientError: the disk is full, or the file is locked.
        """
        self.path = path
        self._writing = threading.Lock()
        self._reading = threading.Lock()
        with self._translated():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = self._connect()
            self._prepare()
            self._reader = self._connect()

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Write in one transaction: durable at the end, or undone as a whole."""
        with self._writing, self._translated():
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Read one consistent state of the file."""
        with self._reading, self._translated():
            self._reader.execute("BEGIN")
            try:
                yield self._reader
            finally:
                self._reader.execute("ROLLBACK")

    def close(self) -> None:
        """Close the connections; waits for what they do."""
        with self._writing, self._reading:
            self._reader.close()
            self._writer.close()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
        )
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    def _prepare(self) -> None:
        (version,) = self._writer.execute("PRAGMA user_version").fetchone()
        if version > FORMAT:
            message = (
                f"{self.path} has format {version}; this release knows {FORMAT}. "
                "It was written by a newer release: install that one."
            )
            raise PermanentError(message)
        if version == 0:
            self._writer.executescript(f"BEGIN; {_TABLES} PRAGMA user_version = {FORMAT}; COMMIT;")

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
            return TransientError(message, retry_after=30.0)
        return TransientError(f"{self.path} cannot be used at the moment: {error}.")
