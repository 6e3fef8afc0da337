"""Reading windows out of a row log's file."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from retuned_pipelines.window import NOT_LABELLED, Window

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from retuned_pipelines.schema import Schema, Task

_HEAD = [("__id", pa.string()), ("__time", pa.int64()), ("__origin", pa.int64())]

_AT_ONCE = 10_000
"""Rows whose batches are read together: a query each would cost more than a small batch."""

_EARLIEST = -(2**63)

Stored = tuple[int, int, int, bytes]
"""A batch as it is stored: its first and last sequence number, its newest time, its data."""


def read_window(  # noqa: PLR0913 (what a window is asked by)
    db: sqlite3.Connection,
    schema: Schema,
    task: Task,
    *,
    as_of: int,
    newest: int | None,
    labelled: bool,
    first_seq: int,
    with_labels: bool,
) -> Window:
    """Read a window; see `RowLog.window`.

    Batches are read from the newest time backwards, until there are enough rows and no older
    batch can hold a newer one.
    """
    parts: list[Window] = []
    rows = 0
    at_once = _AT_ONCE if newest is None else min(newest, _AT_ONCE)
    for oldest, batches in _batches(db, as_of, first_seq, at_once):
        part = _read_part(
            db,
            schema,
            task,
            batches,
            as_of=as_of,
            first_seq=first_seq,
            with_labels=with_labels,
        )
        found = part.labelled() if labelled else part
        parts.append(found)
        rows += len(found)
        if newest is not None and rows >= newest:
            times = np.concatenate([p.time for p in parts])
            if np.partition(times, rows - newest)[rows - newest] > oldest:
                break
    return _ordered(parts or [_empty(schema, task, as_of)]).newest(newest)


def _batches(
    db: sqlite3.Connection, as_of: int, first_seq: int, at_once: int
) -> Iterator[tuple[int, list[Stored]]]:
    """Yield batches, newest first: about so many rows at once, then more and more.

    With them comes the newest time that the batches after them can still have.
    """
    # The index gives the order: batches that are not needed are never read.
    found = db.execute(
        "SELECT first_seq, last_seq, max_time, data FROM batch INDEXED BY batch_by_time "
        "WHERE first_seq <= ? AND last_seq >= ? ORDER BY max_time DESC, first_seq DESC",
        (as_of, first_seq),
    )
    following = found.fetchone()
    while following is not None:
        batches: list[Stored] = []
        rows = 0
        while following is not None and rows < at_once:
            batches.append(following)
            rows += following[1] - following[0] + 1
            following = found.fetchone()
        yield _EARLIEST if following is None else following[2], batches
        at_once = min(2 * at_once, _AT_ONCE)


def _read_part(  # noqa: PLR0913 (what a window is asked by)
    db: sqlite3.Connection,
    schema: Schema,
    task: Task,
    batches: Sequence[Stored],
    *,
    as_of: int,
    first_seq: int,
    with_labels: bool,
) -> Window:
    table = _table(schema, [data for _, _, _, data in batches])
    seq = np.concatenate(
        [np.arange(first, last + 1, dtype=np.int64) for first, last, _, _ in batches]
    )
    gone = db.execute(
        "SELECT seq FROM superseded WHERE seq >= ? AND seq <= ? AND by_seq <= ?",
        (int(seq.min()), int(seq.max()), as_of),
    ).fetchall()
    is_visible = (seq <= as_of) & (seq >= first_seq)
    is_visible &= np.isin(seq, np.array(gone, dtype=np.int64), invert=True)
    if not is_visible.all():
        table, seq = table.filter(pa.array(is_visible)), seq[is_visible]
    origin = table["__origin"].to_numpy()
    known = _labels(db, task, origin, as_of) if with_labels else _no_labels(task, len(origin))
    label_seq, target = known
    return Window(
        schema=schema,
        features=table.select(list(schema.names)),
        ids=_whole(table["__id"]),
        time=table["__time"].to_numpy(),
        seq=seq,
        label_seq=label_seq,
        target=target,
        as_of=as_of,
    )


def _table(schema: Schema, batches: Sequence[bytes]) -> pa.Table:
    """The rows of batches, one after the other."""
    stored = pa.schema([*_HEAD, *schema.arrow])
    # Batches after their schema are what Arrow calls a stream: it reads many at once.
    stream = b"".join([stored.serialize().to_pybytes(), *batches])
    with pa.ipc.open_stream(stream) as reader:
        return reader.read_all().combine_chunks()


def _labels(
    db: sqlite3.Connection, task: Task, origin: NDArray[np.int64], as_of: int
) -> tuple[NDArray[np.int64], pa.Array]:
    """Find the newest label of each row that was known by then."""
    kind = pa.string() if task.is_classification else pa.float64()
    limits = (int(origin.min()), int(origin.max())) if len(origin) else (0, -1)
    # The value is that of the largest number: SQLite promises it. With the plus sign it takes
    # the index by origin, and does not walk through all labels up to that number.
    found = db.execute(
        "SELECT origin, max(seq), value FROM label "
        "WHERE origin >= ? AND origin <= ? AND +seq <= ? GROUP BY origin",
        (*limits, as_of),
    ).fetchall()
    if not found:
        return _no_labels(task, len(origin))
    rows, numbers, values = zip(*found, strict=True)
    labelled = np.array(rows, dtype=np.int64)
    place = np.minimum(np.searchsorted(labelled, origin), len(labelled) - 1)
    is_labelled = labelled[place] == origin
    label_seq = np.where(is_labelled, np.array(numbers, dtype=np.int64)[place], NOT_LABELLED)
    return label_seq, pa.array(values, kind).take(pa.array(place, mask=~is_labelled))


def _no_labels(task: Task, rows: int) -> tuple[NDArray[np.int64], pa.Array]:
    kind = pa.string() if task.is_classification else pa.float64()
    return np.full(rows, NOT_LABELLED, dtype=np.int64), pa.nulls(rows, kind)


def _ordered(parts: Sequence[Window]) -> Window:
    joined = parts[0]
    if len(parts) > 1:
        joined = replace(
            joined,
            features=pa.concat_tables([part.features for part in parts]).combine_chunks(),
            ids=pa.concat_arrays([part.ids for part in parts]),
            time=np.concatenate([part.time for part in parts]),
            seq=np.concatenate([part.seq for part in parts]),
            label_seq=np.concatenate([part.label_seq for part in parts]),
            target=pa.concat_arrays([part.target for part in parts]),
        )
    return joined.take(np.lexsort((joined.seq, joined.time)))


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def _empty(schema: Schema, task: Task, as_of: int) -> Window:
    nothing = np.empty(0, dtype=np.int64)
    return Window(
        schema=schema,
        features=schema.arrow.empty_table(),
        ids=pa.array([], pa.string()),
        time=nothing,
        seq=nothing,
        label_seq=nothing,
        target=pa.array([], pa.string() if task.is_classification else pa.float64()),
        as_of=as_of,
    )
