"""From a payload to pieces of records: JSON, NDJSON, CSV, Arrow, Parquet."""

from __future__ import annotations

import codecs
import csv
import io
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import orjson
import pyarrow as pa

from retuned.errors import PermanentError
from retuned.ingest.piece import RecordPiece, TablePiece, as_sent
from retuned.rows.batch import Rejected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from retuned.ingest.fields import Value
    from retuned.ingest.piece import Piece

JSON = "application/json"
NDJSON = "application/x-ndjson"
CSV = "text/csv"
ARROW_STREAM = "application/vnd.apache.arrow.stream"
ARROW_FILE = "application/vnd.apache.arrow.file"
PARQUET = "application/vnd.apache.parquet"

AT_ONCE = 10_000
"""Records of a piece at the most: what is read, checked and stored at a time."""

LONGEST = 4_000_000
"""Bytes of a line at the most; files of text are read in blocks of this size."""

SUFFIXES = {
    ".json": JSON,
    ".ndjson": NDJSON,
    ".jsonl": NDJSON,
    ".csv": CSV,
    ".arrows": ARROW_STREAM,
    ".arrow": ARROW_FILE,
    ".feather": ARROW_FILE,
    ".parquet": PARQUET,
}
"""Media types of files by the end of their names."""

_SHOWN = 2000

Payload = bytes | Path


class BadPayload(PermanentError):
    """The payload cannot be read at all, or not to its end."""


class UnsupportedContent(PermanentError):
    """The payload is of a type that is not read here."""


def media_type(content_type: str) -> str:
    """The media type without its parameters, in lower case."""
    return content_type.partition(";")[0].strip().lower()


def is_whole(content_type: str) -> bool:
    """Whether a payload of that type has to be in memory as a whole."""
    return media_type(content_type) not in _READERS


def pieces(payload: Payload, content_type: str, name: str) -> Iterator[Piece]:
    """Read a payload piece by piece.

    Args:
        payload: the bytes, or a file that holds them.
        content_type: their media type.
        name: what the records are called where a JSON object holds them: rows or labels.

    Raises:
        BadPayload: it cannot be read at all, or no further.
        UnsupportedContent: it is of a type that is not read here.
    """
    kind = media_type(content_type)
    if kind == JSON:
        yield from _whole(payload.read_bytes() if isinstance(payload, Path) else payload, name)
    elif kind in _READERS:
        yield from _READERS[kind](payload)
    else:
        message = (
            f"content type {kind or 'missing'!r} is not read here: "
            f"send {', '.join([JSON, *_READERS])}"
        )
        raise UnsupportedContent(message)


def _whole(body: bytes, name: str) -> Iterator[Piece]:
    try:
        found: object = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        message = f"not valid JSON: {error}"
        raise BadPayload(message) from error
    if isinstance(found, dict):
        found = found.get(name, [found])
    if not isinstance(found, list):
        message = f"expected an array of objects, or an object with {str(name)!r}"
        raise BadPayload(message)
    yield _records([(index, item, as_sent) for index, item in enumerate(found)])


