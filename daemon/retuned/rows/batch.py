"""What the row log takes in and gives back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

LabelValue = float | str
"""Regression: a number. Classification: the class as JSON text."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RowBatch:
    """Valid rows that wait to be appended.

    Attributes:
        ids: their ids (n), not empty.
        time: microseconds since the epoch, int64 (n).
        features: Arrow table in schema order (n rows).
        contents: digest of what each row says (n); a row of the same id and content is a
            repetition, one of other content a revision.
        labels: labels that came along with their rows, by position.
    """

    ids: Sequence[str]
    time: NDArray[np.int64]
    features: pa.Table
    contents: Sequence[bytes]
    labels: Mapping[int, LabelValue]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelBatch:
    """Valid labels that wait to be appended: ids (n) and values (n)."""

    ids: Sequence[str]
    values: Sequence[LabelValue]


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What became of a batch that is now durable.

    Attributes:
        accepted: new rows or labels.
        duplicates: repetitions of what was there; acknowledged and dropped.
        revised: other content under a known id; appended, the older content is superseded.
        last_seq: newest sequence number of the model.
    """

    accepted: int
    duplicates: int
    revised: int
    last_seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How much a log holds: rows by id, rows with a label, the newest sequence number."""

    rows: int
    labelled: int
    last_seq: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Losses:
    """Losses of rows as they were served, ordered by when the labels came.

    Attributes:
        row_seq: sequence number of the row, int64 (n).
        label_seq: sequence number of its label, int64 (n).
        loss: float64 (n).
    """

    row_seq: NDArray[np.int64]
    label_seq: NDArray[np.int64]
    loss: NDArray[np.float64]
