"""Whole columns at once: what is certainly right is taken without looking at single values.

Each function gives an Arrow array and where it is in doubt: a mask of rows that have to be looked
at one by one (`retuned.ingest.record`), or None. What is not in doubt is exactly what a look at the
single record would have given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from retuned.ingest.fields import (
    EXACT_BELOW,
    LARGEST,
    LONGEST_ID,
    WHOLE_BELOW,
    Refusal,
    label_value,
)
from retuned_pipelines.column import FIRST_US, LAST_US, instants, numbers
from retuned_pipelines.schema import INSTANT, Kind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from retuned.ingest.piece import Values
    from retuned.ingest.text_labels import TextLabels
    from retuned.rows.batch import LabelValue
    from retuned_pipelines.spec import ModelSpec

Doubt: TypeAlias = "NDArray[np.bool_] | None"
"""Which rows are in doubt; None for none of them."""

_NONE = type(None)
_KEPT: dict[Kind, tuple[set[type], pa.DataType]] = {
    Kind.NUMBER: ({float, int}, pa.float64()),
    Kind.INTEGER: ({int}, pa.int64()),
    Kind.BOOLEAN: ({bool}, pa.bool_()),
    Kind.CATEGORY: ({str}, pa.string()),
    Kind.TIMESTAMP: ({str}, pa.string()),
}
"""What a tuple may hold, beside None, to become an array of a type at once."""


def feature(values: Values, kind: Kind, *, is_text: bool) -> tuple[pa.Array, Doubt]:
    """A feature's values in the kind's own type."""
    column, doubt = _array(values, *_kept(values, kind))
    found = _CONVERTED[kind](column, is_text)
    array, more = _settled(column, found)
    if array.type != kind.arrow_type:
        array = array.cast(kind.arrow_type)
    return array, _either(doubt, more)


def _kept(values: Values, kind: Kind) -> tuple[set[type], pa.DataType]:
    is_plain = kind is Kind.TIMESTAMP and isinstance(values, tuple)
    are_numbers = is_plain and bool(set(map(type, values)) & {int, float})
    return _KEPT[Kind.NUMBER if are_numbers else kind]


def ids(values: Values) -> tuple[pa.Array, Doubt]:
    """Ids as text; null is in doubt, as everything else that is none."""
    if isinstance(values, tuple):
        is_whole = set(map(type, values)) == {int}
        allowed = ({int}, pa.int64()) if is_whole else ({str}, pa.string())
        column, doubt = _array(values, *allowed)
    else:
        column, doubt = values, None
    if pa.types.is_floating(column.type):
        column = _whole(column, EXACT_BELOW)
    if pa.types.is_integer(column.type):
        column = column.cast(pa.string())
    if not pa.types.is_string(column.type):
        return pa.nulls(len(column), pa.string()), np.ones(len(column), dtype=bool)
    length = pc.utf8_length(column)
    is_right = pc.and_(pc.greater(length, 0), pc.less_equal(length, LONGEST_ID))
    return column, _either(doubt, _not(is_right))


def times(values: Values, *, is_text: bool) -> tuple[NDArray[np.int64], Doubt]:
    """Rows' times, microseconds since the epoch; zero where in doubt."""
    column, doubt = _array(values, *_kept(values, Kind.TIMESTAMP))
    found = pc.cast(_timestamp(column, is_text), pa.int64())
    doubt = _either(doubt, _not(pc.is_valid(found)))
    return pc.fill_null(found, 0).to_numpy(zero_copy_only=False), doubt


def labels(
    values: Values, spec: ModelSpec, text: TextLabels | None = None
) -> tuple[pa.Array, Doubt]:
    """Labels as they are stored; null where there is none.

    Args:
        values: those of the field.
        spec: what they are labels of.
        text: how they are read where all values are text.
    """
    if not spec.task.is_classification:
        return feature(values, Kind.NUMBER, is_text=text is not None)
    if text is not None:
        return _settled(values, _json_of_text(values, spec, text))
    column, doubt = _array(values, *_classes(values))
    array, more = _settled(column, _json(column))
    return array, _either(doubt, more)


