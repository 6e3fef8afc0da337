"""Which records of a piece are right: most are clear at once, the others after a look."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from retuned.ingest.fields import Refusal, id_text
from retuned.ingest.piece import as_sent
from retuned.rows.batch import Rejected
from retuned.rows.classes import objections

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from retuned.ingest.columns import Doubt
    from retuned.ingest.piece import Piece
    from retuned_pipelines.spec import ModelSpec


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sorted:
    """Which records are right: those that were clear at once, and those after a look.

    Attributes:
        clear: positions of the former, int64.
        found: what the look gave, by position, a tuple of values each.
        rejected: what it refused.
    """

    clear: NDArray[np.int64]
    found: dict[int, tuple[Any, ...]]
    rejected: list[Rejected]

    @classmethod
    def of(
        cls,
        piece: Piece,
        doubt: Doubt,
        look: Callable[[dict[str, Any]], tuple[Any, ...]],
        spec: ModelSpec,
    ) -> Sorted:
        """Sort the records of a piece.

        Args:
            piece: the records.
            doubt: which of them are to be looked at; None for none.
            look: gives a record's values; raises `Refusal`.
            spec: names of the fields.
        """
        everything = np.arange(len(piece), dtype=np.int64)
        if doubt is None:
            return cls(clear=everything, found={}, rejected=[])
        found, rejected = {}, []
        places = np.flatnonzero(doubt).tolist()
        for place, record in zip(places, piece.records(places), strict=True):
            try:
                found[place] = look(record)
            except Refusal as refusal:
                rejected.append(_rejected(int(piece.indices[place]), record, str(refusal), spec))
        return cls(clear=everything[~doubt], found=found, rejected=rejected)

    @property
    def places(self) -> NDArray[np.int64]:
        """Positions of all that are right, in order."""
        return np.sort(np.concatenate([self.clear, np.array(list(self.found), dtype=np.int64)]))

    def together(self, arrays: Sequence[pa.Array]) -> list[pa.Array]:
        """Columns of all that are right, in order."""
        if not self.found and (not len(arrays) or len(self.clear) == len(arrays[0])):
            return list(arrays)
        clear = pa.array(self.clear)
        if not self.found:
            return [array.take(clear) for array in arrays]
        order = pa.array(np.argsort(np.concatenate([self.clear, np.array(list(self.found))])))
        looked = zip(*self.found.values(), strict=True)
        return [
            pa.concat_arrays([array.take(clear), pa.array(values, array.type)]).take(order)
            for array, values in zip(arrays, looked, strict=True)
        ]


def admitted(
    labels: pa.Array,
    places: NDArray[np.int64],
    piece: Piece,
    spec: ModelSpec,
    classes: Sequence[str],
) -> tuple[pa.Array | None, list[Rejected]]:
    """Which labels go with the first classes (None: all), and the refusals of the others."""
    refused = objections(labels, classes, spec.task)
    if not refused:
        return None, []
    values = labels.to_pylist()
    wrong = [number for number, value in enumerate(values) if value in refused]
    positions = places[wrong].tolist()
    rejected = [
        _rejected(int(piece.indices[place]), record, refused[values[number]], spec)
        for number, place, record in zip(wrong, positions, piece.records(positions), strict=True)
    ]
    return pa.array([value not in refused for value in values]), rejected


def filtered(arrays: Sequence[pa.Array], mask: pa.Array | None) -> list[pa.Array]:
    """What a mask leaves of columns; None leaves all."""
    return [array if mask is None else array.filter(mask) for array in arrays]


def _rejected(index: int, record: dict[str, Any], reason: str, spec: ModelSpec) -> Rejected:
    return Rejected(index=index, id=id_text(record, spec), reason=reason, record=as_sent(record))


def in_order(rejected: Iterable[Rejected]) -> tuple[Rejected, ...]:
    """Refusals as their records came."""
    return tuple(sorted(rejected, key=lambda item: item.index))
