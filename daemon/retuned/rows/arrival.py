"""When rows and labels came: what the delay of labels is measured by.

One line a commit, and one for all those of a kind that follow each other within a second, so that
a stream of single rows costs next to nothing. Times of rows within a line are taken as evenly
spread between its first and its last.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from retuned.rows import delay

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from numpy.typing import NDArray

TABLES = f"""
CREATE TABLE IF NOT EXISTS arrival (
    first_seq INTEGER PRIMARY KEY, last_seq INTEGER NOT NULL,
    since_us INTEGER NOT NULL, at_us INTEGER NOT NULL,  -- when the first and the last came
    min_time INTEGER, max_time INTEGER  -- null for labels
);
{delay.TABLES}
"""

UNKNOWN = -1
"""When something came that nobody wrote down: with an older release."""

_TOGETHER_US = 1_000_000
_DENSE = 8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Arrivals:
    """When rows came, int64 (n) each, microseconds since the epoch; `UNKNOWN` where nobody knows.

    Attributes:
        at: when they came.
        time: their own times.
        due: when their labels could begin to come: the later of the two, for their commit.
    """

    at: NDArray[np.int64]
    time: NDArray[np.int64]
    due: NDArray[np.int64]


def note_rows(
    db: sqlite3.Connection, first: int, time: NDArray[np.int64], *, new: int, at_us: int
) -> None:
    """Note that rows came.

    Args:
        db: inside of the transaction that appends them.
        first: their first sequence number; the others follow it.
        time: their times, int64 (n), n > 0, in that order.
        new: how many of them are no revisions.
        at_us: now.
    """
    oldest, newest = int(time.min()), int(time.max())
    _note(db, first, first + len(time) - 1, at_us, (oldest, newest))
    delay.count(db, [max(at_us, newest)], rows=new)


def note_labels(  # noqa: PLR0913 (what came, and of what)
    db: sqlite3.Connection,
    first: int,
    last: int,
    origins: Sequence[int],
    *,
    at_us: int,
    is_measured: bool = True,
) -> None:
    """Note that labels came.

    Args:
        db: inside of the transaction that appends them.
        first: their first sequence number.
        last: and the last one.
        origins: sequence numbers of the rows whose first label is among them.
        at_us: now.
        is_measured: whether they came later than their rows, and not with them or before.
    """
    if last >= first:
        _note(db, first, last, at_us, (None, None))
    if not origins:
        return
    rows = arrivals(db, np.array(origins, dtype=np.int64))
    is_known = rows.at != UNKNOWN
    delay.count(db, rows.due[is_known].tolist(), labelled=1)
    if is_measured:
        delay.measure(db, at_us - rows.at[is_known], at_us - rows.time[is_known])


def arrivals(db: sqlite3.Connection, seqs: NDArray[np.int64]) -> Arrivals:
    """When rows or labels came, by their sequence numbers, int64 (n).

    Labels have no times of their own: theirs are `UNKNOWN`.
    """
    lines = _lines(db, np.unique(seqs))
    if not len(lines):
        nothing = np.full(len(seqs), UNKNOWN, dtype=np.int64)
        return Arrivals(at=nothing, time=nothing, due=nothing)
    place = np.maximum(np.searchsorted(lines[:, 0], seqs, side="right") - 1, 0)
    first, last, at, oldest, newest = lines[place].T
    is_known = (first <= seqs) & (seqs <= last)
    share = (seqs - first) / np.maximum(last - first, 1)
    time = oldest + np.round((newest - oldest) * np.clip(share, 0, 1)).astype(np.int64)
    return Arrivals(
        at=np.where(is_known, at, UNKNOWN),
        time=np.where(is_known, time, UNKNOWN),
        due=np.where(is_known, np.maximum(at, newest), UNKNOWN),
    )


def forget(db: sqlite3.Connection, origins: Sequence[int], labelled: Sequence[int]) -> None:
    """Let rows count no more that are deleted, inside of a transaction.

    Args:
        db: in a transaction; what the rows were is known until they are let go here.
        origins: sequence numbers under which they first came.
        labelled: those among them that had a label.
    """
    for gone, weight in ((origins, {"rows": -1}), (labelled, {"labelled": -1})):
        if gone:
            rows = arrivals(db, np.array(gone, dtype=np.int64))
            delay.count(db, rows.due[rows.at != UNKNOWN].tolist(), **weight)


def drop_before(db: sqlite3.Connection, seq: int) -> None:
    """Let go what is known of rows and labels before a sequence number."""
    db.execute("DELETE FROM arrival WHERE last_seq < ?", (seq,))


def _note(
    db: sqlite3.Connection, first: int, last: int, at_us: int, times: tuple[int | None, int | None]
) -> None:
    newest = db.execute(
        "SELECT first_seq, last_seq, since_us, at_us, min_time, max_time FROM arrival "
        "ORDER BY first_seq DESC LIMIT 1"
    ).fetchone()
    if newest is not None and _go_together(newest, first, at_us, times):
        merged = (None, None)
        if times[0] is not None:
            merged = (min(newest[4], times[0]), max(newest[5], times[1]))
        db.execute(
            "UPDATE arrival SET last_seq = ?, at_us = ?, min_time = ?, max_time = ? "
            "WHERE first_seq = ?",
            (last, max(at_us, newest[3]), *merged, newest[0]),
        )
    else:
        db.execute(
            "INSERT OR REPLACE INTO arrival VALUES (?, ?, ?, ?, ?, ?)",
            (first, last, at_us, at_us, *times),
        )


def _go_together(
    line: tuple[int, int, int, int, int | None, int | None],
    first: int,
    at_us: int,
    times: tuple[int | None, int | None],
) -> bool:
    _, last, since_us, before_us, oldest, newest = line
    if last + 1 != first or not 0 <= at_us - since_us < _TOGETHER_US:
        return False
    if (oldest is None) != (times[0] is None):
        return False
    if newest is None or times[1] is None:
        return True
    # What was counted under one due time must be found under it again.
    return delay.slot(max(before_us, newest)) == delay.slot(max(at_us, times[1]))


def _lines(db: sqlite3.Connection, seqs: NDArray[np.int64]) -> NDArray[np.int64]:
    """The lines of sequence numbers in order: first, last, at, oldest, newest (m, 5)."""
    found: list[tuple[int, ...]] = []
    columns = "first_seq, last_seq, at_us, coalesce(min_time, -1), coalesce(max_time, -1)"
    before = f"SELECT {columns} FROM arrival WHERE first_seq <= ? ORDER BY first_seq DESC LIMIT 1"  # noqa: S608 (a constant)
    if len(seqs) and seqs[-1] - seqs[0] <= _DENSE * len(seqs):
        found += db.execute(before, (int(seqs[0]),)).fetchall()
        found += db.execute(
            f"SELECT {columns} FROM arrival WHERE first_seq > ? AND first_seq <= ? "  # noqa: S608 (a constant)
            "ORDER BY first_seq",
            (int(seqs[0]), int(seqs[-1])),
        ).fetchall()
    else:
        place = 0
        while place < len(seqs):
            line = db.execute(before, (int(seqs[place]),)).fetchone()
            if line is None:
                place += 1
                continue
            if not found or found[-1] != line:
                found.append(line)
            place = max(place + 1, int(np.searchsorted(seqs, line[1], side="right")))
    return np.array(found, dtype=np.int64).reshape(-1, 5)
