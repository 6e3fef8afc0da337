"""Finding stored rows by sequence number."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

from retuned.rows.segment import COLUMNS, Segment, segment_of

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

T = TypeVar("T")

AT_ONCE = 10_000
"""Values that one query names at the most, and rows that are read together."""


def last_seq_of(db: sqlite3.Connection) -> int:
    """The newest sequence number of the log."""
    (found,) = db.execute("SELECT last_seq FROM total").fetchone()
    return int(found)


def oldest_seq(db: sqlite3.Connection) -> int:
    """Sequence number of the oldest row that there is; one more than the newest for none."""
    (found,) = db.execute("SELECT min(first_seq) FROM batch").fetchone()
    return last_seq_of(db) + 1 if found is None else int(found)


def segments_with(db: sqlite3.Connection, seqs: NDArray[np.int64]) -> Iterator[list[Segment]]:
    """The segments that hold any of these rows, by sequence number, some at a time.

    Of many rows here and there, all together may be more than there is memory.

    Args:
        db: a consistent state of the file.
        seqs: sequence numbers, ascending (n).

    Yields:
        Segments of some ten thousand rows.
    """
    if not len(seqs):
        return
    # Without their data: most of what lies between may not be asked for.
    found = db.execute(
        "SELECT first_seq, last_seq, rows FROM batch WHERE first_seq <= ? AND last_seq >= ? "
        "ORDER BY first_seq",
        (int(seqs[-1]), int(seqs[0])),
    ).fetchall()
    spans = np.array(found, np.int64).reshape(-1, 3)
    inside = np.searchsorted(seqs, spans[:, 0], "left") < np.searchsorted(
        seqs, spans[:, 1], "right"
    )
    spans = spans[inside]
    groups = np.cumsum(spans[:, 2]) // AT_ONCE
    for group in np.unique(groups):
        firsts = spans[groups == group, 0].tolist()
        yield [
            segment_of(row)
            for part in chunks(firsts)
            for row in db.execute(
                f"SELECT {COLUMNS} FROM batch WHERE first_seq IN ({marks(part)})"  # noqa: S608 (only question marks)
                " ORDER BY first_seq",
                part,
            )
        ]


def is_there(db: sqlite3.Connection, seqs: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether rows are still kept, bool (n); seqs of rows that once were there."""
    if not len(seqs):
        return np.zeros(0, np.bool_)
    span = (int(seqs.max()), int(seqs.min()))
    is_kept = _is_within(db, "batch", span, seqs)
    # Segments grow together over those that were dropped between them.
    return is_kept & ~_is_within(db, "dropped", span, seqs)


def _is_within(
    db: sqlite3.Connection, table: str, span: tuple[int, int], seqs: NDArray[np.int64]
) -> NDArray[np.bool_]:
    found = db.execute(
        f"SELECT first_seq, last_seq FROM {table} WHERE first_seq <= ? AND last_seq >= ? "  # noqa: S608 (a constant)
        "ORDER BY first_seq",
        span,
    ).fetchall()
    spans = np.array([(-1, -1), *found], np.int64)
    place = np.searchsorted(spans[:, 0], seqs, "right") - 1
    return np.asarray(seqs <= spans[place, 1])


def superseded(db: sqlite3.Connection, seqs: Sequence[int]) -> set[int]:
    """Those of the rows that others took the place of, or that were forgotten."""
    return {
        seq
        for part in chunks(seqs)
        for (seq,) in db.execute(
            f"SELECT seq FROM superseded WHERE seq IN ({marks(part)})",  # noqa: S608 (only question marks)
            part,
        )
    }


def origins_of(db: sqlite3.Connection, seqs: Iterable[int]) -> dict[int, int]:
    """Under which sequence number the ids of revised rows first came; others are not named."""
    (has_any,) = db.execute("SELECT EXISTS (SELECT 1 FROM superseded)").fetchone()
    found: dict[int, int] = {}
    if has_any:
        for part in chunks(list(seqs)):
            found.update(
                db.execute(
                    f"SELECT by_seq, origin FROM superseded WHERE by_seq IN ({marks(part)})",  # noqa: S608 (only question marks)
                    part,
                )
            )
    return found


def chunks(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """As many values as one query can name, again and again."""
    for start in range(0, len(values), AT_ONCE):
        yield values[start : start + AT_ONCE]


def marks(values: Sequence[object]) -> str:
    """A question mark for each value."""
    return ",".join("?" * len(values))
