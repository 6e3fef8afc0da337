"""Rows and labels that were refused, kept with the reason until they are mended or let go."""

from __future__ import annotations

import hashlib
import re
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from retuned.rows.forget import wiped

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterable, Sequence

    import pyarrow as pa

    from retuned.rows.batch import Rejected
    from retuned.rows.file import LogFile

TABLES = """
CREATE TABLE IF NOT EXISTS quarantine (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    digest BLOB NOT NULL UNIQUE,  -- of cargo and record
    cargo TEXT NOT NULL,
    row_id TEXT,  -- null where it has none that can be read
    reason TEXT NOT NULL,
    kind TEXT NOT NULL,  -- the reason without what is this record's alone
    record TEXT NOT NULL,
    source TEXT NOT NULL,
    first_us INTEGER NOT NULL, last_us INTEGER NOT NULL, times INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS quarantine_by_row ON quarantine (row_id, cargo);
CREATE INDEX IF NOT EXISTS quarantine_by_time ON quarantine (last_us, id);
CREATE TABLE IF NOT EXISTS quarantine_dropped (
    one INTEGER PRIMARY KEY CHECK (one = 1), count INTEGER NOT NULL
);
"""

LONGEST_RECORD = 64_000
"""Bytes of a record that are kept; one that is longer is cut, and cannot be sent again as it is."""

