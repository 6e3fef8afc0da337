"""Which kind a column is of, by the values that came first."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from retuned.ingest.fields import typed
from retuned_pipelines.column import instants
from retuned_pipelines.schema import OWN, Feature, Kind, Schema

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from retuned.ingest.piece import Piece, Values
    from retuned_pipelines.spec import ModelSpec

LABEL = "label"

_OF_A_KIND = frozenset({bool, int, float, str})

_STRAY = 10
"""Text in one value of so many, or fewer, does not make a category of numbers."""


def inferred(piece: Piece, spec: ModelSpec) -> Schema:
    """The features that records have beside id, time and target.

    Labels that were sent to the wrong place do not become the model's only feature.
    """
    apart = {spec.id, spec.target, spec.time}
    kinds = kinds_of(piece, [name for name in piece.names if name not in apart])
    if kinds.keys() == {LABEL}:
        kinds.clear()
    return Schema(tuple(Feature(name, kind) for name, kind in kinds.items()))


def kinds_of(piece: Piece, names: Sequence[str]) -> dict[str, Kind]:
    """The kinds of columns; those without a value have none, nor have those of odd values.

    Whole numbers are numbers: what begins with 1, 2, 3 often meets 2.5 later. So are numbers
    with little text among them, such as an "n/a": it is the text that is wrong. Text is a
    moment only where every value reads as one.
    """
    candidates = [name for name in names if not name.startswith(OWN)]
    columns = piece.columns(candidates)
    found = {
        name: _kind(values, is_text=piece.is_text)
        for name, values in zip(candidates, columns, strict=True)
    }
    return {name: kind for name, kind in found.items() if kind is not None}


def _kind(values: Values, *, is_text: bool) -> Kind | None:
    if isinstance(values, pa.Array):
        return _kind_of_text(values) if is_text else _kind_of_array(values)
    types: Counter[type] = Counter(kind for kind in map(type, values) if kind in _OF_A_KIND)
    if types.keys() == {str}:
        texts = pa.array([value for value in values if isinstance(value, str)], pa.string())
        return Kind.TIMESTAMP if _are_moments(texts) else Kind.CATEGORY
    return _of_types(types)


def _of_types(types: Mapping[type, int]) -> Kind | None:
    is_number = bool({int, float} & set(types))
    if str in types and not (is_number and types[str] * _STRAY <= sum(types.values())):
        # Text is all that takes both.
        return Kind.CATEGORY
    if set(types) == {bool}:
        return Kind.BOOLEAN
    return Kind.NUMBER if is_number else None


def _kind_of_array(values: pa.Array) -> Kind | None:
    found = values.type
    if values.null_count == len(values):
        return None
    if pa.types.is_string(found):
        return Kind.TIMESTAMP if _are_moments(values) else Kind.CATEGORY
    if pa.types.is_timestamp(found):
        return Kind.TIMESTAMP
    if pa.types.is_boolean(found):
        return Kind.BOOLEAN
    is_number = pa.types.is_integer(found) or pa.types.is_floating(found)
    return Kind.NUMBER if is_number else None


def _kind_of_text(values: pa.Array) -> Kind | None:
    if values.null_count == len(values):
        return None
    types: Counter[type] = Counter()
    for text in pc.value_counts(values.drop_null()).to_pylist():
        types[type(typed(text["values"]))] += text["counts"]
    if types.keys() == {str} and _are_moments(values):
        return Kind.TIMESTAMP
    return _of_types(types)


def _are_moments(values: pa.Array) -> bool:
    return bool(pc.sum(pc.is_valid(instants(values))).as_py() == len(values) - values.null_count)
