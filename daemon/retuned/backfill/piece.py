"""Parts of a file that are sent at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

import pyarrow as pa

from retuned.ingest.media import ARROW_STREAM

if TYPE_CHECKING:
    from collections.abc import Sequence


class Piece(Protocol):
    """Records of a file, one after the other.

    Attributes:
        first: number of the first one in the file, from 0.
        after: where reading goes on after them.
    """

    @property
    def first(self) -> int:
        """Number of the first record in the file, from 0."""

    @property
    def after(self) -> int:
        """Where reading goes on after the last record."""

    def __len__(self) -> int:
        """Count the records."""

    def halves(self) -> tuple[Self, Self]:
        """Both halves of two records or more."""

    def body(self) -> tuple[bytes, str]:
        """What is sent, and its content type."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextPiece:
    """Records of NDJSON or CSV, sent as they stand.

    Attributes:
        first: as in `Piece`.
        after: position in the (uncompressed) file, bytes.
        head: what comes before the records: a header line of CSV, or nothing.
        records: each with its line break.
        content_type: what they are.
    """

    first: int
    after: int
    head: bytes
    records: Sequence[bytes]
    content_type: str

    def __len__(self) -> int:
        """Count the records."""
        return len(self.records)

    def halves(self) -> tuple[TextPiece, TextPiece]:
        """Both halves of two records or more."""
        middle = len(self.records) // 2
        return self._part(0, middle), self._part(middle, len(self.records))

    def body(self) -> tuple[bytes, str]:
        """What is sent, and its content type."""
        return self.head + b"".join(self.records), self.content_type

    def _part(self, start: int, end: int) -> TextPiece:
        return TextPiece(
            first=self.first + start,
            after=self.after,
            head=self.head,
            records=self.records[start:end],
            content_type=self.content_type,
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TablePiece:
    """Records of Parquet or Arrow.

    Attributes:
        first: as in `Piece`.
        table: the records.
    """

    first: int
    table: pa.Table

    @property
    def after(self) -> int:
        """Number of the record after the last one."""
        return self.first + len(self)

    def __len__(self) -> int:
        """Count the records."""
        return int(self.table.num_rows)

    def halves(self) -> tuple[TablePiece, TablePiece]:
        """Both halves of two records or more."""
        middle = len(self) // 2
        return (
            TablePiece(first=self.first, table=self.table.slice(0, middle)),
            TablePiece(first=self.first + middle, table=self.table.slice(middle)),
        )

    def body(self) -> tuple[bytes, str]:
        """What is sent, and its content type."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, self.table.schema) as stream:
            stream.write_table(self.table)
        return bytes(sink.getvalue().to_pybytes()), ARROW_STREAM
