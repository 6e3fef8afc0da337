"""Dropping the oldest segments of a log, with all that belongs to their rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from retuned.rows import arrival
from retuned.rows.find import oldest_seq
from retuned.rows.segment import COLUMNS, LABEL, ORIGIN, SEQ, read_segments, segment_of

if TYPE_CHECKING:
    import sqlite3

    from retuned.rows.form import Forms
    from retuned.rows.segment import Segment


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much a log may hold; what is older is dropped, oldest segments first.

    Attributes:
        rows: rows at the most; 0 for any number.
        data_bytes: bytes of all segments at the most; 0 for any number.
        before_us: rows of an earlier time may go, microseconds since the epoch; None for none.
        floor: rows that are kept whatever else is said, and as many of those with labels.
        needed_us: rows of this time or a later one are kept as well; None for none.
    """

    rows: int = 0
    data_bytes: int = 0
    before_us: int | None = None
    floor: int = 0
    needed_us: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """What was dropped: rows, and how many segments they were stored in."""

    rows: int = 0
    segments: int = 0


def retain(db: sqlite3.Connection, forms: Forms, limits: Limits) -> Dropped:
    """Drop the oldest segment that is over a limit and that nobody needs."""
    seqs = db.execute("SELECT first_seq FROM batch ORDER BY max_time, first_seq").fetchall()
    for (first,) in seqs:
        found = db.execute(f"SELECT {COLUMNS} FROM batch WHERE first_seq = ?", (first,))  # noqa: S608 (names of columns)
        oldest = segment_of(found.fetchone())
        rows, labelled = db.execute("SELECT rows, labelled FROM total").fetchone()
        if not _is_over(db, oldest, rows, limits) or _is_needed(oldest, limits):
            break
        origins, with_label = _kept_rows(db, forms, oldest)
        if rows - len(origins) < limits.floor:
            # Rows without labels are no evidence, but as many of them may still get theirs.
            break
        if with_label and labelled - len(with_label) < limits.floor:
            # The labels are needed; rows that never got any may follow.
            continue
        arrival.forget(db, origins, with_label)
        _drop(db, oldest, origins)
        db.execute(
            "UPDATE total SET rows = rows - ?, labelled = labelled - ?",
            (len(origins), len(with_label)),
        )
        return Dropped(rows=len(origins), segments=1)
    return Dropped()


def _is_over(db: sqlite3.Connection, oldest: Segment, rows: int, limits: Limits) -> bool:
    if limits.rows and rows - oldest.rows >= limits.rows:
        return True
    if limits.before_us is not None and oldest.max_time < limits.before_us:
        return True
    if not limits.data_bytes:
        return False
    (size,) = db.execute("SELECT sum(length(data)) FROM batch").fetchone()
    return int(size) > limits.data_bytes


def _is_needed(oldest: Segment, limits: Limits) -> bool:
    return limits.needed_us is not None and oldest.max_time >= limits.needed_us


def _kept_rows(
    db: sqlite3.Connection, forms: Forms, segment: Segment
) -> tuple[list[int], list[int]]:
    """Origins of the segment's rows that are not superseded, and of those with labels."""
    table = read_segments([segment], forms)
    span = (segment.first_seq, segment.last_seq)
    gone = db.execute("SELECT seq FROM superseded WHERE seq >= ? AND seq <= ?", span).fetchall()
    is_here = np.isin(table[SEQ].to_numpy(), np.array(gone, np.int64), invert=True)
    table = table.filter(pa.array(is_here))
    origins = table[ORIGIN].to_pylist()
    folded = table.filter(table[LABEL].is_valid())[ORIGIN].to_pylist()
    limits = (min(origins, default=0), max(origins, default=-1))
    apart = db.execute(
        "SELECT DISTINCT origin FROM label WHERE origin >= ? AND origin <= ?", limits
    ).fetchall()
    labelled = {origin for (origin,) in apart} | set(folded)
    return origins, list(labelled & set(origins))


def _drop(db: sqlite3.Connection, segment: Segment, origins: list[int]) -> None:
    span = (segment.first_seq, segment.last_seq)
    db.execute("DELETE FROM batch WHERE first_seq = ?", (segment.first_seq,))
    db.executemany("DELETE FROM label WHERE origin = ?", [(origin,) for origin in origins])
    db.execute("DELETE FROM loss WHERE row_seq >= ? AND row_seq <= ?", span)
    # Who superseded whom is told as long as one of the two is there.
    oldest = oldest_seq(db)
    db.execute("DELETE FROM superseded WHERE seq < ? AND by_seq < ?", (oldest, oldest))
    db.execute("INSERT INTO dropped VALUES (?, ?)", span)
    db.execute("DELETE FROM dropped WHERE last_seq < ?", (oldest,))
    arrival.drop_before(db, oldest)
    orphans = db.execute("DELETE FROM orphan WHERE seq < ?", (oldest,)).rowcount
    db.execute("UPDATE total SET orphans = orphans - ?", (orphans,))
