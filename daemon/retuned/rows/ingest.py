"""From a request's bytes to valid rows and labels, with a reason for each one refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import orjson
import pyarrow as pa

from retuned.errors import PermanentError
from retuned.rows.batch import LabelBatch, LabelValue, RowBatch
from retuned.rows.classes import LabelReader
from retuned.rows.fields import Refusal, id_of, id_text, refuse, time_of, value_of
from retuned.rows.quarantine import cut
from retuned_pipelines.schema import Feature, Kind, Schema

if TYPE_CHECKING:
    from collections.abc import Sequence

    from retuned_pipelines.spec import ModelSpec

JSON = "application/json"
NDJSON = "application/x-ndjson"

_OWN = "__"
_LABEL = "label"
_LABELS_GO = "labels go to /labels"


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
        record: the row or label as JSON text, cut where it is very long.
    """

    index: int
    id: str | None
    reason: str
    record: str = ""


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


def parse_rows(  # noqa: PLR0913 (a request, and what is known of the model)
    payload: bytes,
    content_type: str,
    spec: ModelSpec,
    schema: Schema | None,
    now_us: int,
    *,
    classes: Sequence[str] = (),
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
        classes: the first classes among the labels, as `RowLog.classes` remembers them.

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
    labels: dict[int, LabelValue] = {}
    reader, claim = LabelReader(spec, classes), _claim(spec, fixed)
    allowed = {*fixed.names, spec.id, spec.target, *([spec.time] if spec.time else [])}
    for index, record in enumerate(records):
        name = id_text(record, spec)
        try:
            name = id_of(record, spec)
            if claim:
                refuse(claim)
            time = time_of(record, spec, now_us)
            values = _values(record, fixed.features, allowed)
            label = record.get(spec.target)
            if label is not None:
                labels[len(ids)] = reader.read(label)
        except Refusal as refusal:
            labels.pop(len(ids), None)
            rejected.append(_rejected(index, name, refusal, record))
            continue
        ids.append(name)
        times.append(time)
        for column, value in zip(columns, values, strict=True):
            column.append(value)
    batch = RowBatch(
        ids=pa.array(ids, pa.string()),
        time=np.array(times, dtype=np.int64),
        is_timed=bool(spec.time),
        features=_table(columns, fixed),
        labels=_labels([labels.get(place) for place in range(len(ids))], spec),
    )
    return ParsedRows(batch=batch, schema=fixed, rejected=tuple(rejected))


def parse_labels(
    payload: bytes, content_type: str, spec: ModelSpec, *, classes: Sequence[str] = ()
) -> ParsedLabels:
    """Read labels: objects with the id field, and ``label`` or the target field.

    Args:
        payload: JSON or NDJSON.
        content_type: the request's.
        spec: names of the fields.
        classes: the first classes among the labels, as `RowLog.classes` remembers them.

    Raises:
        BadPayload: not JSON, or not objects.
        UnsupportedContent: neither JSON nor NDJSON.
    """
    rejected: list[Rejected] = []
    ids, values = [], []
    reader = LabelReader(spec, classes)
    for index, record in enumerate(_records(payload, content_type, "labels")):
        name = id_text(record, spec)
        try:
            name = id_of(record, spec)
            given = record.get("label", record.get(spec.target))
            if given is None:
                refuse(f"has no label: expected field 'label' or {spec.target!r}")
            value = reader.read(given)
        except Refusal as refusal:
            rejected.append(_rejected(index, name, refusal, record))
            continue
        ids.append(name)
        values.append(value)
    batch = LabelBatch(ids=pa.array(ids, pa.string()), values=_labels(values, spec))
    return ParsedLabels(batch=batch, rejected=tuple(rejected))


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


def _rejected(index: int, name: str | None, refusal: Refusal, record: dict[str, Any]) -> Rejected:
    text = cut(orjson.dumps(record))
    return Rejected(index=index, id=name, reason=str(refusal), record=text)


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
    if kinds.keys() == {_LABEL}:
        # Labels that were sent to the wrong place must not become the model's only feature.
        kinds.clear()
    return Schema(tuple(Feature(name, kind) for name, kind in kinds.items()))


def _table(columns: Sequence[Sequence[Any]], schema: Schema) -> pa.Table:
    kinds = [feature.kind.arrow_type for feature in schema.features]
    arrays = [pa.array(column, kind) for column, kind in zip(columns, kinds, strict=True)]
    return pa.table(arrays, schema=schema.arrow)


def _labels(values: Sequence[LabelValue | None], spec: ModelSpec) -> pa.Array:
    return pa.array(values, pa.string() if spec.task.is_classification else pa.float64())


def _values(record: dict[str, Any], features: tuple[Feature, ...], allowed: set[str]) -> list[Any]:
    if not features:
        refuse("has no feature: expected fields beside id, time and label; " + _LABELS_GO)
    if not record.keys() <= allowed:
        _refuse_fields(record.keys() - allowed)
    return [value_of(record, feature) for feature in features]


def _refuse_fields(unknown: set[str]) -> NoReturn:
    if any(name.startswith(_OWN) for name in unknown):
        refuse(f"names of fields that begin with {_OWN!r} are retuned's own")
    reason = (
        f"unknown field {', '.join(sorted(repr(name) for name in unknown))}: "
        "the model's features were fixed by its first rows"
    )
    refuse(f"{reason}; {_LABELS_GO}" if _LABEL in unknown else reason)


def _claim(spec: ModelSpec, schema: Schema) -> str:
    """Why no row can be taken: the model file claims a feature for something else."""
    claims = {"ID": spec.id, "TARGET": spec.target, "TIME": spec.time}
    for key, name in claims.items():
        if name in schema.names:
            return (
                f"{key}={name} in {spec.name}.env names a feature that this model's rows have had "
                f"from the first: take {key} back, or give the new task a model file of another "
                "name"
            )
    return ""
