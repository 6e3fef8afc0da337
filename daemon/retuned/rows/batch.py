"""What the row log takes in and gives back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

LabelValue = float | str
"""Regression: a number. Classification: the class as JSON text."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RowBatch:
    """Valid rows that wait to be appended, columns of one length n.

    A row of the same id and content is a repetition, one of other content a revision.

    Attributes:
        ids: Arrow string array, not null, not empty.
        time: microseconds since the epoch, int64.
        is_timed: whether the time is content: not where it is only when the row came.
        features: Arrow table in schema order.
        labels: labels that came along with their rows, null where none did: Arrow float64
            for regression, string (the class as JSON text) for classification.
    """

    ids: pa.Array
    time: NDArray[np.int64]
    is_timed: bool
    features: pa.Table
    labels: pa.Array

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.ids)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabelBatch:
    """Valid labels that wait to be appended.

    Attributes:
        ids: ids of their rows, Arrow string array (n), not null.
        values: Arrow float64 (regression) or string (the class as JSON text) array (n).
    """

    ids: pa.Array
    values: pa.Array

    def __len__(self) -> int:
        """Count the labels."""
        return len(self.ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """A row or label that was refused.

    Attributes:
        index: its position in the request, from 0.
        id: its id, where it had one.
        reason: what is wrong with it, and what is allowed.
        record: the row or label as JSON text, cut where it is very long; what was no record at
            all is a JSON string.
    """

    index: int
    id: str | None
    reason: str
    record: str = field(default="", repr=False)

    def told(self) -> dict[str, Any]:
        """What a client is told: the record itself is known to it."""
        return {"index": self.index, "id": self.id, "reason": self.reason}


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What became of a batch that is now durable.

    Attributes:
        accepted: new rows or labels.
        duplicates: repetitions of what was there; acknowledged and dropped.
        revised: other content under a known id; appended, the older content is superseded.
        forgotten: of ids that were deleted; acknowledged and dropped.
        last_seq: newest sequence number of the model.
    """

    accepted: int = 0
    duplicates: int = 0
    revised: int = 0
    forgotten: int = 0
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


@dataclass(frozen=True, slots=True)
class Score:
    """The loss of one row, and what it was computed from.

    Attributes:
        row_seq: sequence number of the row.
        label_seq: sequence number of the label that was used; a correction has another.
        version: what answered.
        revision: and which revision of it.
        metric: the unit of the loss.
        loss: the less, the better.
    """

    row_seq: int
    label_seq: int
    version: int
    revision: int
    metric: str
    loss: float
