"""Single fields of rows and labels: what is allowed, and why something is refused."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

import orjson
import pyarrow as pa

from retuned_pipelines.column import FIRST_US, LAST_US, instants, texts
from retuned_pipelines.schema import Feature, Kind

if TYPE_CHECKING:
    from retuned.rows.batch import LabelValue
    from retuned_pipelines.spec import ModelSpec

LARGEST = 1e37
"""Numbers beyond this are refused, in features and in labels.

It is the largest power of ten that everything takes which is done with numbers. LightGBM keeps
labels in single precision and silently cuts them at 1e38. A linear model multiplies a feature with
a slope as large as a label, a squared error squares that product, and the variance of such errors
squares it again: the eighth power is 1e296, and double precision ends at 1.8e308.
"""

LONGEST_ID = 512
"""Characters of an id at the most."""

WHOLE_BELOW = 2**63
EXACT_BELOW = 2**53

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_WHOLE = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(
    r"[+-]?(([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|nan|inf|infinity)", re.IGNORECASE
)
_TRUTH = {"true": True, "false": False}


Value: TypeAlias = Any
"""What JSON or Arrow hold, as a Python object."""


class Refusal(Exception):
    """Why one row or label is refused."""


class OtherKind(Refusal):
    """A value is of another kind than its feature."""

    def __init__(self, reason: str, kind: Kind) -> None:
        """Tell the reason, and the kind that the value is of."""
        super().__init__(reason)
        self.kind = kind


def refuse(reason: str) -> NoReturn:
    """Refuse a row or label."""
    raise Refusal(reason)


def id_text(record: dict[str, Any], spec: ModelSpec) -> str | None:
    """What a record has for an id, right or wrong, as text."""
    given = record.get(spec.id)
    return given if isinstance(given, str) else None if given is None else repr(given)


def id_of(record: dict[str, Any], spec: ModelSpec) -> str:
    """A record's id; raises `Refusal`."""
    given = record.get(spec.id)
    if isinstance(given, float) and given.is_integer() and abs(given) < EXACT_BELOW:
        given = int(given)
    if isinstance(given, int) and not isinstance(given, bool):
        given = str(given)
    if not isinstance(given, str) or not 0 < len(given) <= LONGEST_ID:
        refuse(
            f"field {spec.id!r} (the row's id) is {given!r:.80}: "
            f"expected text of 1 to {LONGEST_ID} characters, or a whole number"
        )
    return given


def time_of(record: dict[str, Any], spec: ModelSpec, now_us: int) -> int:
    """A row's time in microseconds since the epoch; raises `Refusal`."""
    if not spec.time:
        return now_us
    given = record.get(spec.time)
    found = None
    if isinstance(given, str):
        found = _moment_of_text(given)
    elif isinstance(given, datetime):
        found = _microseconds(given)
    elif isinstance(given, int | float) and not isinstance(given, bool):
        found = moment_of_seconds(given)
    if found is None:
        refuse(
            f"field {spec.time!r} (the row's time) is {given!r:.80}: "
            "expected ISO 8601 text, or seconds since the epoch"
        )
    return found


def moment_of_seconds(given: float) -> int | None:
    """Microseconds since the epoch; None where that is no moment of the years 1 to 9999."""
    # Compared as it is: some whole numbers are too large for a float.
    if not abs(given) < -2 * FIRST_US:
        return None
    found = round(given * 1e6)
    return found if FIRST_US <= found <= LAST_US else None


def value_of(given: object, feature: Feature) -> Value:
    """The value of a feature as it is stored, None where it is missing.

    Raises:
        OtherKind: it is of another kind.
        Refusal: it is a value of no kind.
    """
    if given is None:
        return None
    if isinstance(given, Decimal):
        given = float(given)
    if not isinstance(given, str | int | float | datetime):
        _other(given, feature)
    return _READ[feature.kind](given, feature)


def number(given: object, name: str) -> float:
    """A number as it is stored; raises `Refusal`."""
    if not isinstance(given, int | float):
        refuse(f"field {name!r} is {given!r:.80}: expected a number or null")
    try:
        found = float(given)
    except OverflowError:
        found = math.inf
    if not math.isfinite(found) or abs(found) > LARGEST:
        refuse(f"field {name!r} is {given!r:.80}: expected a number up to {LARGEST:g}")
    return found