def _json_of_text(column: pa.Array, spec: ModelSpec, text: TextLabels) -> pa.Array:
    encoded = column.dictionary_encode()

    def stored(value: str) -> LabelValue | None:
        try:
            return label_value(text.read(value), spec)
        except Refusal:
            return None

    found = [stored(value) for value in encoded.dictionary.to_pylist()]
    return pa.array(found, pa.string()).take(encoded.indices)


def _classes(values: Values) -> tuple[set[type], pa.DataType]:
    types = set(map(type, values)) if isinstance(values, tuple) else set()
    if bool in types:
        return {bool}, pa.bool_()
    if int in types or float in types:
        return ({float}, pa.float64()) if float in types else ({int}, pa.int64())
    return {str}, pa.string()


def _array(values: Values, allowed: set[type], kind: pa.DataType) -> tuple[pa.Array, Doubt]:
    """A tuple as an array; what is not of an allowed type is left out, and in doubt."""
    if isinstance(values, pa.Array):
        return values, None
    doubt = None
    if not set(map(type, values)) <= allowed | {_NONE}:
        doubt = np.array([type(value) not in allowed and value is not None for value in values])
        values = [
            None if is_odd else value for value, is_odd in zip(values, doubt.tolist(), strict=True)
        ]
    try:
        return pa.array(values, kind), doubt
    except (pa.ArrowInvalid, OverflowError):
        # Whole numbers that a float64 or int64 cannot hold.
        is_large = np.array([type(v) is int and abs(v) >= EXACT_BELOW for v in values])
        rest = [None if odd else v for v, odd in zip(values, is_large.tolist(), strict=True)]
        return pa.array(rest, kind), _either(doubt, is_large)


def _settled(column: pa.Array, found: pa.Array) -> tuple[pa.Array, Doubt]:
    """What was converted; a value that became null is in doubt."""
    if found.null_count == column.null_count:
        return found, None
    return found, _not(pc.or_(pc.is_valid(found), pc.is_null(column)))


def _number(column: pa.Array, is_text: bool) -> pa.Array:  # noqa: FBT001 (one of a table)
    found = column.type
    if is_text and pa.types.is_string(found):
        column = _numbers_of_text(column)
    elif not _is_numeric(found):
        return _nothing(column, pa.float64())
    if column.type != pa.float64():
        column = pc.cast(column, pa.float64(), safe=False)
    values = column.to_numpy(zero_copy_only=False)
    with np.errstate(invalid="ignore"):
        is_right = np.abs(values) <= LARGEST
    # NaN stands for null here, which is as right as before.
    return column if is_right.all() else _where(pa.array(is_right), column)


def _numbers_of_text(column: pa.Array) -> pa.Array:
    try:
        return pc.cast(column, pa.float64())
    except pa.ArrowInvalid:
        return numbers(column)


def _integer(column: pa.Array, is_text: bool) -> pa.Array:  # noqa: FBT001
    if pa.types.is_integer(column.type) and column.type != pa.uint64():
        # Arrow has room for one number more than there is below zero.
        values = pc.fill_null(column, 0).to_numpy(zero_copy_only=False)
        is_right = np.abs(values.astype(np.float64)) < WHOLE_BELOW
        return column if is_right.all() else _where(pa.array(is_right), column)
    return pc.cast(_whole(_number(column, is_text), EXACT_BELOW), pa.int64())


def _boolean(column: pa.Array, is_text: bool) -> pa.Array:  # noqa: FBT001
    if pa.types.is_boolean(column.type):
        return column
    found = _number(column, is_text)
    is_right = pc.or_(pc.equal(found, 0.0), pc.equal(found, 1.0))
    return pc.equal(_where(is_right, found), 1.0)


