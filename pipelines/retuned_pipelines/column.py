"""Columns of values: from one kind to another, and from text."""

from __future__ import annotations

from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from retuned_pipelines.schema import INSTANT, Kind

FIRST_US = -62_135_596_800_000_000
"""The first moment that is taken, the year 1, in microseconds since the epoch."""

LAST_US = 253_402_300_799_999_999
"""The last one, the end of the year 9999."""

_WHOLE = 2.0**53
_NUMBER = r"^[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]+)?$"
_CLOCK = r"[0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,9})?)?"
_ZONE = r"(Z|[+-][0-9]{2}:?[0-9]{2})"
_MOMENT = rf"^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}([T ]{_CLOCK}{_ZONE}?)?$"

Column: TypeAlias = Any
"""An Arrow array, in one piece or in chunks; Arrow's own types are unknown to type checkers."""


def as_kind(column: Column, kind: Kind) -> Column:
    """A column of another kind, widened or, where its rows are older, narrowed.

    What cannot be said in that kind is missing: the text of a category that is no number, say.
    """
    found = column.type
    if found == kind.arrow_type:
        return column
    if pa.types.is_null(found):
        return column.cast(kind.arrow_type)
    if kind is Kind.CATEGORY:
        return texts(column)
    if kind is Kind.TIMESTAMP:
        return _nothing(column, kind) if not pa.types.is_string(found) else instants(column)
    numbers = seconds(column)
    if kind is Kind.NUMBER:
        return numbers
    if kind is Kind.BOOLEAN:
        return pc.not_equal(numbers, 0.0)
    return pc.cast(_whole(numbers), pa.int64())


def seconds(column: Column) -> Column:
    """A column as the float64 numbers that estimators see: true is 1, a moment is its seconds."""
    found = column.type
    if found == pa.float64():
        return column
    if pa.types.is_timestamp(found):
        return pc.divide(pc.cast(pc.cast(column, pa.int64()), pa.float64(), safe=False), 1e6)
    if pa.types.is_string(found):
        return numbers(column)
    return pc.cast(column, pa.float64(), safe=False)


def numbers(column: Column) -> Column:
    """Text as float64; null where it is no number. True and false are 1 and 0."""
    named = pc.if_else(pc.equal(column, "true"), "1", column)
    named = pc.if_else(pc.equal(named, "false"), "0", named)
    is_number = pc.match_substring_regex(named, _NUMBER)
    return pc.cast(_where(is_number, named), pa.float64())


def texts(column: Column) -> Column:
    """A column as text: ``true``, ``3``, ``3.5``, ``2026-01-31T12:00:00.000000Z``."""
    found = column.type
    if pa.types.is_timestamp(found):
        return pc.replace_substring(pc.cast(column, pa.string()), " ", "T")
    if pa.types.is_floating(found):
        whole = pc.cast(pc.cast(_whole(column), pa.int64()), pa.string())
        return pc.coalesce(whole, pc.cast(column, pa.string()))
    return pc.cast(column, pa.string())


def instants(column: Column) -> Column:
    """Text as moments (UTC where it names no zone); null where it is none.

    What is read: ``2026-01-31``, and ``2026-01-31T12:30`` with or without seconds, their
    fractions and a zone, with ``T`` or a space.
    """
    is_moment = pc.match_substring_regex(column, _MOMENT)
    # Arrow reads fractions as long as its unit; some languages write nine digits.
    shaped = pc.replace_substring_regex(_where(is_moment, column), r"([.][0-9]{6})[0-9]+", r"\1")
    is_zoned = pc.match_substring_regex(shaped, rf":.*{_ZONE}$")
    zoned = _parsed(_where(is_zoned, shaped), INSTANT)
    plain = _parsed(_where(pc.invert(is_zoned), shaped), pa.timestamp("us"))
    # By way of whole numbers: a time zone would need a database of them.
    return within_years(pc.coalesce(zoned, pc.cast(pc.cast(plain, pa.int64()), INSTANT)))


def within_years(moments: Column) -> Column:
    """Moments; null where their year has not four digits."""
    since = pc.cast(moments, pa.int64())
    inside = pc.and_(pc.greater_equal(since, FIRST_US), pc.less_equal(since, LAST_US))
    return _where(inside, moments)


def _parsed(column: Column, kind: pa.DataType) -> Column:
    try:
        return pc.cast(column, kind)
    except pa.ArrowInvalid:
        # A thirteenth month among them: one after the other.
        return pa.array([_one(text, kind) for text in column.to_pylist()], kind)


def _one(text: str | None, kind: pa.DataType) -> object:
    try:
        return pa.array([text], pa.string()).cast(kind)[0]
    except pa.ArrowInvalid:
        return None


def _whole(column: Column) -> Column:
    """Numbers; null where they are not whole, or too large to be exact."""
    is_whole = pc.and_(pc.equal(pc.floor(column), column), pc.less(pc.abs(column), _WHOLE))
    return _where(is_whole, column)


def _where(mask: Column, column: Column) -> Column:
    return pc.if_else(mask, column, pa.scalar(None, column.type))


def _nothing(column: Column, kind: Kind) -> pa.Array:
    return pa.nulls(len(column), kind.arrow_type)
