"""The local journal: what keepers remember and the registry held, events, drift reports."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import orjson

from retuned.errors import PermanentError, TransientError
from retuned.registry.history.archive import TABLES, Archive
from retuned.runtime.transaction import transaction

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from retuned.registry.history.events import Event
    from retuned.runtime.clock import Clock

_TABLES = """
CREATE TABLE IF NOT EXISTS state (model TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS drift (
    number INTEGER PRIMARY KEY, model TEXT NOT NULL, id TEXT NOT NULL, at REAL NOT NULL,
    value BLOB NOT NULL, UNIQUE (model, id)
);
CREATE TABLE IF NOT EXISTS registry (
    model TEXT NOT NULL, name TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (model, name)
) WITHOUT ROWID;
"""


class Journal:
    """One SQLite file for all models. May be used from any thread.

    What a call has stored when it returns survives a crash; what failed is not stored at all.
    """

    def __init__(self, path: Path | None, clock: Clock) -> None:
        """Open the file, or make it; without a path it ends with the process.

        Raises:
            PermanentError: the file is damaged.
            TransientError: the disk is full.
        """
        self.clock = clock
        self._lock = threading.Lock()
        self._path = path
        self.archive = Archive(self._all, self._write)
        with self._translated():
            self._db = sqlite3.connect(
                path or ":memory:", check_same_thread=False, isolation_level=None
            )
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.executescript(_TABLES + TABLES)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def state(self, model: str) -> dict[str, Any] | None:
        """What was last stored of a model; None if nothing ever was."""
        row = self._one("SELECT value FROM state WHERE model = ?", (model,))
        return None if row is None else orjson.loads(row[0])

    def append(
        self,
        model: str,
        state: Mapping[str, Any],
        events: Sequence[Event],
        *,
        drift: tuple[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """Store a model's state, with the events and the report that led to it, or nothing.

        Raises:
            TransientError: the disk is full.
            PermanentError: the file is damaged.
        """
        with self._write() as db:
            db.execute("INSERT OR REPLACE INTO state VALUES (?, ?)", (model, orjson.dumps(state)))
            self.archive.insert(db, events)
            if drift is not None:
                name, report = drift
                db.execute(
                    "INSERT OR REPLACE INTO drift (model, id, at, value) VALUES (?, ?, ?, ?)",
                    (model, name, self.clock.now(), orjson.dumps(report)),
                )

    def waiting(self, limit: int) -> tuple[Event, ...]:
        """Events that are not in their model's chain yet, oldest first."""
        return self.archive.waiting(limit)

    def drift(self, model: str, report: str) -> dict[str, Any] | None:
        """A drift report by its id."""
        row = self._one("SELECT value FROM drift WHERE model = ? AND id = ?", (model, report))
        return None if row is None else orjson.loads(row[0])

    def drifts(self, model: str, limit: int) -> tuple[tuple[str, float, dict[str, Any]], ...]:
        """The newest drift reports, newest first: id, when it was stored, JSON form."""
        found = self._all(
            "SELECT id, at, value FROM drift WHERE model = ? ORDER BY number DESC LIMIT ?",
            (model, limit),
        )
        return tuple((name, at, orjson.loads(value)) for name, at, value in found)

    def recall(self, model: str, name: str) -> bytes | None:
        """What the registry held by a name; see `memory.Memory`."""
        row = self._one("SELECT value FROM registry WHERE model = ? AND name = ?", (model, name))
        return None if row is None else row[0]

    def recall_all(self, model: str) -> dict[str, bytes]:
        """All that the registry held of a model; see `memory.Memory`."""
        return dict(self._all("SELECT name, value FROM registry WHERE model = ?", (model,)))

    def remember(self, model: str, texts: Mapping[str, bytes | None]) -> None:
        """Store what the registry holds, or forget it; see `memory.Memory`."""
        with self._write() as db:
            db.executemany(
                "DELETE FROM registry WHERE model = ? AND name = ?",
                [(model, name) for name, text in texts.items() if text is None],
            )
            db.executemany(
                "INSERT OR REPLACE INTO registry VALUES (?, ?, ?)",
                [(model, name, text) for name, text in texts.items() if text is not None],
            )

    def _one(self, query: str, values: tuple[object, ...]) -> tuple[Any, ...] | None:
        found = self._all(query, values)
        return found[0] if found else None

    def _all(self, query: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
        with self._lock, self._translated():
            return self._db.execute(query, values).fetchall()

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._translated(), transaction(self._db) as db:
            yield db

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.ProgrammingError:
            raise  # used after it was closed: no fault of the file
        except sqlite3.OperationalError as error:
            message = f"{self._path} cannot be written ({error}): free some disk space"
            raise TransientError(message, retry_after=10.0) from error
        except sqlite3.DatabaseError as error:
            message = f"{self._path} is damaged ({error}): restore it from a backup"
            raise PermanentError(message) from error
