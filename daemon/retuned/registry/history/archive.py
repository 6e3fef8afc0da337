"""The events of all models, as the local journal keeps them: those that wait, and the chain."""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from itertools import chain
from typing import TYPE_CHECKING, Any

import orjson

from retuned.errors import PermanentError
from retuned.registry.history.chain import BEGINNING, CHECKPOINT, Checkpoint, Entry, Link, read
from retuned.registry.history.events import Event
from retuned.registry.signing import Forged

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from retuned.registry.history.chain import Reading
    from retuned.registry.signing import SigningKey

TABLES = """
CREATE TABLE IF NOT EXISTS event (
    turn INTEGER PRIMARY KEY AUTOINCREMENT, model TEXT NOT NULL, id TEXT NOT NULL,
    at REAL NOT NULL, kind TEXT NOT NULL, value BLOB NOT NULL, number INTEGER, link TEXT,
    UNIQUE (model, id), UNIQUE (model, number)
);
CREATE INDEX IF NOT EXISTS event_waits ON event (turn) WHERE number IS NULL;
CREATE INDEX IF NOT EXISTS event_kind ON event (model, kind, at);
"""
"""An event without a number waits to be linked and forwarded."""

_KEEP = """
INSERT INTO event (model, id, at, kind, value, number, link) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (model, id) DO UPDATE SET
    at = excluded.at, value = excluded.value, number = excluded.number, link = excluded.link
"""


