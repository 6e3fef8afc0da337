"""Reading windows out of a row log's file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from retuned_pipelines.window import NOT_LABELLED, Window

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from retuned_pipelines.schema import Schema, Task

_HEAD = [("__id", pa.string()), ("__time", pa.int64()), ("__origin", pa.int64())]


def read_window(  # noqa: PLR0913 (what a window is asked by)
    db: sqlite3.Connection,
    schema: Schema,
    task: Task,
    *,
    as_of: int,
    newest: int | None,
    labelled: bool,
    first_seq: int,
) -> Window:
    """Read a window; see `RowLog.window`.

    Batches are read from the newest time backwards, until there are enough rows and no older
    batch can hold a newer one.
    """
    parts: list[Window] = []
    rows = 0
    for oldest, part in _parts(db, schema, task, as_of, first_seq):
        found = part.labelled() if labelled else part
        parts.append(found)
        rows += len(found)
        if newest is not None and rows >= newest:
            times = np.concatenate([p.time for p in parts])
            if np.partition(times, rows - newest)[rows - newest] > oldest:
                break
    if not parts:
        parts = [_empty(schema, task, as_of)]
    return _ordered(parts).newest(newest)


def _parts(
    db: sqlite3.Connection, schema: Schema, task: Task, as_of: int, first_seq: int
) -> Iterator[tuple[int, Window]]:
    """Yield batches, newest first, each with the newest time that older ones can still have."""
    heads = db.execute(
        "SELECT first_seq, max_time FROM batch WHERE first_seq <= ? AND last_seq >= ? "
        "ORDER BY max_time DESC, first_seq DESC",
        (as_of, first_seq),
    ).fetchall()
    limits = [max_time for _, max_time in heads[1:]] + [-(2**63)]
    # There is one limit too many where there is no batch.
    for (first, _), limit in zip(heads, limits, strict=False):
        yield limit, _read_batch(db, schema, task, first, as_of=as_of, first_seq=first_seq)


def _read_batch(  # noqa: PLR0913 (what a window is asked by)
    db: sqlite3.Connection, schema: Schema, task: Task, first: int, *, as_of: int, first_seq: int
) -> Window:
    (data,) = db.execute("SELECT data FROM batch WHERE first_seq = ?", (first,)).fetchone()
    stored = pa.schema([*_HEAD, *schema.arrow])
    record = pa.ipc.read_record_batch(pa.py_buffer(data), stored)
    seq = np.arange(first, first + record.num_rows, dtype=np.int64)
    is_visible = (seq <= as_of) & (seq >= first_seq)
    gone = db.execute(
        "SELECT seq FROM superseded WHERE seq >= ? AND seq <= ? AND by_seq <= ?",
        (first, int(seq[-1]), as_of),
    ).fetchall()
    for (superseded,) in gone:
        is_visible[superseded - first] = False
    if not is_visible.all():
        record, seq = record.filter(pa.array(is_visible)), seq[is_visible]
    origin = record["__origin"].to_numpy()
    label_seq, target = _labels(db, task, origin, as_of)
    return Window(
        schema=schema,
        features=pa.Table.from_batches([record.select(list(schema.names))]),
        ids=record["__id"],
        time=record["__time"].to_numpy(),
        seq=seq,
        label_seq=label_seq,
        target=target,
        as_of=as_of,
    )


def _labels(
    db: sqlite3.Connection, task: Task, origin: NDArray[np.int64], as_of: int
) -> tuple[NDArray[np.int64], pa.Array]:
    """Find the newest label of each row that was known by then."""
    values: list[Any] = [None] * len(origin)
    label_seq = np.full(len(origin), NOT_LABELLED, dtype=np.int64)
    if len(origin):
        order = np.argsort(origin, kind="stable")
        found = db.execute(
            "SELECT origin, seq, value FROM label "
            "WHERE origin >= ? AND origin <= ? AND seq <= ? ORDER BY seq",
            (int(origin.min()), int(origin.max()), as_of),
        ).fetchall()
        wanted = np.array([row[0] for row in found], dtype=np.int64)
        place = np.minimum(np.searchsorted(origin[order], wanted), len(origin) - 1)
        for position, (row, seq, value) in zip(order[place].tolist(), found, strict=True):
            if origin[position] == row:
                values[position], label_seq[position] = value, seq
    kind = pa.string() if task.is_classification else pa.float64()
    return label_seq, pa.array(values, kind)


def _ordered(parts: list[Window]) -> Window:
    first = parts[0]
    if len(parts) > 1:
        first = Window(
            schema=first.schema,
            features=pa.concat_tables([part.features for part in parts]).combine_chunks(),
            ids=pa.concat_arrays([part.ids for part in parts]),
            time=np.concatenate([part.time for part in parts]),
            seq=np.concatenate([part.seq for part in parts]),
            label_seq=np.concatenate([part.label_seq for part in parts]),
            target=pa.concat_arrays([part.target for part in parts]),
            as_of=first.as_of,
        )
    return first.take(np.lexsort((first.seq, first.time)))


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
