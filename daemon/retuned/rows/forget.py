"""Deleting a row for good, as the person whom it is about may ask."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from retuned.rows import arrival
from retuned.rows.find import last_seq_of, segments_with
from retuned.rows.segment import (
    ID,
    LABEL,
    LABEL_SEQ,
    ORIGIN,
    SEQ,
    TIME,
    folded_schema,
    read_segments,
)

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from retuned.rows.append import Book
    from retuned.rows.segment import Segment


_FORGOTTEN = (0,)
"""By what a row is superseded that was deleted before."""


@contextmanager
def wiped(db: sqlite3.Connection) -> Iterator[None]:
    """Let what is deleted meanwhile be overwritten in the file, and not only be marked free."""
    db.execute("PRAGMA secure_delete = ON")
    try:
        yield
    finally:
        db.execute("PRAGMA secure_delete = OFF")


def forget(book: Book, name: bytes) -> bool:
    """Delete a row in all its versions, with its labels and losses; its id cannot come again.

    The row's place stays, empty, so that what others learned from remains countable; of the
    id there remains the digest by which it is refused.

    Args:
        book: the log.
        name: the id's digest.

    Returns:
        Whether there was anything of it.
    """
    db = book.db
    found = book.index.find([name]).get(0, [])
    seqs = np.array(sorted(found), np.int64)
    wanted = set(found)
    gone = [
        row
        for segments in segments_with(db, seqs)
        for segment in segments
        for row in _blank(book, segment, wanted)
    ]
    current = {origin for origin, is_current, _ in gone if is_current}
    labelled = {origin for origin, _, has_label in gone if has_label} & current
    arrival.forget(db, list(current), list(labelled))
    orphans = db.execute("DELETE FROM orphan WHERE digest = ?", (name,)).rowcount
    db.execute(
        "UPDATE total SET rows = rows - ?, labelled = labelled - ?, orphans = orphans - ?",
        (len(current), len(labelled), orphans),
    )
    # Older content counts too, where retention has dropped the newest.
    is_known = bool(gone or orphans)
    if is_known:
        db.execute("INSERT INTO forgotten VALUES (?, ?)", (name, last_seq_of(db)))
    return is_known


def _blank(book: Book, segment: Segment, wanted: set[int]) -> list[tuple[int, bool, bool]]:
    """Empty rows of a segment.

    Returns:
        For each that was not empty: its origin, whether it was what its id says, and whether
        it had a label.
    """
    db, forms = book.db, book.forms
    table = read_segments([segment], forms)
    is_gone = np.isin(table[SEQ].to_numpy(), list(wanted))
    part = table.filter(pa.array(is_gone))
    gone = []
    for seq, origin, folded in zip(
        *(part[name].to_pylist() for name in (SEQ, ORIGIN, LABEL)), strict=True
    ):
        by = db.execute("SELECT by_seq FROM superseded WHERE seq = ?", (seq,)).fetchone()
        if by == _FORGOTTEN:
            continue
        apart = db.execute("DELETE FROM label WHERE origin = ?", (origin,)).rowcount
        gone.append((origin, by is None, folded is not None or apart > 0))
        db.execute("DELETE FROM loss WHERE row_seq = ?", (seq,))
        db.execute("INSERT OR REPLACE INTO superseded VALUES (?, 0, ?)", (seq, origin))
    db.execute(
        "UPDATE batch SET data = ?, form = ? WHERE first_seq = ?",
        (_emptied(book, table, is_gone, segment), book.forms.number, segment.first_seq),
    )
    return gone


def _emptied(book: Book, table: pa.Table, is_gone: np.ndarray, segment: Segment) -> memoryview:
    # Taken anew: values under a null would stay where they are.
    kept = pa.array(np.arange(len(is_gone)), mask=is_gone)
    place = {ID: "", TIME: int(table[TIME].to_numpy().min())}
    columns = []
    for item in folded_schema(book.forms.newest, book.forms.task):
        column = table[item.name]
        if item.name not in {SEQ, ORIGIN}:
            column = column.take(kept)
        if item.name in place:
            column = column.fill_null(place[item.name])
        columns.append(column)
    emptied = pa.table(columns, names=table.column_names)
    if not segment.is_folded:
        emptied = emptied.drop_columns([LABEL_SEQ, LABEL])
    (record,) = emptied.combine_chunks().to_batches()
    return memoryview(record.serialize())
