"""Refused records as a row log's file holds them, inside of a transaction."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Sequence

    from retuned.rows.batch import Rejected

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

_OWN_PART = re.compile(r" is .*(?=: expected)", re.DOTALL)
_OWN_LABEL = re.compile(r"^label .*? (?=is (no|a|text|true) )", re.DOTALL)


def forget(db: sqlite3.Connection, row_id: str) -> int:
    """Let every record of a row's id go, inside of a transaction; returns how many."""
    return db.execute("DELETE FROM quarantine WHERE row_id = ?", (row_id,)).rowcount


def cut(record: bytes) -> str:
    """A record as it is kept: JSON text, cut where it is too long."""
    return record[:LONGEST_RECORD].decode(errors="ignore")


def release(
    db: sqlite3.Connection, cargo: str, ids: Collection[str], once_more: Collection[bytes]
) -> None:
    """Let the records of rows go that came right, but for those that were refused once more."""
    for row_id in ids:
        found = db.execute(
            "SELECT id, digest FROM quarantine WHERE row_id = ? AND cargo = ?", (row_id, cargo)
        ).fetchall()
        gone = [(number,) for number, digest in found if digest not in once_more]
        db.executemany("DELETE FROM quarantine WHERE id = ?", gone)


def keep(
    db: sqlite3.Connection, cargo: str, refused: Sequence[Rejected], source: str, now_us: int
) -> None:
    """Keep records that were refused; the same one again only counts."""
    db.executemany(
        "INSERT INTO quarantine "
        "(digest, cargo, row_id, reason, kind, record, source, first_us, last_us, times) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 1) ON CONFLICT (digest) DO UPDATE SET "
        "row_id = excluded.row_id, reason = excluded.reason, kind = excluded.kind, "
        "source = excluded.source, last_us = excluded.last_us, times = times + 1",
        (
            (
                digest_of(cargo, item.record),
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


def drop(db: sqlite3.Connection, max_rows: int) -> None:
    """Let those that were last refused longest ago go, where there are too many, and count them."""
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


def digest_of(cargo: str, record: str) -> bytes:
    """What tells a record from every other."""
    return hashlib.blake2b(f"{cargo} {record}".encode(), digest_size=16).digest()
