"""Records in CSV."""

from __future__ import annotations

import codecs
import csv
import io
from dataclasses import replace
from typing import IO, TYPE_CHECKING

import numpy as np
import pyarrow as pa

from retuned.ingest.media import (
    AT_ONCE,
    LONGEST,
    SHOWN,
    BadPayload,
    check_names,
    opened,
    translated,
)
from retuned.ingest.piece import TablePiece, as_sent
from retuned.rows.batch import Rejected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from retuned.ingest.fields import Value
    from retuned.ingest.media import Payload
    from retuned.ingest.piece import Piece


def read_csv(payload: Payload) -> Iterator[Piece]:
    """Read CSV with a header line; all values are text."""
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

    with opened(payload) as source, translated("CSV"):
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
            record=as_sent(text[:SHOWN]),
        )
        for number, text, found in wrong
    )


def _header(payload: Payload) -> list[str]:
    with opened(payload) as source:
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
    check_names(names, "the header line")
    return names