class _NoRecord:
    """What cannot be read as a record, and why."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


def _records(items: Sequence[tuple[int, Any, Callable[[Any], str]]]) -> RecordPiece:
    good = [(index, item) for index, item, _ in items if isinstance(item, dict)]
    broken = [
        Rejected(index=index, id=None, reason=_complaint(index, item), record=sent(item))
        for index, item, sent in items
        if not isinstance(item, dict)
    ]
    return RecordPiece(
        rows=[item for _, item in good],
        indices=np.array([index for index, _ in good], dtype=np.int64),
        broken=tuple(broken),
    )


def _complaint(index: int, item: object) -> str:
    if isinstance(item, _NoRecord):
        return item.reason
    return f"item {index} is {item!r:.80}, not an object"


def _lines(payload: Payload) -> Iterator[Piece]:
    seen = 0
    waiting: list[tuple[int, bytes]] = []
    for line in _numbered(payload):
        waiting.append(line)
        if len(waiting) == AT_ONCE:
            yield _lines_piece(waiting, seen)
            seen, waiting = seen + len(waiting), []
    if waiting:
        yield _lines_piece(waiting, seen)


def _numbered(payload: Payload) -> Iterator[tuple[int, bytes]]:
    """Lines that are not empty, with their numbers, from 1."""
    number, rest = 0, b""
    with _opened(payload) as source:
        while block := source.read(LONGEST):
            lines = (rest + block).split(b"\n")
            rest = lines.pop()
            for number, line in enumerate(lines, number + 1):  # noqa: B020 (it goes on)
                if line and not line.isspace():
                    yield number, line
            if len(rest) > LONGEST:
                message = f"line {number + 1} is longer than {LONGEST:,} bytes"
                raise BadPayload(message)
    if rest and not rest.isspace():
        yield number + 1, rest


def _lines_piece(lines: Sequence[tuple[int, bytes]], seen: int) -> RecordPiece:
    try:
        found: list[Any] = [orjson.loads(line) for _, line in lines]
    except orjson.JSONDecodeError:
        found = [_line(number, line) for number, line in lines]
    indices = np.arange(seen, seen + len(lines), dtype=np.int64)
    if all(type(item) is dict for item in found):
        return RecordPiece(rows=found, indices=indices)
    places = zip(indices.tolist(), found, lines, strict=True)
    return _records([(index, item, _shown(line)) for index, item, (_, line) in places])


def _line(number: int, line: bytes) -> object:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return _NoRecord(f"line {number}: not valid JSON: {error}")


def _shown(line: bytes) -> Callable[[object], str]:
    return lambda _: as_sent(line.strip().decode(errors="replace")[:_SHOWN])


def _csv(payload: Payload) -> Iterator[Piece]:
    names = _header(payload)
    wrong: list[tuple[int, str, int]] = []

    def skip(row: Value) -> str:
        wrong.append((row.number, row.text, row.actual_columns))
        return "skip"

    nothing = pa.table({name: pa.array([], pa.string()) for name in names})
    waiting = _text_piece(nothing, np.empty(0, dtype=np.int64), ())
    seen = told = 0
    for table in _csv_tables(payload, names, skip) if names else ():
        indices, passed = _around(seen, table.num_rows, wrong, told)
        broken = _wrong_lines(wrong[told:passed], len(names))
        seen, told = seen + table.num_rows + passed - told, passed
        if len(waiting):
            yield waiting
        waiting = _text_piece(table, indices, broken)
    # What is wrong behind the last record stays with the last piece.
    last = (*waiting.broken, *_wrong_lines(wrong[told:], len(names)))
    if len(waiting) or last:
        yield replace(waiting, broken=last)


def _csv_tables(
    payload: Payload, names: Sequence[str], skip: Callable[[Value], str]
) -> Iterator[pa.Table]:
    import pyarrow.csv as reader  # noqa: PLC0415 (slow to import, and seldom needed)

    with _opened(payload) as source, _translated("CSV"):
        batches = reader.open_csv(
            _Utf8(source),
            # One thread: with several, wrong lines have no number.
            reader.ReadOptions(
                use_threads=False, column_names=names, skip_rows=1, block_size=LONGEST
            ),
            reader.ParseOptions(newlines_in_values=True, invalid_row_handler=skip),
            reader.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                null_values=[""],
                strings_can_be_null=True,
            ),
        )
        for batch in batches:
            table = pa.table(batch)
            for start in range(0, table.num_rows, AT_ONCE):
                yield table.slice(start, AT_ONCE)


class _Utf8(io.RawIOBase):
    """Passes bytes on, as long as they are UTF-8.

    Arrow would look at that too, but not in lines that have too many or too few fields.
    """

    def __init__(self, source: IO[bytes]) -> None:
        super().__init__()
        self._source = source
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        block = self._source.read(size)
        self._decoder.decode(block, final=not block)
        return block


def _text_piece(
    table: pa.Table, indices: NDArray[np.int64], broken: tuple[Rejected, ...]
) -> TablePiece:
    return TablePiece(table=table, indices=indices, broken=broken, is_text=True)


_AFTER_HEADER = 2
"""Arrow counts a CSV file's records from 1, and the header is one of them."""


