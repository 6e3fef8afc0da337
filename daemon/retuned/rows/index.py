"""The index of ids of a log: what is on disk, and the rest out of the log itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retuned.rows.find import last_seq_of, oldest_seq
from retuned.rows.fixed import mark_of
from retuned.rows.form import Forms
from retuned.rows.ids import IdIndex, digest
from retuned.rows.segment import COLUMNS, ID, SEQ, read_segments, segment_of

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

    from retuned_pipelines.schema import Task


def filled(db: sqlite3.Connection, directory: Path, task: Task) -> IdIndex:
    """The index of a log's ids, whole.

    Args:
        db: a consistent state of the file.
        directory: of the index's runs.
        task: what the log's labels are.

    Raises:
        OSError: the disk is full.
    """
    index = IdIndex(directory, mark_of(db))
    index.take_runs(last_seq_of(db))
    forms, oldest = Forms.read(db, task), oldest_seq(db)
    query = f"SELECT {COLUMNS} FROM batch WHERE last_seq > ? ORDER BY first_seq"  # noqa: S608 (names of columns)
    for segment in map(segment_of, db.execute(query, (index.covered,))):
        table = read_segments([segment], forms)
        index.add([digest(name) for name in table[ID].to_pylist()], table[SEQ].to_pylist())
        index.settle(segment.last_seq, lambda: oldest)
    return index
