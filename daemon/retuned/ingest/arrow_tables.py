"""Records in Arrow and Parquet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from retuned.ingest.media import AT_ONCE, check_names, seekable, translated
from retuned.ingest.piece import TablePiece

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from retuned.ingest.media import Payload
    from retuned.ingest.piece import Piece


def read_arrow_stream(payload: Payload) -> Iterator[Piece]:
    """Read an Arrow IPC stream."""
    with seekable(payload) as source, translated("an Arrow IPC stream"):
        if source.size():
            with pa.ipc.open_stream(source) as reader:
                yield from _tables(reader)


def read_arrow_file(payload: Payload) -> Iterator[Piece]:
    """Read an Arrow IPC file."""
    with seekable(payload) as source, translated("an Arrow IPC file"):
        reader = pa.ipc.open_file(source)
        yield from _tables(reader.get_batch(n) for n in range(reader.num_record_batches))


def read_parquet(payload: Payload) -> Iterator[Piece]:
    """Read a Parquet file."""
    import pyarrow.parquet as reader  # noqa: PLC0415 (slow to import, and seldom needed)

    with seekable(payload) as source, translated("Parquet"):
        file = reader.ParquetFile(source)
        yield from _tables(file.iter_batches(batch_size=AT_ONCE, use_threads=False))


def _tables(batches: Iterable[pa.RecordBatch]) -> Iterator[Piece]:
    """Small batches together, large ones in parts."""
    seen, waiting, rows = 0, [], 0
    for batch in batches:
        check_names(batch.schema.names, "the schema")
        # What comes from outside may point anywhere.
        batch.validate(full=True)
        waiting.append(batch)
        rows += batch.num_rows
        if rows >= AT_ONCE:
            yield from _table_pieces(pa.Table.from_batches(waiting), seen)
            seen, waiting, rows = seen + rows, [], 0
    if rows:
        yield from _table_pieces(pa.Table.from_batches(waiting), seen)


def _table_pieces(table: pa.Table, seen: int) -> Iterator[Piece]:
    for start in range(0, table.num_rows, AT_ONCE):
        yield TablePiece.plain(table.slice(start, AT_ONCE), seen + start)