def label_value(given: object, spec: ModelSpec) -> LabelValue:
    """A label as it is stored, a number or the class as JSON text; raises `Refusal`."""
    if not spec.task.is_classification:
        return number(given, spec.target)
    if isinstance(given, float) and given.is_integer() and abs(given) < WHOLE_BELOW:
        given = int(given)
    if isinstance(given, str) or (isinstance(given, int) and abs(given) < WHOLE_BELOW):
        return orjson.dumps(given).decode()
    refuse(
        f"label {given!r:.80} is no class: expected text, a whole number below 2**63, true or false"
    )


def typed(text: object) -> Value:
    """What a field of a text format says: a truth value, a number, or else text."""
    if not isinstance(text, str):
        return text
    bare = text.strip()
    truth = _TRUTH.get(bare.lower())
    if truth is not None:
        return truth
    if _WHOLE.fullmatch(bare):
        # Python refuses to read thousands of digits; such a number is too large anyway.
        return int(bare) if len(bare) < LONGEST_ID else float(bare)
    return float(bare) if _NUMBER.fullmatch(bare) else text


def kind_of(given: object) -> Kind | None:
    """The kind of a value by itself; None where it has none."""
    if isinstance(given, bool):
        return Kind.BOOLEAN
    if isinstance(given, int):
        return Kind.INTEGER if abs(given) < WHOLE_BELOW else Kind.NUMBER
    if isinstance(given, float | Decimal):
        return Kind.NUMBER
    if isinstance(given, datetime):
        return Kind.TIMESTAMP
    return Kind.CATEGORY if isinstance(given, str) else None


def as_text(given: Value, name: str) -> Value:
    """A value as the text of a category; raises `Refusal` where a number is too large."""
    if isinstance(given, int) and abs(given) >= WHOLE_BELOW:
        given = number(given, name)
    return given if isinstance(given, str) else texts(pa.array([given]))[0].as_py()


def _number_of(given: Value, feature: Feature) -> float:
    if isinstance(given, str | datetime):
        _other(given, feature)
    return number(given, feature.name)


def _integer_of(given: Value, feature: Feature) -> int:
    found = _number_of(given, feature)
    if not found.is_integer() or abs(given) >= WHOLE_BELOW:
        _other(given, feature)
    return int(given)


def _boolean_of(given: Value, feature: Feature) -> bool:
    found = _number_of(given, feature)
    if found not in {0.0, 1.0}:
        _other(given, feature)
    return bool(given)


def _category_of(given: Value, feature: Feature) -> str:
    if isinstance(given, float) and not math.isfinite(given):
        refuse(_reason(given, feature))
    if not isinstance(given, str):
        _other(given, feature)
    return str(given)


def _timestamp_of(given: Value, feature: Feature) -> int:
    if isinstance(given, bool):
        _other(given, feature)
    if isinstance(given, datetime):
        return _microseconds(given)
    if isinstance(given, str):
        found = instants(pa.array([given], pa.string())).cast(pa.int64())[0].as_py()
        if found is None:
            _other(given, feature)
        return int(found)
    found = moment_of_seconds(given)
    if found is None:
        refuse(_reason(given, feature))
    return found


_READ = {
    Kind.NUMBER: _number_of,
    Kind.INTEGER: _integer_of,
    Kind.BOOLEAN: _boolean_of,
    Kind.CATEGORY: _category_of,
    Kind.TIMESTAMP: _timestamp_of,
}


def _other(given: object, feature: Feature) -> NoReturn:
    kind = kind_of(given)
    if kind is None:
        refuse(_reason(given, feature))
    raise OtherKind(_reason(given, feature), kind)


def _reason(given: object, feature: Feature) -> str:
    return f"field {feature.name!r} is {given!r:.80}: expected {feature.kind.in_words} or null"


def _moment_of_text(text: str) -> int | None:
    try:
        moment = datetime.fromisoformat(text)
        return _microseconds(moment)
    except (ValueError, OverflowError):
        return None


def _microseconds(moment: datetime) -> int:
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // _MICROSECOND
