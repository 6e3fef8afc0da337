"""Single fields of rows and labels: what is allowed, and why something is refused."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn

import orjson

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

_LONGEST_ID = 512
_WHOLE_BELOW = 2**63


class Refusal(Exception):
    """Why one row or label is refused."""


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
    if isinstance(given, int) and not isinstance(given, bool):
        given = str(given)
    if not isinstance(given, str) or not 0 < len(given) <= _LONGEST_ID:
        refuse(
            f"field {spec.id!r} (the row's id) is {given!r:.80}: "
            f"expected text of 1 to {_LONGEST_ID} characters, or a whole number"
        )
    return given


def time_of(record: dict[str, Any], spec: ModelSpec, now_us: int) -> int:
    """A row's time in microseconds since the epoch; raises `Refusal`."""
    if not spec.time:
        return now_us
    given = record.get(spec.time)
    try:
        if isinstance(given, str):
            moment = datetime.fromisoformat(given)
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            return round(moment.timestamp() * 1e6)
        if isinstance(given, int | float) and not isinstance(given, bool):
            datetime.fromtimestamp(given, UTC)
            return round(given * 1e6)
    except (ValueError, OverflowError, OSError):
        pass
    refuse(
        f"field {spec.time!r} (the row's time) is {given!r:.80}: "
        "expected ISO 8601 text, or seconds since the epoch"
    )


def value_of(record: dict[str, Any], feature: Feature) -> float | str | None:
    """The value of a feature, None where it is missing; raises `Refusal`."""
    given = record.get(feature.name)
    if given is None:
        return None
    if feature.kind is Kind.NUMBER:
        return number(given, feature.name)
    if isinstance(given, str):
        return given
    refuse(f"field {feature.name!r} is {given!r:.80}: expected text or null")


def number(given: object, name: str) -> float:
    """A number as it is stored; raises `Refusal`."""
    if not isinstance(given, int | float):
        refuse(f"field {name!r} is {given!r:.80}: expected a number or null")
    found = float(given)
    if not math.isfinite(found) or abs(found) > LARGEST:
        refuse(f"field {name!r} is {given!r:.80}: expected a number up to {LARGEST:g}")
    return found


def label_value(given: object, spec: ModelSpec) -> LabelValue:
    """A label as it is stored, a number or the class as JSON text; raises `Refusal`."""
    if not spec.task.is_classification:
        return number(given, spec.target)
    if isinstance(given, float) and given.is_integer() and abs(given) < _WHOLE_BELOW:
        given = int(given)
    if isinstance(given, str) or (isinstance(given, int) and abs(given) < _WHOLE_BELOW):
        return orjson.dumps(given).decode()
    refuse(
        f"label {given!r:.80} is no class: expected text, a whole number below 2**63, true or false"
    )