def _around(
    seen: int, rows: int, wrong: Sequence[tuple[int, str, int]], told: int
) -> tuple[NDArray[np.int64], int]:
    """Positions of good rows around the wrong ones, and how many of these have been passed."""
    indices: list[int] = []
    place = seen
    while len(indices) < rows:
        if told < len(wrong) and wrong[told][0] - _AFTER_HEADER == place:
            told += 1
        else:
            indices.append(place)
        place += 1
    return np.array(indices, dtype=np.int64), told


def _wrong_lines(wrong: Sequence[tuple[int, str, int]], expected: int) -> tuple[Rejected, ...]:
    return tuple(
        Rejected(
            index=number - _AFTER_HEADER,
            id=None,
            reason=f"has {found} fields, and the header has {expected}",
            record=as_sent(text[:_SHOWN]),
        )
        for number, text, found in wrong
    )


def _header(payload: Payload) -> list[str]:
    with _opened(payload) as source:
        line = source.readline(LONGEST)
    if not line.endswith(b"\n"):
        if len(line) >= LONGEST:
            message = f"the header line is longer than {LONGEST:,} bytes"
            raise BadPayload(message)
        # A header alone; or all in one line, as some old programs end their lines.
        if b"\r" not in line:
            return []
    try:
        text = line.decode("utf-8-sig").strip("\r\n")
    except UnicodeDecodeError as error:
        message = "the header line is not UTF-8"
        raise BadPayload(message) from error
    if '"' in text and text.count('"') % 2:
        message = "a name in the header line holds a line break; give it another name"
        raise BadPayload(message)
    if "\r" in text:
        message = "lines end in a carriage return alone: end them in a line feed (\\n or \\r\\n)"
        raise BadPayload(message)
    try:
        names = next(csv.reader(io.StringIO(text)), [])
    except csv.Error as error:
        message = f"the header line cannot be read: {error}"
        raise BadPayload(message) from error
    _check_names(names, "the header line")
    return names


def _check_names(names: Sequence[str], where: str) -> None:
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        message = f"{where} names {', '.join(map(repr, twice))} more than once"
        raise BadPayload(message)


def _arrow_stream(payload: Payload) -> Iterator[Piece]:
    with _seekable(payload) as source, _translated("an Arrow IPC stream"):
        if source.size():
            with pa.ipc.open_stream(source) as reader:
                yield from _tables(reader)


def _arrow_file(payload: Payload) -> Iterator[Piece]:
    with _seekable(payload) as source, _translated("an Arrow IPC file"):
        reader = pa.ipc.open_file(source)
        yield from _tables(reader.get_batch(n) for n in range(reader.num_record_batches))


def _parquet(payload: Payload) -> Iterator[Piece]:
    import pyarrow.parquet as reader  # noqa: PLC0415 (slow to import, and seldom needed)

    with _seekable(payload) as source, _translated("Parquet"):
        file = reader.ParquetFile(source)
        yield from _tables(file.iter_batches(batch_size=AT_ONCE, use_threads=False))


def _tables(batches: Iterable[pa.RecordBatch]) -> Iterator[Piece]:
    """Small batches together, large ones in parts."""
    seen, waiting, rows = 0, [], 0
    for batch in batches:
        _check_names(batch.schema.names, "the schema")
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


@contextmanager
def _opened(payload: Payload) -> Iterator[IO[bytes]]:
    with payload.open("rb") if isinstance(payload, Path) else io.BytesIO(payload) as source:
        yield source


@contextmanager
def _seekable(payload: Payload) -> Iterator[Any]:
    """A file as Arrow reads it.

    Not mapped into memory: whoever cuts a mapped file short (a producer that writes to the spool
    in place) ends the process.
    """
    if isinstance(payload, bytes):
        yield pa.BufferReader(payload)
    elif payload.stat().st_size:
        with pa.OSFile(str(payload)) as source:
            yield source
    else:
        yield pa.BufferReader(b"")


@contextmanager
def _translated(name: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        message = f"not valid as {name}: {error!s:.200}"
        raise BadPayload(message) from error


_READERS: dict[str, Callable[[Payload], Iterator[Piece]]] = {
    NDJSON: _lines,
    CSV: _csv,
    ARROW_STREAM: _arrow_stream,
    ARROW_FILE: _arrow_file,
    PARQUET: _parquet,
}
