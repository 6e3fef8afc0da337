"""Making few large segments out of many small ones, and storing labels with their rows.

A row that comes alone is a segment of its own, and costs more than a kilobyte. Segments of
about one size are merged into one of the next, so that each row is written a few times at the
most, whatever the sizes in which rows come.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from retuned.rows.find import last_seq_of
from retuned.rows.segment import (
    COLUMNS,
    LABEL,
    LABEL_SEQ,
    ORIGIN,
    SEQ,
    insert_segment,
    label_type,
    read_segments,
    segment_of,
)

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from retuned.rows.form import Forms
    from retuned.rows.segment import Segment

SEGMENT_ROWS = 10_000
"""Rows of a segment that is left as it is."""

FAN_IN = 16
"""So many neighbours of one size become one of the next."""

FOLD_AFTER = 200_000
"""Sequence numbers after which labels that have not come are not waited for."""

Span = tuple[int, int, int]
"""A segment's first sequence number, its rows and its form."""


def compact(db: sqlite3.Connection, forms: Forms) -> int:
    """Merge one group of neighbours; gives how many there were, 0 for none to merge."""
    spans = db.execute(
        "SELECT first_seq, CASE WHEN last_label IS NULL THEN rows ELSE ? END, form "
        "FROM batch ORDER BY first_seq",
        (SEGMENT_ROWS,),
    ).fetchall()
    group = mergeable(spans)
    if group:
        segments = _segments(db, group[0][0], group[-1][0])
        table = read_segments(segments, forms).drop_columns([LABEL_SEQ, LABEL])
        _replace(db, segments, table, forms)
    return len(group)


def mergeable(spans: Sequence[Span]) -> Sequence[Span]:
    """Neighbours to be merged: the smallest ones first; none where there is nothing to gain.

    Args:
        spans: of all segments, in order.
    """
    limit = FAN_IN
    while limit < SEGMENT_ROWS * FAN_IN:
        start = 0
        for stop in range(len(spans) + 1):
            if stop < len(spans) and _is_alike(spans[start], spans[stop], limit):
                continue
            if group := _cut(spans[start:stop], limit):
                return group
            start = stop + (stop < len(spans) and spans[stop][1] >= min(limit, SEGMENT_ROWS))
        limit *= FAN_IN
    return ()


def fold(db: sqlite3.Connection, forms: Forms, *, after: int) -> int | None:
    """Store the labels of the next segment with its rows where they are all there, or late.

    Args:
        db: in a transaction.
        forms: of the log.
        after: sequence number; only segments that begin after it are looked at.

    Returns:
        Where the next look goes on from; None at the end.
    """
    # Without the data: most segments wait for labels, or will never have any.
    spans = db.execute(
        "SELECT first_seq, last_seq, rows FROM batch "
        "WHERE first_seq > ? AND last_label IS NULL AND rows >= ? ORDER BY first_seq",
        (after, SEGMENT_ROWS // 2),
    ).fetchall()
    late_before = last_seq_of(db) - FOLD_AFTER
    for first, last, rows in spans:
        (count,) = db.execute(
            "SELECT count(DISTINCT origin) FROM label WHERE origin >= ? AND origin <= ?",
            (first, last),
        ).fetchone()
        if count and (last < late_before or count >= rows):
            (segment,) = _segments(db, first, first)
            labels = db.execute(
                "SELECT origin, seq, value FROM label WHERE origin >= ? AND origin <= ?",
                (first, last),
            ).fetchall()
            _fold(db, forms, segment, labels)
            return int(first)
    return None


def _fold(
    db: sqlite3.Connection,
    forms: Forms,
    segment: Segment,
    labels: Sequence[tuple[int, int, float | str]],
) -> None:
    table = read_segments([segment], forms)
    revised = db.execute(
        "SELECT seq FROM superseded WHERE seq >= ? AND seq <= ?",
        (segment.first_seq, segment.last_seq),
    ).fetchall()
    times = Counter(origin for origin, _, _ in labels)
    gone = {seq for (seq,) in revised}
    # A row with a history of its own stays in the tables that tell it.
    own = table[SEQ].to_numpy()[table[SEQ].to_numpy() == table[ORIGIN].to_numpy()].tolist()
    plain = {seq for seq in own if times[seq] == 1 and seq not in gone}
    folded = {origin: (seq, value) for origin, seq, value in labels if origin in plain}
    if not folded:
        return
    pairs = [folded.get(seq, (None, None)) for seq in table[SEQ].to_pylist()]
    table = table.drop_columns([LABEL_SEQ, LABEL])
    table = table.append_column(LABEL_SEQ, pa.array([seq for seq, _ in pairs], pa.int64()))
    values = pa.array([value for _, value in pairs], label_type(forms.task))
    _replace(db, [segment], table.append_column(LABEL, values), forms)
    db.executemany("DELETE FROM label WHERE origin = ?", [(origin,) for origin in folded])


def _is_alike(first: Span, other: Span, limit: int) -> bool:
    return other[1] < min(limit, SEGMENT_ROWS) and other[2] == first[2]


def _cut(spans: Sequence[Span], limit: int) -> Sequence[Span]:
    """The oldest of alike neighbours that fill a segment; all where many are of that size."""
    sizes = np.array([rows for _, rows, _ in spans])
    fits = int(np.searchsorted(np.cumsum(sizes), SEGMENT_ROWS, "right"))
    if fits < len(spans):
        return spans[: max(fits, 2)]
    return spans if (sizes >= limit // FAN_IN).sum() >= FAN_IN else ()


def _segments(db: sqlite3.Connection, first: int, last: int) -> list[Segment]:
    found = db.execute(
        f"SELECT {COLUMNS} FROM batch WHERE first_seq >= ? AND first_seq <= ? ORDER BY first_seq",  # noqa: S608 (names of columns)
        (first, last),
    )
    return [segment_of(row) for row in found]


def _replace(
    db: sqlite3.Connection, segments: Sequence[Segment], table: pa.Table, forms: Forms
) -> None:
    """Store rows in the place of segments, in the newest form."""
    gone = [(segment.first_seq,) for segment in segments]
    db.executemany("DELETE FROM batch WHERE first_seq = ?", gone)
    insert_segment(db, table, forms.number)
