"""Segments: rows as they are stored, Arrow record batches without their schema."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from retuned.errors import PermanentError
from retuned_pipelines.column import as_kind

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from retuned.rows.form import Forms
    from retuned_pipelines.schema import Schema, Task

ID, TIME, ORIGIN, SEQ = "__id", "__time", "__origin", "__seq"
LABEL_SEQ, LABEL = "__label_seq", "__label"

_HEAD = [(ID, pa.string()), (TIME, pa.int64()), (ORIGIN, pa.int64()), (SEQ, pa.int64())]


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """Rows that are stored together.

    Attributes:
        first_seq: sequence number of the first row.
        last_seq: and of the last one; numbers between them may be another's.
        rows: how many.
        max_time: the newest time, microseconds since the epoch.
        is_folded: whether labels are in it.
        form: number of its columns' form.
        data: the record batch.
    """

    first_seq: int
    last_seq: int
    rows: int
    max_time: int
    is_folded: bool
    form: int
    data: bytes


COLUMNS = "first_seq, last_seq, rows, max_time, last_label IS NOT NULL, form, data"
"""What `segment_of` reads, in a query's order."""


def segment_of(found: tuple[int, int, int, int, int, int, bytes]) -> Segment:
    """A segment as a query for `COLUMNS` gives it."""
    first, last, rows, newest, is_folded, form, data = found
    return Segment(
        first_seq=first,
        last_seq=last,
        rows=rows,
        max_time=newest,
        is_folded=bool(is_folded),
        form=form,
        data=data,
    )


def row_schema(schema: Schema) -> pa.Schema:
    """The columns of rows: our own, and the features."""
    return pa.schema([*_HEAD, *schema.arrow])


def folded_schema(schema: Schema, task: Task) -> pa.Schema:
    """The columns of rows with their labels: null where there is none."""
    return pa.schema([*row_schema(schema), (LABEL_SEQ, pa.int64()), (LABEL, label_type(task))])


def label_type(task: Task) -> pa.DataType:
    """How labels are stored."""
    return pa.string() if task.is_classification else pa.float64()


def insert_segment(db: sqlite3.Connection, table: pa.Table, form: int) -> None:
    """Store rows as a segment.

    Args:
        db: in a transaction.
        table: n > 0 rows in the columns of `row_schema` or `folded_schema`, by sequence number.
        form: number of the columns' form.
    """
    seq, time = table[SEQ].to_numpy(), table[TIME].to_numpy()
    labels: tuple[int | None, int | None] = (None, None)
    if LABEL_SEQ in table.column_names:
        folded = table[LABEL_SEQ].drop_null().to_numpy()
        labels = (int(folded.min()), int(folded.max()))
    (record,) = table.combine_chunks().to_batches()
    span, times = (int(seq[0]), int(seq[-1])), (int(time.min()), int(time.max()))
    data = memoryview(record.serialize())
    values = (*span, len(seq), *times, *labels, form, data)
    db.execute("INSERT INTO batch VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)


def read_segments(found: Sequence[Segment], forms: Forms) -> pa.Table:
    """The rows of segments, one after the other, in the columns of `folded_schema`.

    Features that a segment lacks are null; those that it has under another type are cast.

    Raises:
        PermanentError: one of them is damaged.
    """
    wanted = folded_schema(forms.newest, forms.task)
    parts = []
    for (form, is_folded), alike in groupby(found, key=lambda one: (one.form, one.is_folded)):
        schema = forms.of(form)
        stored = folded_schema(schema, forms.task) if is_folded else row_schema(schema)
        # Batches after their schema are what Arrow calls a stream: it reads many at once.
        table = _decoded(stored, list(alike))
        parts.append(_conformed(table, wanted, forms.newest))
    return pa.concat_tables(parts).combine_chunks()


def _decoded(stored: pa.Schema, alike: Sequence[Segment]) -> pa.Table:
    stream = b"".join([stored.serialize().to_pybytes(), *(one.data for one in alike)])
    why = "some are missing"
    try:
        with pa.ipc.open_stream(stream) as reader:
            table = reader.read_all()
    except (pa.ArrowException, OSError) as error:
        why = f"{error!s:.200}"
    else:
        if table.num_rows == sum(one.rows for one in alike):
            return table
    first, last = min(one.first_seq for one in alike), max(one.last_seq for one in alike)
    message = (
        f"The row log is damaged: rows {first} to {last} cannot be read ({why}). Restore its file "
        "from a backup, or move it away to begin again without its rows."
    )
    raise PermanentError(message)


def _conformed(table: pa.Table, wanted: pa.Schema, newest: Schema) -> pa.Table:
    if table.schema.equals(wanted):
        return table
    columns, kinds = [], newest.kinds
    for item in wanted:
        if item.name not in table.column_names:
            columns.append(pa.chunked_array([pa.nulls(table.num_rows, item.type)]))
        elif item.name in kinds:
            columns.append(as_kind(table[item.name], kinds[item.name]))
        else:
            columns.append(pc.cast(table[item.name], item.type))
    return pa.table(columns, schema=wanted)
