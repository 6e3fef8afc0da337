"""The file of the answers that one model gave: what was predicted for a row, when, by what."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from retuned.errors import PermanentError, TransientError
from retuned.runtime.transaction import transaction

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

FORMAT = 1

_TABLES = """
-- Revisions, and the classes that they knew, in the order of their probabilities.
CREATE TABLE served_by (
    number INTEGER PRIMARY KEY, revision TEXT NOT NULL, classes TEXT NOT NULL,
    UNIQUE (revision, classes)
);
-- In the order in which they were given; ids by 128-bit digest, as in the row log.
CREATE TABLE answer (
    number INTEGER PRIMARY KEY, digest BLOB NOT NULL, at_us INTEGER NOT NULL,
    served_by INTEGER NOT NULL,
    output NOT NULL  -- a number, or the classes' probabilities as float32
);
CREATE INDEX answer_by_digest ON answer (digest);
"""

_BUSY_S = 30.0
_AT_ONCE = 10_000
_PAGES = 1000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answers:
    """Answers to rows, given together.

    Attributes:
        ids: of the rows (n).
        at_us: when, microseconds since the epoch.
        revision: what answered, such as ``2.1``.
        classes: JSON texts of the classes; empty for regression.
        output: numbers (n,), or probabilities (n, classes).
    """

    ids: Sequence[str]
    at_us: int
    revision: str
    classes: tuple[str, ...]
    output: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answer:
    """What was answered for a row; see `Answers`. Output: (), or (classes,)."""

    at_us: int
    revision: str
    classes: tuple[str, ...]
    output: NDArray[np.float64]


class ServedFile:
    """The answers of one model. May be used from any thread.

    What `append` has returned survives a crash of the process, and all but the newest a crash
    of the machine: it does not wait for the disk.
    """

    def __init__(self, path: Path) -> None:
        """Open the file, or make it.

        Raises:
            PermanentError: it is damaged, or of a newer release.
            TransientError: the disk is full.
        """
        self._path = path
        self._lock = threading.Lock()
        with self._translated():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(
                path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
            )
            try:
                self._prepare()
            except BaseException:
                self._db.close()
                raise

    def append(self, given: Iterable[Answers], *, share: float = 1.0) -> int:
        """Append answers; of a share below 1, those to the same ids each time.

        Returns:
            How many were appended.

        Raises:
            TransientError: the disk is full; nothing was stored.
        """
        count = 0
        with self._writing() as db:
            for answers in given:
                number = _served_by(db, answers)
                rows = zip(map(_digest, answers.ids), _stored(answers), strict=True)
                found = [
                    (digest, answers.at_us, number, output)
                    for digest, output in rows
                    if share >= 1 or int.from_bytes(digest[:8]) < share * 2**64
                ]
                db.executemany(
                    "INSERT INTO answer (digest, at_us, served_by, output) VALUES (?, ?, ?, ?)",
                    found,
                )
                count += len(found)
        return count

    def last(self, row_id: str, until_us: int) -> Answer | None:
        """The last answer for a row up to a moment; None for none."""
        with self._reading() as db:
            row = db.execute(
                f"{_SELECT} WHERE digest = ? AND at_us <= ? ORDER BY answer.number DESC LIMIT 1",
                (_digest(row_id), until_us),
            ).fetchone()
        return None if row is None else _answer(*row)

    def newest(self, row_id: str, limit: int) -> list[Answer]:
        """The newest answers for a row, newest first."""
        with self._reading() as db:
            found = db.execute(
                f"{_SELECT} WHERE digest = ? ORDER BY answer.number DESC LIMIT ?",
                (_digest(row_id), limit),
            ).fetchall()
        return [_answer(*row) for row in found]

    def forget(self, row_id: str) -> int:
        """Delete the answers for a row for good; returns how many there were."""
        with self._writing() as db:
            gone = db.execute("DELETE FROM answer WHERE digest = ?", (_digest(row_id),)).rowcount
        if gone:
            # What the journal still holds of them goes with the journal.
            with self._lock, self._translated():
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return gone

    def prune(self, *, before_us: int, rows: int) -> int:
        """Delete what is too old or too much, some thousands at a time; returns how many.

        Args:
            before_us: answers that were given before that are too old.
            rows: answers that may stay.
        """
        with self._writing() as db:
            first, last = db.execute(
                "SELECT coalesce(min(number), 0), coalesce(max(number), 0) FROM answer"
            ).fetchone()
            gone = db.execute(
                "DELETE FROM answer WHERE number < ? AND (at_us < ? OR number <= ?)",
                (first + _AT_ONCE, before_us, last - rows),
            ).rowcount
        if gone:
            with self._lock, self._translated():
                self._db.execute(f"PRAGMA incremental_vacuum({_PAGES})").fetchall()
        return gone

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def _prepare(self) -> None:
        self._db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        # What a person had deleted is overwritten, not only unlinked.
        self._db.execute("PRAGMA secure_delete = ON").fetchall()
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version > FORMAT:
            message = (
                f"{self._path} has format {version}; this release knows {FORMAT}. "
                "It was written by a newer release: install that one."
            )
            raise PermanentError(message)
        if version == 0:
            self._db.executescript(f"BEGIN; {_TABLES} PRAGMA user_version = {FORMAT}; COMMIT;")

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._translated():
            yield self._db

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._translated(), transaction(self._db) as db:
            yield db

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.OperationalError, OSError) as error:
            message = f"{self._path} cannot be written or read at the moment: {error}."
            raise TransientError(message) from error
        except sqlite3.DatabaseError as error:
            message = (
                f"{self._path} is damaged ({error}): move it away; the answers in it are lost, "
                "nothing else is."
            )
            raise PermanentError(message) from error


_SELECT = (
    "SELECT at_us, revision, classes, output FROM answer "
    "JOIN served_by ON served_by.number = answer.served_by"
)


def _answer(at_us: int, revision: str, classes: str, output: float | bytes) -> Answer:
    values = np.frombuffer(output, "<f4") if isinstance(output, bytes) else np.array(output)
    return Answer(
        at_us=at_us,
        revision=revision,
        classes=tuple(json.loads(classes)),
        output=values.astype(np.float64),
    )


def _stored(answers: Answers) -> list[float] | list[bytes]:
    if not answers.classes:
        numbers: list[float] = answers.output.tolist()
        return numbers
    single = answers.output.astype("<f4")
    return [row.tobytes() for row in single]


def _served_by(db: sqlite3.Connection, answers: Answers) -> int:
    key = (answers.revision, json.dumps(answers.classes))
    db.execute("INSERT OR IGNORE INTO served_by (revision, classes) VALUES (?, ?)", key)
    (number,) = db.execute(
        "SELECT number FROM served_by WHERE revision = ? AND classes = ?", key
    ).fetchone()
    return int(number)


def _digest(row_id: str) -> bytes:
    return hashlib.blake2b(row_id.encode(), digest_size=16).digest()