class Archive:
    """A verified copy of each model's chain, and what is not in it yet. From any thread.

    Every method raises what the journal raises; what has returned survives a crash.
    """

    def __init__(
        self,
        read: Callable[[str, tuple[object, ...]], list[tuple[Any, ...]]],
        write: Callable[[], AbstractContextManager[sqlite3.Connection]],
    ) -> None:
        """Use the journal's ways to read and to write."""
        self._read = read
        self._write = write

    @staticmethod
    def insert(db: sqlite3.Connection, events: Iterable[Event]) -> None:
        """Let events wait, in a transaction of the journal's; known ids change nothing."""
        db.executemany(
            "INSERT OR IGNORE INTO event (model, id, at, kind, value) VALUES (?, ?, ?, ?, ?)",
            [(event.model, *_columns(event.text)) for event in events],
        )

    def add(self, events: Iterable[Event]) -> None:
        """Let events wait; known ids change nothing."""
        with self._write() as db:
            self.insert(db, events)

    def waiting(self, limit: int, model: str | None = None) -> tuple[Event, ...]:
        """Events that are not in the chain yet, oldest first; of all models without a name."""
        which, values = ("", ()) if model is None else ("AND model = ?", (model,))
        found = self._read(
            f"SELECT value FROM event WHERE number IS NULL {which} ORDER BY turn LIMIT ?",  # noqa: S608 (our own words)
            (*values, limit),
        )
        return tuple(Event.from_json(orjson.loads(value)) for (value,) in found)

    def models_waiting(self) -> tuple[str, ...]:
        """The models of which something waits."""
        found = self._read("SELECT DISTINCT model FROM event WHERE number IS NULL", ())
        return tuple(model for (model,) in found)

    def is_linked(self, model: str, event_id: str) -> bool:
        """Whether an event is in the chain."""
        query = "SELECT 1 FROM event WHERE model = ? AND id = ? AND number IS NOT NULL"
        return bool(self._read(query, (model, event_id)))

    def head(self, model: str) -> Link:
        """The newest link; `chain.BEGINNING` before there is one."""
        found = self._read(
            "SELECT link FROM event WHERE model = ? AND number IS NOT NULL "
            "ORDER BY number DESC LIMIT 1",
            (model,),
        )
        return (Link.of(found[0][0]) if found else None) or BEGINNING

    def has(self, model: str, link: Link) -> bool:
        """Whether the copy has this very link."""
        query = "SELECT 1 FROM event WHERE model = ? AND number = ? AND link = ?"
        return bool(self._read(query, (model, link.number, link.text)))

    def linked_after(self, model: str, number: int) -> int:
        """How many links come after one."""
        query = "SELECT count(*) FROM event WHERE model = ? AND number > ?"
        return int(self._read(query, (model, number))[0][0])

    def entries(self, model: str, after: int = 0, limit: int = 500) -> Iterator[list[Entry]]:
        """The chain after a number, in parts."""
        while True:
            found = self._read(
                "SELECT value, link FROM event WHERE model = ? AND number > ? "
                "ORDER BY number LIMIT ?",
                (model, after, limit),
            )
            part = [Entry(value, Link.of(link)) for value, link in found]
            if not part:
                return
            yield part
            last = part[-1].link
            after = after + limit if last is None else last.number

    def checkpoint(self, model: str) -> bytes | None:
        """The sealed checkpoint that the copy begins with; None where it begins with the first."""
        found = self._read(
            "SELECT value FROM registry WHERE model = ? AND name = ?", (model, CHECKPOINT)
        )
        return found[0][0] if found else None

    def verified(self, model: str, key: SigningKey) -> Reading:
        """Verify the copy itself."""
        sealed, base, refusal = self.checkpoint(model), BEGINNING, ""
        try:
            base = BEGINNING if sealed is None else Checkpoint.read(model, sealed, key).link
        except Forged as error:
            refusal = str(error)
        reading = read(model, chain.from_iterable(self.entries(model)), base, key)
        reading.findings[:0] = [refusal] * bool(refusal)
        return reading

    def keep(self, model: str, entries: Iterable[Entry]) -> None:
        """Store entries that were verified; what waited under their ids waits no longer."""
        with self._write() as db:
            for entry in entries:
                if entry.link is None:
                    continue
                db.execute(
                    "UPDATE event SET number = NULL, link = NULL "
                    "WHERE model = ? AND number = ? AND link != ?",
                    (model, entry.link.number, entry.link.text),
                )
                values = (*_columns(entry.text), entry.link.number, entry.link.text)
                db.execute(_KEEP, (model, *values))

    def unlink(self, model: str, after: int) -> int:
        """Let what is linked after a number wait again; returns how many events."""
        with self._write() as db:
            return db.execute(
                "UPDATE event SET number = NULL, link = NULL WHERE model = ? AND number > ?",
                (model, after),
            ).rowcount

    def begin_after(self, model: str, number: int, checkpoint: bytes | None) -> None:
        """Let the chain go up to a number; a sealed checkpoint stands for it, None for none."""
        with self._write() as db:
            db.execute("DELETE FROM event WHERE model = ? AND number <= ?", (model, number))
            if checkpoint is None:
                db.execute("DELETE FROM registry WHERE model = ? AND name = ?", (model, CHECKPOINT))
                return
            db.execute(
                "INSERT OR REPLACE INTO registry VALUES (?, ?, ?)", (model, CHECKPOINT, checkpoint)
            )

    def newest(self, model: str, limit: int) -> tuple[Event, ...]:
        """The newest events, oldest first; those that wait come last."""
        waiting = self._read(
            "SELECT value FROM event WHERE model = ? AND number IS NULL ORDER BY turn DESC LIMIT ?",
            (model, limit),
        )
        linked = self._read(
            "SELECT value FROM event WHERE model = ? AND number IS NOT NULL "
            "ORDER BY number DESC LIMIT ?",
            (model, limit - len(waiting)),
        )
        return _events([*waiting, *linked])[::-1]

    def until(self, model: str, kinds: Collection[str], at: float, limit: int) -> tuple[Event, ...]:
        """The newest events of some kinds up to a moment, newest first."""
        return self._of_kinds(model, kinds, "AND at <= ? ORDER BY at DESC, turn DESC", at, limit)

    def since(self, model: str, kinds: Collection[str], at: float, limit: int) -> tuple[Event, ...]:
        """The first events of some kinds after a moment, oldest first."""
        return self._of_kinds(model, kinds, "AND at > ? ORDER BY at, turn", at, limit)

    def oldest(self, model: str) -> Event | None:
        """The oldest event that is kept."""
        found = self._read(
            "SELECT value FROM event WHERE model = ? ORDER BY at, turn LIMIT 1", (model,)
        )
        return _events(found)[0] if found else None

    def _of_kinds(
        self, model: str, kinds: Collection[str], rest: str, at: float, limit: int
    ) -> tuple[Event, ...]:
        marks = ", ".join("?" * len(kinds))
        query = f"SELECT value FROM event WHERE model = ? AND kind IN ({marks}) {rest} LIMIT ?"  # noqa: S608 (our own words)
        return _events(self._read(query, (model, *kinds, at, limit)))


@contextmanager
def looked_at(path: Path) -> Iterator[Archive]:
    """The events of a journal that a daemon may be writing; nothing can be changed.

    Raises:
        PermanentError: it cannot be read.
    """
    # Without the file beside it nobody has it open, and nothing must be made beside it.
    is_open = path.with_name(f"{path.name}-wal").exists()
    mode = "mode=ro" if is_open else "immutable=1"
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True)) as db:
            yield Archive(lambda query, values: db.execute(query, values).fetchall(), _refuse)
    except sqlite3.Error as error:
        message = f"{path} cannot be read: {error}"
        raise PermanentError(message) from error


def _refuse() -> AbstractContextManager[sqlite3.Connection]:
    message = "this journal is only looked at"
    raise PermanentError(message)


def _columns(text: bytes) -> tuple[str, float, str, bytes]:
    value = orjson.loads(text)
    return value["id"], value["at"], value["kind"], text


def _events(found: Sequence[tuple[Any, ...]]) -> tuple[Event, ...]:
    return tuple(Event.from_json(orjson.loads(value)) for (value,) in found)
