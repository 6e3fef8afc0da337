"""Files in pieces, from any place on; memory is bounded by the size of a piece."""

from __future__ import annotations

import itertools
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from retuned.backfill.piece import TablePiece, TextPiece
from retuned.errors import PermanentError
from retuned.ingest.media import CSV, JSON, NDJSON, PARQUET, UnsupportedContent
from retuned.sources.media import media_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from retuned.backfill.piece import Piece

BYTES_AT_ONCE = 8_000_000
"""Text of a piece at the most, about."""

LONGEST = 16_000_000
"""Bytes of a record at the most."""

_BLOCK = 1 << 20
_ARROW_FILE = b"ARROW1"


@contextmanager
def pieces_of(
    path: Path, *, position: int, first: int, batch_rows: int
) -> Iterator[tuple[Iterator[Piece], Callable[[], int]]]:
    """Open a file.

    Args:
        path: the file; its name tells what it is.
        position: where reading goes on, `Piece.after` of the last piece; 0 at the start.
        first: number of the record there.
        batch_rows: records of a piece at the most.

    Yields:
        The pieces, and what tells how many bytes of the file were read.

    Raises:
        PermanentError: it cannot be read, or is of a type that is not.
    """
    kind, encoding = media_of(path.name)
    if kind == JSON:
        message = (
            f"{path} would have to be read as a whole: make it an object a line, with "
            "jq -c '.[]' FILE.json > FILE.ndjson"
        )
        raise UnsupportedContent(message)
    if encoding and kind not in {CSV, NDJSON}:
        message = f"{path}: only text is read from compressed files; decompress it"
        raise UnsupportedContent(message)
    with _translated(path), path.open("rb") as file:
        if kind in {CSV, NDJSON}:
            source: Any = pa.PythonFile(file, "r")
            if encoding:
                source = pa.CompressedInputStream(source, encoding)
            records = _texts(source, kind, position, first, batch_rows)
        else:
            open_table = _parquet if kind == PARQUET else _arrow
            records = _tables(open_table(file, position, batch_rows), position, batch_rows)
        yield _guarded(records, path), file.tell


def _texts(
    source: Any,  # noqa: ANN401 (a file of Arrow's, which has no types)
    kind: str,
    position: int,
    first: int,
    batch_rows: int,
) -> Iterator[Piece]:
    records, place, head = _records(source, is_csv=kind == CSV), 0, b""
    if kind == CSV:
        head = next(records, b"")
        place = len(head)
    # What is compressed has to be read to be passed over, and so everything is.
    while place < position:
        place += len(next(records))
    waiting: list[bytes] = []
    size = 0
    for record in records:
        place, size = place + len(record), size + len(record)
        if not record.isspace():
            waiting.append(record)
        if len(waiting) >= batch_rows or size >= BYTES_AT_ONCE:
            if waiting:
                yield _text(first, place, head, waiting, kind)
            first, waiting, size = first + len(waiting), [], 0
    if waiting:
        yield _text(first, place, head, waiting, kind)


def _text(first: int, after: int, head: bytes, records: list[bytes], kind: str) -> TextPiece:
    if not records[-1].endswith(b"\n"):
        records = [*records[:-1], records[-1] + b"\n"]
    return TextPiece(first=first, after=after, head=head, records=records, content_type=kind)


def _records(source: Any, *, is_csv: bool) -> Iterator[bytes]:  # noqa: ANN401 (as above)
    """Lines with their breaks; in CSV a break within quotes ends no record."""
    parts: list[bytes] = []
    size = quotes = 0
    for line in _lines(source):
        parts.append(line)
        size, quotes = size + len(line), quotes + line.count(b'"')
        if size > LONGEST:
            message = f"a record has more than {LONGEST:,} bytes: is there a quote without an end?"
            raise PermanentError(message)
        if not is_csv or quotes % 2 == 0:
            yield b"".join(parts)
            parts, size, quotes = [], 0, 0
    if parts:
        yield b"".join(parts)


def _lines(source: Any) -> Iterator[bytes]:  # noqa: ANN401 (as above)
    rest = b""
    while block := source.read(_BLOCK):
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            yield line + b"\n"
        if len(rest) > LONGEST:
            break
    if rest:
        yield rest


def _parquet(file: Any, position: int, batch_rows: int) -> Iterator[Any]:  # noqa: ANN401
    import pyarrow.parquet as pq  # noqa: PLC0415 (slow to import, and seldom needed)

    reader = pq.ParquetFile(file)
    sizes = [reader.metadata.row_group(n).num_rows for n in range(reader.num_row_groups)]
    ends = list(itertools.accumulate(sizes))
    groups = [n for n, end in enumerate(ends) if end > position]
    skip = position - (ends[groups[0]] - sizes[groups[0]]) if groups else 0
    for batch in reader.iter_batches(batch_size=batch_rows, row_groups=groups) if groups else ():
        passed = min(skip, batch.num_rows)
        skip -= passed
        yield batch.slice(passed)


def _arrow(file: Any, position: int, batch_rows: int) -> Iterator[Any]:  # noqa: ANN401
    del batch_rows
    is_file = file.read(len(_ARROW_FILE)) == _ARROW_FILE
    file.seek(0)
    reader = pa.ipc.open_file(file) if is_file else pa.ipc.open_stream(file)
    batches = (
        (reader.get_batch(number) for number in range(reader.num_record_batches))
        if is_file
        else iter(reader)
    )
    for batch in batches:
        passed = min(position, batch.num_rows)
        position -= passed
        yield batch.slice(passed)


def _tables(batches: Iterator[Any], first: int, batch_rows: int) -> Iterator[Piece]:
    """Small batches together, large ones in parts."""
    waiting: list[Any] = []
    rows = 0
    for batch in batches:
        waiting.append(batch)
        rows += batch.num_rows
        while rows >= batch_rows:
            table = pa.Table.from_batches(waiting)
            yield TablePiece(first=first, table=table.slice(0, batch_rows))
            first, rows = first + batch_rows, rows - batch_rows
            waiting = table.slice(batch_rows).to_batches()
    if rows:
        yield TablePiece(first=first, table=pa.Table.from_batches(waiting))


def _guarded(pieces: Iterator[Piece], path: Path) -> Iterator[Piece]:
    with _translated(path):
        yield from pieces


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        message = f"{path} cannot be read: {error}"
        raise PermanentError(message) from error