def _category(column: pa.Array, is_text: bool) -> pa.Array:  # noqa: ARG001, FBT001
    return column if pa.types.is_string(column.type) else _nothing(column, pa.string())


def _timestamp(column: pa.Array, is_text: bool) -> pa.Array:  # noqa: FBT001
    found = column.type
    if pa.types.is_string(found):
        moments = instants(column)
        if is_text and moments.null_count > column.null_count:
            # True is 1 as a number, and no moment.
            is_other = pc.invert(pc.is_in(column, pa.array(["true", "false"])))
            rest = _numbers_of_text(_where(is_other, column))
            moments = pc.coalesce(moments, _of_seconds(rest))
        return moments
    if found == INSTANT:
        since = column.cast(pa.int64())
        inside = pc.and_(pc.greater_equal(since, FIRST_US), pc.less_equal(since, LAST_US))
        return _where(inside, column)
    if _is_numeric(found) and not pa.types.is_boolean(found):
        return _of_seconds(pc.cast(column, pa.float64(), safe=False))
    return _nothing(column, INSTANT)


_CONVERTED = {
    Kind.NUMBER: _number,
    Kind.INTEGER: _integer,
    Kind.BOOLEAN: _boolean,
    Kind.CATEGORY: _category,
    Kind.TIMESTAMP: _timestamp,
}


def _of_seconds(column: pa.Array) -> pa.Array:
    # NaN and null fail the comparison, and so does what rounding makes too large.
    with np.errstate(invalid="ignore", over="ignore"):
        since = np.rint(column.to_numpy(zero_copy_only=False) * 1e6)
        is_right = (since >= FIRST_US) & (since < LAST_US)
    return pa.array(np.where(is_right, since, 0).astype(np.int64), mask=~is_right).cast(INSTANT)


def _json(column: pa.Array) -> pa.Array:
    """Classes as JSON text."""
    found = column.type
    if pa.types.is_floating(found):
        column = pc.cast(_whole(column, EXACT_BELOW), pa.int64())
    elif pa.types.is_string(found):
        encoded = column.dictionary_encode()
        texts = [orjson.dumps(text).decode() for text in encoded.dictionary.to_pylist()]
        return pa.array(texts, pa.string()).take(encoded.indices)
    elif pa.types.is_integer(found):
        column = _integer(column, is_text=False)
    elif not pa.types.is_boolean(found):
        return _nothing(column, pa.string())
    return column.cast(pa.string())


def _whole(column: pa.Array, below: float) -> pa.Array:
    values = column.to_numpy(zero_copy_only=False)
    with np.errstate(invalid="ignore"):
        is_whole = (np.floor(values) == values) & (np.abs(values) < below)
    return _where(pa.array(is_whole), column).cast(pa.int64())


def _is_numeric(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    )


def _where(mask: pa.Array, column: pa.Array) -> pa.Array:
    return pc.if_else(mask, column, pa.scalar(None, column.type))


def _nothing(column: pa.Array, kind: pa.DataType) -> pa.Array:
    return pa.nulls(len(column), kind)


def _not(mask: pa.Array) -> NDArray[np.bool_]:
    """Where a mask is false or null."""
    return np.asarray(~pc.fill_null(mask, False).to_numpy(zero_copy_only=False))  # noqa: FBT003 (Arrow's own)


def filled(values: Values) -> NDArray[np.bool_]:
    """Where there is a value."""
    if isinstance(values, tuple):
        return np.array([value is not None for value in values], dtype=bool)
    return np.asarray(values.is_valid().to_numpy(zero_copy_only=False))


def either(*doubts: Doubt) -> Doubt:
    """Where any of several is in doubt."""
    found = None
    for doubt in doubts:
        found = _either(found, doubt)
    return found


def _either(one: Doubt, other: Doubt) -> Doubt:
    if one is None or not one.any():
        return other if other is not None and other.any() else None
    return one if other is None else one | other
