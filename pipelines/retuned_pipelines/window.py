"""An immutable window of rows, with the labels that were known at a moment."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from retuned_pipelines.schema import Schema

NOT_LABELLED = -1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Window:
    r"""Rows ordered by time, then by sequence number, read as of a sequence number.

    All columns have the same length n. Rows and labels share one sequence per model,
    so that ``label_seq`` tells what was known when.

    Attributes:
        schema: the features, in the order of ``features``.
        features: Arrow table (n rows), float64 or string columns, null where missing.
        ids: row ids, Arrow string array (n).
        time: event time in microseconds since the epoch, UTC, int64 (n).
        seq: sequence number under which the row was appended, int64 (n).
        label_seq: sequence number of the newest label known, int64 (n); -1 without one.
        target: the label. Regression: Arrow float64. Classification: Arrow string with
            the JSON text of the class (``1`` is ``"1"``, ``"a"`` is ``"\"a\""``), so
            that a client gets back the very value that it sent. Null without a label.
        as_of: the newest sequence number that was visible to this window.
    """

    schema: Schema
    features: pa.Table
    ids: pa.Array
    time: NDArray[np.int64]
    seq: NDArray[np.int64]
    label_seq: NDArray[np.int64]
    target: pa.Array
    as_of: int

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.seq)

    @property
    def is_labelled(self) -> NDArray[np.bool_]:
        """Whether each row's label is known, bool (n)."""
        return np.not_equal(self.label_seq, NOT_LABELLED)

    def labelled(self) -> Window:
        """Only the rows whose labels are known."""
        mask = self.is_labelled
        return self if mask.all() else self.take(np.flatnonzero(mask))

    def newest(self, rows: int | None) -> Window:
        """The newest rows, or every row where ``rows`` is None."""
        if rows is None or rows >= len(self):
            return self
        return self.span(len(self) - rows, len(self))

    def span(self, start: int, stop: int) -> Window:
        """Rows ``start`` to ``stop`` (exclusive) by position; nothing is copied."""
        length = max(0, stop - start)
        return replace(
            self,
            features=self.features.slice(start, length),
            ids=self.ids.slice(start, length),
            time=self.time[start:stop],
            seq=self.seq[start:stop],
            label_seq=self.label_seq[start:stop],
            target=self.target.slice(start, length),
        )

    def take(self, positions: NDArray[np.int64]) -> Window:
        """Rows at the given positions, in that order."""
        index = pa.array(positions)
        return replace(
            self,
            features=self.features.take(index),
            ids=self.ids.take(index),
            time=self.time[positions],
            seq=self.seq[positions],
            label_seq=self.label_seq[positions],
            target=self.target.take(index),
        )

    def to_arrow(self) -> pa.Table:
        """One table with everything, for a file that child processes map into memory."""
        table = self.features
        for name, column in (
            ("id", self.ids),
            ("time", pa.array(self.time)),
            ("seq", pa.array(self.seq)),
            ("label_seq", pa.array(self.label_seq)),
            ("target", self.target),
        ):
            table = table.append_column(f"__{name}", column)
        return table.replace_schema_metadata({"as_of": str(self.as_of)})

    @classmethod
    def from_arrow(cls, table: pa.Table, schema: Schema) -> Window:
        """Read what `to_arrow` wrote; the table may be memory-mapped."""
        return cls(
            schema=schema,
            features=table.select(list(schema.names)).replace_schema_metadata(None),
            ids=_one_chunk(table["__id"]),
            time=table["__time"].to_numpy(),
            seq=table["__seq"].to_numpy(),
            label_seq=table["__label_seq"].to_numpy(),
            target=_one_chunk(table["__target"]),
            as_of=int((table.schema.metadata or {})[b"as_of"]),
        )


def evenly(size: int, most: int) -> NDArray[np.int64]:
    """At most so many positions of a window of that size, evenly spaced, both ends among them."""
    if size <= most:
        return np.arange(size)
    return np.linspace(0, size - 1, most).astype(np.int64)


def known_at(window: Window) -> NDArray[np.int64]:
    """How many of the window's rows had arrived when each row's label became known.

    A model that is to predict row i honestly may learn from row j only if
    ``known_at[j] <= i``. Labels that all came after all rows (a history loaded in one
    go) say nothing about the delay that production has; where that is so, a label is
    taken to be known right after its row.

    Returns:
        Position (n), int64; n + 1 for rows without a label.
    """
    size = len(window)
    arrived = np.sort(window.seq)
    position = np.searchsorted(arrived, window.label_seq, side="left").astype(np.int64)
    own = np.arange(1, size + 1, dtype=np.int64)
    position = np.maximum(position, own)
    mask = window.is_labelled
    if mask.any() and np.median((position - own)[mask]) > size * _BACKFILL_SHARE:
        position = own
    return np.where(mask, position, size + 1)


_BACKFILL_SHARE = 0.25


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    combined = column.combine_chunks()
    return combined if isinstance(combined, pa.Array) else pc.cast(combined, combined.type)
