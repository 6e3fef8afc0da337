"""Pieces of a payload: some thousand records, as they came, with what cannot be read of them."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from retuned.rows.aside import cut
from retuned_pipelines.schema import INSTANT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from retuned.ingest.fields import Value
    from retuned.rows.batch import Rejected

Values = Any
"""The values of one field: a tuple of what JSON holds, or an Arrow array."""


class Piece(Protocol):
    """Some records of a payload. Implementations hold dictionaries, or Arrow columns."""

    @property
    def indices(self) -> NDArray[np.int64]:
        """The position of each record in the whole payload, int64 (n)."""
        ...

    @property
    def broken(self) -> tuple[Rejected, ...]:
        """What was there and is no record."""
        ...

    @property
    def is_text(self) -> bool:
        """Whether all values are text, whatever they mean, as in CSV."""
        ...

    def __len__(self) -> int:
        """Count the records."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """Every field that any record has, in the order in which they come."""
        ...

    def columns(self, names: Sequence[str]) -> list[Values]:
        """The values of fields, None or null where a record does not have one."""
        ...

    def records(self, positions: Sequence[int]) -> list[dict[str, Any]]:
        """Single records, as Python objects."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class RecordPiece:
    """Records as JSON has them; see `Piece`."""

    rows: Sequence[dict[str, Any]]
    indices: NDArray[np.int64]
    broken: tuple[Rejected, ...] = ()
    is_text: bool = False

    def __len__(self) -> int:
        """Count the records."""
        return len(self.rows)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Every field that any record has, in the order in which they come."""
        if not self.rows:
            return ()
        first = self.rows[0]
        more = set().union(*self.rows) - first.keys()
        if not more:
            return tuple(first)
        return tuple(dict.fromkeys(name for row in self.rows for name in row))

    def columns(self, names: Sequence[str]) -> list[Values]:
        """The values of fields as tuples, None where a record does not have one."""
        here = set(self.names)
        known = [name for name in names if name in here]
        nothing = (None,) * len(self.rows)
        found = dict(zip(known, self._known(known), strict=True))
        return [found.get(name, nothing) for name in names]

    def _known(self, names: Sequence[str]) -> list[Values]:
        if len(names) > 1:
            try:
                return list(zip(*map(itemgetter(*names), self.rows), strict=True))
            except KeyError:
                pass  # some record lacks a field
        return [tuple([row.get(name) for row in self.rows]) for name in names]

    def records(self, positions: Sequence[int]) -> list[dict[str, Any]]:
        """Single records."""
        return [self.rows[position] for position in positions]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TablePiece:
    """Records in Arrow columns, each in one chunk and of a plain type; see `Piece`."""

    table: pa.Table
    indices: NDArray[np.int64]
    broken: tuple[Rejected, ...] = ()
    is_text: bool = False

    @classmethod
    def plain(cls, table: pa.Table, first: int) -> TablePiece:
        """Take columns as they come in a file: whatever means the same gets the same type."""
        columns = [_plain(_one_chunk(column)) for column in table.columns]
        return cls(
            table=pa.table(columns, names=table.column_names),
            indices=np.arange(first, first + table.num_rows, dtype=np.int64),
        )

    def __len__(self) -> int:
        """Count the records."""
        return int(self.table.num_rows)

    @property
    def names(self) -> tuple[str, ...]:
        """Every field, in order."""
        return tuple(self.table.column_names)

    def columns(self, names: Sequence[str]) -> list[Values]:
        """The values of fields as Arrow arrays, null where a record does not have one."""
        known = set(self.table.column_names)
        return [
            _one_chunk(self.table[name]) if name in known else pa.nulls(len(self)) for name in names
        ]

    def records(self, positions: Sequence[int]) -> list[dict[str, Any]]:
        """Single records."""
        found = self.table.take(pa.array(positions, pa.int64()))
        columns = [_objects(_one_chunk(column)) for column in found.columns]
        names = found.column_names
        rows = zip(*columns, strict=True)
        return [
            {name: value for name, value in zip(names, row, strict=True) if value is not None}
            for row in rows
        ]


NOTHING = RecordPiece(rows=[], indices=np.empty(0, dtype=np.int64))


def as_sent(given: object) -> str:
    """A record as JSON, so that it can be read, mended and sent again."""
    # Not orjson: numbers may be beyond 64 bits, and it would turn those that are none into null.
    return cut(json.dumps(_sendable(given), ensure_ascii=False).encode(errors="replace"))


def _sendable(given: Value) -> object:
    if isinstance(given, dict):
        return {str(name): _sendable(value) for name, value in given.items()}
    if isinstance(given, list | tuple):
        return [_sendable(value) for value in given]
    if isinstance(given, datetime):
        return given.isoformat()
    is_json = given is None or isinstance(given, str | int)
    is_json = is_json or (isinstance(given, float) and math.isfinite(given))
    return given if is_json else str(given)


_SETTLED = frozenset({pa.float64(), pa.int64(), pa.string(), pa.bool_(), INSTANT})


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def _plain(column: pa.Array) -> pa.Array:
    found = column.type
    if found in _SETTLED:
        return column
    if pa.types.is_dictionary(found):
        return _plain(column.cast(found.value_type))
    if pa.types.is_run_end_encoded(found):
        return _plain(pc.run_end_decode(column))
    if pa.types.is_binary_view(found):
        return column.cast(pa.binary())
    if pa.types.is_large_string(found) or pa.types.is_string_view(found):
        return column.cast(pa.string())
    if pa.types.is_unsigned_integer(found):
        is_small = found != pa.uint64() or (pc.max(column).as_py() or 0) < 2**63
        return column.cast(pa.int64()) if is_small else column
    if pa.types.is_integer(found):
        return column.cast(pa.int64())
    if pa.types.is_floating(found) or pa.types.is_decimal(found):
        return pc.cast(column, pa.float64(), safe=False)
    if pa.types.is_timestamp(found) or pa.types.is_date(found):
        return _moments(column)
    return column


def _moments(column: pa.Array) -> pa.Array:
    found = column.type
    kind = pa.timestamp("us", getattr(found, "tz", None))
    # Nanoseconds are cut off; where seconds are too many for microseconds, the column stays.
    is_finer = pa.types.is_timestamp(found) and found.unit == "ns"
    try:
        return pc.cast(column, kind, safe=not is_finer).cast(pa.int64()).cast(INSTANT)
    except pa.ArrowInvalid:
        return column


def _objects(column: pa.Array) -> list[Any]:
    try:
        return list(column.to_pylist())
    except (ValueError, OverflowError):
        return [_object(value) for value in column]


def _object(value: pa.Scalar) -> Value:
    try:
        return value.as_py()
    except (ValueError, OverflowError):
        # A moment beyond the calendar, or text that is no UTF-8.
        return f"{value.type} out of range"
