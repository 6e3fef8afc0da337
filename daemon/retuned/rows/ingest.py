"""From a request's bytes to valid rows and labels, with a reason for each one refused."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import orjson
import pyarrow as pa

from retuned.errors import PermanentError
from retuned.rows.batch import LabelBatch, LabelValue, RowBatch
from retuned_pipelines.schema import Feature, Kind, Schema

if TYPE_CHECKING:
    from collections.abc import Sequence

    from retuned_pipelines.spec import ModelSpec

JSON = "application/json"
NDJSON = "application/x-ndjson"

LARGEST = 1e150
"""Numbers beyond this are refused: squares of them, and sums of those, would overflow."""

_LONGEST_ID = 512
_WHOLE_BELOW = 2**63
_OWN = "__"


class BadPayload(PermanentError):
    """The body cannot be read at all."""


class UnsupportedContent(PermanentError):
    """The body is of a type that is not read here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """A row or label that was refused.

    Attributes:
        index: its position in the request, from 0.
        id: its id, where it had one.
        reason: what is wrong with it, and what is allowed.
    """

    index: int
    id: str | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ParsedRows:
    """The valid rows of a request, their schema, and what was refused."""

    batch: RowBatch
    schema: Schema
    rejected: tuple[Rejected, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedLabels:
    """The valid labels of a request, and what was refused."""

    batch: LabelBatch
    rejected: tuple[Rejected, ...]


class _Refusal(Exception):
    """Why one row is refused."""


def parse_rows(
    payload: bytes, content_type: str, spec: ModelSpec, schema: Schema | None, now_us: int
) -> ParsedRows:
    """Read rows.

    A row is an object with the model's id field, its time field where it has one, features,
    and the label where it is already known. Without a schema, one is inferred: a feature is a
    category if any row has text there, and a number otherwise.

    Args:
        payload: JSON (an array of objects, one object, or ``{"rows": [...]}``) or NDJSON.
        content_type: the request's.
        spec: names of the fields.
        schema: the features, where they are known.
        now_us: the time of rows without one, microseconds since the epoch.

    Raises:
        BadPayload: not JSON, or not objects.
        UnsupportedContent: neither JSON nor NDJSON.
    """
    records = _records(payload, content_type, "rows")
    fixed = schema or _inferred(records, spec)
    rejected: list[Rejected] = []
    columns: list[list[Any]] = [[] for _ in fixed.features]
    ids: list[str] = []
    times: list[int] = []
    contents: list[bytes] = []
    labels: dict[int, LabelValue] = {}
    allowed = {*fixed.names, spec.id, spec.target, *([spec.time] if spec.time else [])}
    for index, record in enumerate(records):
        name = _id_text(record, spec)
        try:
            name = _checked_id(record, spec)
            time = _time(record, spec, now_us)
            values = _values(record, fixed.features, allowed)
            label = record.get(spec.target)
            if label is not None:
                labels[len(ids)] = label_value(label, spec)
        except _Refusal as refusal:
            labels.pop(len(ids), None)
            rejected.append(Rejected(index=index, id=name, reason=str(refusal)))
            continue
        ids.append(name)
        times.append(time)
        contents.append(_content(values, time if spec.time else None))
        for column, value in zip(columns, values, strict=True):
            column.append(value)
    arrays = [
        pa.array(column, feature.kind.arrow_type)
        for column, feature in zip(columns, fixed.features, strict=True)
    ]
    batch = RowBatch(
        ids=ids,
        time=np.array(times, dtype=np.int64),
        features=pa.table(arrays, schema=fixed.arrow),
        contents=contents,
        labels=labels,
    )
    return ParsedRows(batch=batch, schema=fixed, rejected=tuple(rejected))


def parse_labels(payload: bytes, content_type: str, spec: ModelSpec) -> ParsedLabels:
    """Read labels: objects with the id field, and ``label`` or the target field.

    Raises:
        BadPayload: not JSON, or not objects.
        UnsupportedContent: neither JSON nor NDJSON.
    """
    rejected: list[Rejected] = []
    ids, values = [], []
    for index, record in enumerate(_records(payload, content_type, "labels")):
        name = _id_text(record, spec)
        try:
            name = _checked_id(record, spec)
            given = record.get("label", record.get(spec.target))
            if given is None:
                _refuse(f"has no label: expected field 'label' or {spec.target!r}")
            value = label_value(given, spec)
        except _Refusal as refusal:
            rejected.append(Rejected(index=index, id=name, reason=str(refusal)))
            continue
        ids.append(name)
        values.append(value)
    return ParsedLabels(batch=LabelBatch(ids=ids, values=values), rejected=tuple(rejected))


def label_value(given: object, spec: ModelSpec) -> LabelValue:
    """A label as the log keeps it: a number, or the class as JSON text."""
    if not spec.task.is_classification:
        return _finite(given, spec.target)
    if isinstance(given, float) and given.is_integer() and abs(given) < _WHOLE_BELOW:
        given = int(given)
    if not isinstance(given, str | int | bool):
        _refuse(f"label {given!r} is no class: expected text, a whole number, true or false")
    return orjson.dumps(given).decode()


def _records(payload: bytes, content_type: str, name: str) -> list[dict[str, Any]]:
    kind = content_type.partition(";")[0].strip().lower()
    if kind == NDJSON:
        lines = [line for line in payload.splitlines() if line.strip()]
        found: object = [_loads(line, f"line {n}: ") for n, line in enumerate(lines, 1)]
    elif kind == JSON:
        found = _loads(payload, "")
        if isinstance(found, dict):
            found = found.get(name, [found])
    else:
        message = f"content type {kind or 'missing'!r} is not read here: send {JSON} or {NDJSON}"
        raise UnsupportedContent(message)
    if not isinstance(found, list):
        message = f"expected an array of objects, or an object with {name!r}"
        raise BadPayload(message)
    for index, record in enumerate(found):
        if not isinstance(record, dict):
            message = f"item {index} is {record!r:.80}, not an object"
            raise BadPayload(message)
    return found


def _loads(payload: bytes, where: str) -> object:
    try:
        found: object = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        message = f"{where}not valid JSON: {error}"
        raise BadPayload(message) from error
    return found


def _inferred(records: Sequence[dict[str, Any]], spec: ModelSpec) -> Schema:
    apart = {spec.id, spec.target, spec.time}
    kinds: dict[str, Kind] = {}
    for record in records:
        for name, value in record.items():
            if name in apart or name.startswith(_OWN):
                continue
            if isinstance(value, str):
                kinds[name] = Kind.CATEGORY
            elif value is None or isinstance(value, int | float):
                kinds.setdefault(name, Kind.NUMBER)
    return Schema(tuple(Feature(name, kind) for name, kind in kinds.items()))


def _id_text(record: dict[str, Any], spec: ModelSpec) -> str | None:
    given = record.get(spec.id)
    return given if isinstance(given, str) else None if given is None else repr(given)


def _checked_id(record: dict[str, Any], spec: ModelSpec) -> str:
    given = record.get(spec.id)
    if isinstance(given, int) and not isinstance(given, bool):
        given = str(given)
    if not isinstance(given, str) or not 0 < len(given) <= _LONGEST_ID:
        _refuse(
            f"field {spec.id!r} (the row's id) is {given!r:.80}: "
            f"expected text of 1 to {_LONGEST_ID} characters, or a whole number"
        )
    return given


def _time(record: dict[str, Any], spec: ModelSpec, now_us: int) -> int:
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
    message = (
        f"field {spec.time!r} (the row's time) is {given!r:.80}: "
        "expected ISO 8601 text, or seconds since the epoch"
    )
    raise _Refusal(message)


def _values(record: dict[str, Any], features: tuple[Feature, ...], allowed: set[str]) -> list[Any]:
    if not features:
        _refuse("has no feature: expected fields beside id, time and label")
    if any(name.startswith(_OWN) for name in record.keys() - allowed):
        _refuse(f"names of fields that begin with {_OWN!r} are retuned's own")
    if not record.keys() <= allowed:
        unknown = ", ".join(sorted(repr(name) for name in record.keys() - allowed))
        _refuse(f"unknown field {unknown}: the model's features were fixed by its first rows")
    return [_value(record.get(feature.name), feature.name, feature.kind) for feature in features]


def _value(given: object, name: str, kind: Kind) -> float | str | None:
    if given is None:
        return None
    if kind is Kind.CATEGORY:
        if isinstance(given, str):
            return given
        _refuse(f"field {name!r} is {given!r:.80}: expected text or null")
    return _finite(given, name)


def _finite(given: object, name: str) -> float:
    if not isinstance(given, int | float):
        _refuse(f"field {name!r} is {given!r:.80}: expected a number or null")
    number = float(given)
    if not math.isfinite(number) or abs(number) > LARGEST:
        _refuse(f"field {name!r} is {given!r:.80}: expected a number up to {LARGEST:g}")
    return number


def _content(values: list[Any], time: int | None) -> bytes:
    return hashlib.blake2b(orjson.dumps([time, *values]), digest_size=8).digest()


def _refuse(reason: str) -> NoReturn:
    raise _Refusal(reason)