_REASONS = 50
_CHUNK = 500
_OWN_PART = re.compile(r" is .*(?=: expected)", re.DOTALL)
_OWN_LABEL = re.compile(r"^label .*? (?=is (no|a|text|true) )", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A record in quarantine.

    Attributes:
        id: number in the quarantine, in the order of first refusals.
        cargo: ``rows`` or ``labels``.
        row_id: its row's id; None where it has none that can be read.
        reason: why it was refused the last time.
        record: what was sent, JSON text; longer ones were cut.
        source: where it came from the last time.
        first_us: when it was first refused, microseconds since the epoch.
        last_us: and when last.
        times: how often.
    """

    id: int
    cargo: str
    row_id: str | None
    reason: str
    record: str
    source: str
    first_us: int
    last_us: int
    times: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusals:
    """How much is in quarantine.

    Attributes:
        rows: refused rows.
        labels: refused labels.
        dropped: records that had to leave because there were too many.
    """

    rows: int = 0
    labels: int = 0
    dropped: int = 0


class Quarantine:
    """The quarantine of one model, in its row log's file. May be used from any thread.

    What was kept survives a crash. All methods raise the errors of the file.
    """

    def __init__(self, file: LogFile) -> None:
        """Use the tables in a row log's file."""
        self._file = file
        self._lock = threading.Lock()
        self._held: dict[str, frozenset[str]] | None = None

    def settle(  # noqa: PLR0913 (what came of a parcel)
        self,
        cargo: str,
        refused: Sequence[Rejected],
        came: pa.Array,
        *,
        source: str,
        now_us: int,
        max_rows: int,
    ) -> None:
        """Keep what was refused, and let go what came right in the meantime.

        The same record again only counts. A record leaves when its row's id is among those
        that came, unless the very record was refused once more.

        Args:
            cargo: ``rows`` or ``labels``.
            refused: with their records.
            came: ids that were accepted, Arrow string array.
            source: where they came from.
            now_us: microseconds since the epoch.
            max_rows: records that are kept at the most.
        """
        held = self._ids(cargo)
        right = held.intersection(came.to_pylist()) if held else set()
        if not refused and not right:
            return
        with self._file.write(needs_room=bool(refused)) as db:
            _release(db, cargo, right, {_digest(cargo, item.record) for item in refused})
            _keep(db, cargo, refused, source, now_us)
            _drop(db, max_rows)
        self._note(cargo, {item.id for item in refused if item.id is not None}, 4 * max_rows)

    def page(self, *, limit: int, after: int | None = None, cargo: str = "") -> list[Refused]:
        """The newest records first.

        Args:
            limit: so many at the most.
            after: only those that follow this one in the list; None for the first.
            cargo: only these; "" for both.
        """
        with self._file.read() as db:
            found = db.execute(
                f"SELECT {_COLUMNS} FROM quarantine WHERE id < ? AND (? = '' OR cargo = ?) "  # noqa: S608 (a constant)
                "ORDER BY id DESC LIMIT ?",
                (2**62 if after is None else after, cargo, cargo, limit),
            ).fetchall()
        return [_refused(row) for row in found]

    def of(self, ids: Iterable[int]) -> list[Refused]:
        """Those records among these that are there, oldest first."""
        found = []
        with self._file.read() as db:
            for part in _parts(sorted(set(ids))):
                query = f"SELECT {_COLUMNS} FROM quarantine WHERE id IN ({_marks(part)})"  # noqa: S608 (a constant and question marks)
                found += db.execute(query, part).fetchall()
        return sorted((_refused(row) for row in found), key=lambda item: item.id)

    def ids(self, cargo: str, wanted: Collection[int] | None = None) -> list[int]:
        """Numbers of the records of a cargo, oldest first; only those wanted, None for all."""
        with self._file.read() as db:
            found = db.execute("SELECT id FROM quarantine WHERE cargo = ? ORDER BY id", (cargo,))
            return [number for (number,) in found if wanted is None or number in wanted]

    def counts(self) -> Refusals:
        """How much is there."""
        with self._file.read() as db:
            found = dict(db.execute("SELECT cargo, count(*) FROM quarantine GROUP BY cargo"))
            (dropped,) = db.execute(
                "SELECT coalesce(max(count), 0) FROM quarantine_dropped"
            ).fetchone()
        return Refusals(rows=found.get("rows", 0), labels=found.get("labels", 0), dropped=dropped)

    def reasons(self) -> list[tuple[str, str, int]]:
        """Cargo, reason without the single record's values, and records; most frequent first."""
        with self._file.read() as db:
            return db.execute(
                "SELECT cargo, kind, count(*) AS n FROM quarantine GROUP BY cargo, kind "
                "ORDER BY n DESC, cargo, kind LIMIT ?",
                (_REASONS,),
            ).fetchall()

    def remove(self, ids: Iterable[int] | None) -> int:
        """Let records go for good; None for all. Returns how many there were."""
        wanted = None if ids is None else sorted(set(ids))
        with self._file.write(needs_room=False) as db, wiped(db):
            if wanted is None:
                gone = db.execute("DELETE FROM quarantine").rowcount
            else:
                gone = sum(
                    db.execute(
                        f"DELETE FROM quarantine WHERE id IN ({_marks(part)})",  # noqa: S608 (only question marks)
                        part,
                    ).rowcount
                    for part in _parts(wanted)
                )
        # What the journal still holds of them goes with the journal.
        self._file.give_back(1)
        return int(gone)

    def _ids(self, cargo: str) -> frozenset[str]:
        """Ids of rows that may be in quarantine: all that are, and some that were."""
        with self._lock:
            # Read under the lock: what others add in the meantime is added to this.
            if self._held is None:
                with self._file.read() as db:
                    self._held = {
                        cargo: frozenset(
                            name
                            for (name,) in db.execute(
                                "SELECT DISTINCT row_id FROM quarantine WHERE cargo = ? "
                                "AND row_id IS NOT NULL",
                                (cargo,),
                            )
                        )
                        for cargo in ("rows", "labels")
                    }
            return self._held[cargo]

    def _note(self, cargo: str, ids: set[str], most: int) -> None:
        with self._lock:
            if self._held is None:
                return
            found = self._held[cargo] | ids
            # Those that left are only found out by reading again.
            self._held = None if len(found) > most else {**self._held, cargo: found}


def forget(db: sqlite3.Connection, row_id: str) -> int:
    """Let every record of a row's id go, inside of a transaction; returns how many."""
    return db.execute("DELETE FROM quarantine WHERE row_id = ?", (row_id,)).rowcount


def cut(record: bytes) -> str:
    """A record as it is kept: JSON text, cut where it is too long."""
    return record[:LONGEST_RECORD].decode(errors="ignore")


_COLUMNS = "id, cargo, row_id, reason, record, source, first_us, last_us, times"


def _refused(row: Sequence[Any]) -> Refused:
    return Refused(**dict(zip(_COLUMNS.split(", "), row, strict=True)))


def _release(
    db: sqlite3.Connection, cargo: str, ids: Collection[str], once_more: Collection[bytes]
) -> None:
    for row_id in ids:
        found = db.execute(
            "SELECT id, digest FROM quarantine WHERE row_id = ? AND cargo = ?", (row_id, cargo)
        ).fetchall()
        gone = [(number,) for number, digest in found if digest not in once_more]
        db.executemany("DELETE FROM quarantine WHERE id = ?", gone)


def _keep(
    db: sqlite3.Connection, cargo: str, refused: Sequence[Rejected], source: str, now_us: int
) -> None:
    db.executemany(
        "INSERT INTO quarantine "
        "(digest, cargo, row_id, reason, kind, record, source, first_us, last_us, times) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 1) ON CONFLICT (digest) DO UPDATE SET "
        "row_id = excluded.row_id, reason = excluded.reason, kind = excluded.kind, "
        "source = excluded.source, last_us = excluded.last_us, times = times + 1",
        (
            (
                _digest(cargo, item.record),
                cargo,
                item.id,
                item.reason,
                in_general(item.reason),
                item.record,
                source,
                now_us,
                now_us,
            )
            for item in refused
        ),
    )


def _drop(db: sqlite3.Connection, max_rows: int) -> None:
    (held,) = db.execute("SELECT count(*) FROM quarantine").fetchone()
    if held <= max_rows:
        return
    db.execute(
        "DELETE FROM quarantine WHERE id IN "
        "(SELECT id FROM quarantine ORDER BY last_us, id LIMIT ?)",
        (held - max_rows,),
    )
    db.execute(
        "INSERT INTO quarantine_dropped VALUES (1, ?) "
        "ON CONFLICT (one) DO UPDATE SET count = count + excluded.count",
        (held - max_rows,),
    )


def in_general(reason: str) -> str:
    """A reason without the value that was refused, so that equal mistakes are counted together."""
    return _OWN_PART.sub("", _OWN_LABEL.sub("a label ", reason))[:500]


def _digest(cargo: str, record: str) -> bytes:
    return hashlib.blake2b(f"{cargo} {record}".encode(), digest_size=16).digest()


def _parts(ids: Sequence[int]) -> Iterable[Sequence[int]]:
    return (ids[start : start + _CHUNK] for start in range(0, len(ids), _CHUNK))


def _marks(part: Sequence[int]) -> str:
    return ",".join("?" * len(part))
