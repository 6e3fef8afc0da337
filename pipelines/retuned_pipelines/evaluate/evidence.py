"""What a challenger and its rival answered on the rows of the gate."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from retuned_pipelines.spec import ModelSpec
    from retuned_pipelines.window import Window

MISSING = "missing"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evidence:
    """What two procedures, or three, answered on the gate's rows.

    Attributes:
        target: truth (n), in time order; see `metrics`.
        challenger: outputs of the challenger, refitted before each block.
        rival: outputs of the rival, refitted likewise.
        classes: what codes and columns stand for; empty for regression.
        lengths: rows of each block, in order; a block is predicted by one fit of either.
        first_seq: smallest sequence number among the rows.
        last_seq: largest sequence number among the rows.
        default: outputs of the default recipe of the challenger's family in its place, refitted
            likewise; None where the challenger is the default, or it could not be fitted.
        slices: by column, the category (n) of each row.
    """

    target: NDArray[Any]
    challenger: NDArray[np.float64]
    rival: NDArray[np.float64]
    classes: tuple[str, ...]
    lengths: tuple[int, ...]
    first_seq: int
    last_seq: int
    default: NDArray[np.float64] | None = None
    slices: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    @property
    def blocks(self) -> int:
        """How many blocks the rows come from."""
        return len(self.lengths)


def slices_of(spec: ModelSpec, rows: Window) -> dict[str, NDArray[Any]]:
    """The category of each row by each column that slices them (``GATE__SLICES``).

    A column may be the target: then the classes are the slices. A column that no row has is
    left out.
    """
    found = {}
    for column in spec.gate.slices:
        values = rows.target if column == spec.target else None
        if values is None and column in rows.features.column_names:
            values = rows.features[column]
        if values is not None:
            text = pc.fill_null(pc.cast(values, pa.string()), MISSING)
            found[column] = np.asarray(text.to_numpy(zero_copy_only=False), dtype=object)
    return found
