"""From pieces of a payload to valid rows and labels, with a reason for each one refused.

Whole columns are read at once. Only records with something odd in them are looked at one by one,
and that look decides: both ways take the same records, with the same values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from retuned.ingest import columns
from retuned.ingest.changes import agreed, claim_of, types_changed
from retuned.ingest.fields import id_of, label_value, refuse
from retuned.ingest.formats import pieces
from retuned.ingest.infer import LABEL
from retuned.ingest.media import JSON, NDJSON, BadPayload, UnsupportedContent
from retuned.ingest.piece import NOTHING
from retuned.ingest.record import RecordReader
from retuned.ingest.sorting import Sorted, admitted, filtered, in_order
from retuned.ingest.terms import Terms
from retuned.ingest.text_labels import TextLabels
from retuned.rows.batch import LabelBatch, Rejected, RowBatch
from retuned_pipelines.schema import OWN
from retuned_pipelines.spec import Reaction

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from retuned.ingest.columns import Doubt
    from retuned.ingest.media import Payload
    from retuned.ingest.piece import Piece
    from retuned.ingest.terms import Change
    from retuned_pipelines.schema import Kind, Schema
    from retuned_pipelines.spec import ModelSpec

__all__ = [
    "JSON",
    "NDJSON",
    "BadPayload",
    "ParsedLabels",
    "ParsedRows",
    "UnsupportedContent",
    "parse_labels",
    "parse_rows",
    "read_labels",
    "read_rows",
]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ParsedRows:
    """The valid rows of a piece, their schema, what was refused, and how columns changed."""

    batch: RowBatch
    schema: Schema
    rejected: tuple[Rejected, ...]
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ParsedLabels:
    """The valid labels of a piece, and what was refused.

    Attributes:
        batch: the labels (n).
        indices: the position of each of them in the whole payload, int64 (n).
        rejected: the others.
    """

    batch: LabelBatch
    indices: NDArray[np.int64]
    rejected: tuple[Rejected, ...]


def read_rows(piece: Piece, terms: Terms, classes: Sequence[str] = ()) -> ParsedRows:
    """Read a piece of rows.

    A row is a record with the model's id field, its time field where it has one, features,
    and the label where it is already known. Without a schema, one is inferred.

    Args:
        piece: the records.
        terms: what they are read by.
        classes: the first classes among the labels, as `RowLog.classes` remembers them.
    """
    schema, changes = agreed(piece, terms)
    claim = claim_of(terms, schema, changes)
    changed: dict[str, Kind] = {}
    while True:
        found = _rows(piece, terms, schema, classes, claim)
        changed |= found.changed
        grown = schema.grown(found.changed) if terms.changed is Reaction.ADOPT else schema
        if grown == schema:
            break
        schema = grown
    return ParsedRows(
        batch=found.batch,
        schema=schema,
        rejected=in_order([*piece.broken, *found.rejected]),
        changes=(*changes, *types_changed(changed, terms, schema)),
    )


def read_labels(piece: Piece, spec: ModelSpec, classes: Sequence[str] = ()) -> ParsedLabels:
    """Read a piece of labels: records with the id field, and ``label`` or the target field.

    Args:
        piece: the records.
        spec: names of the fields.
        classes: the first classes among the labels, as `RowLog.classes` remembers them.
    """
    fields = [name for name in dict.fromkeys([LABEL, spec.target]) if name in piece.names]
    given, raw_ids = piece.columns([fields[0] if fields else LABEL, spec.id])
    text = TextLabels.like(given, classes, spec.task) if piece.is_text else None
    ids, doubt = columns.ids(raw_ids)
    values, more = columns.labels(given, spec, text)
    doubt = columns.either(doubt, more, ~columns.filled(values))
    if len(fields) > 1:
        doubt = np.ones(len(piece), dtype=bool)

    def read(record: dict[str, Any]) -> tuple[Any, ...]:
        name = id_of(record, spec)
        found = record.get(LABEL, record.get(spec.target))
        if found is None:
            refuse(f"has no label: expected field 'label' or {spec.target!r}")
        return name, label_value(found if text is None else text.read(found), spec)

    sorted_out = Sorted.of(piece, doubt, read, spec)
    kept_ids, kept = sorted_out.together([ids, values])
    mask, refused = admitted(kept, sorted_out.places, piece, spec, classes)
    indices = pa.array(piece.indices[sorted_out.places])
    kept_ids, kept, indices = filtered([kept_ids, kept, indices], mask)
    batch = LabelBatch(ids=kept_ids, values=kept)
    rejected = in_order([*piece.broken, *sorted_out.rejected, *refused])
    return ParsedLabels(batch=batch, indices=indices.to_numpy(), rejected=rejected)


def parse_rows(  # noqa: PLR0913 (a request, and what is known of the model)
    payload: Payload,
    content_type: str,
    spec: ModelSpec,
    schema: Schema | None,
    now_us: int,
    *,
    classes: Sequence[str] = (),
) -> ParsedRows:
    """Read the rows of a payload of one piece, of whatever time.

    Args:
        payload: the bytes, or a file.
        content_type: their media type.
        spec: names of the fields.
        schema: the features, where they are known.
        now_us: the time of rows without one, microseconds since the epoch.
        classes: the first classes among the labels, as `RowLog.classes` remembers them.

    Raises:
        BadPayload: it cannot be read at all.
        UnsupportedContent: it is of a type that is not read here.
        ValueError: it is of more than one piece.
    """
    terms = Terms.of(spec, schema, now_us)
    return read_rows(_only(pieces(payload, content_type, "rows")), terms, classes)


def parse_labels(
    payload: Payload, content_type: str, spec: ModelSpec, *, classes: Sequence[str] = ()
) -> ParsedLabels:
    """Read the labels of a payload of one piece; raises as `parse_rows` does."""
    return read_labels(_only(pieces(payload, content_type, "labels")), spec, classes)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Rows:
    batch: RowBatch
    rejected: list[Rejected]
    changed: dict[str, Kind]


def _rows(piece: Piece, terms: Terms, schema: Schema, classes: Sequence[str], claim: str) -> _Rows:
    spec, names = terms.spec, schema.names
    raw_ids, labels, *features = piece.columns([spec.id, spec.target, *names])
    text = TextLabels.like(labels, classes, spec.task) if piece.is_text else None
    reader = RecordReader(terms, schema, text=text, claim=claim)
    ids, doubt = columns.ids(raw_ids)
    times, late = _times(piece, terms)
    read = [
        columns.feature(values, feature.kind, is_text=piece.is_text)
        for values, feature in zip(features, schema.features, strict=True)
    ]
    targets, wrong = columns.labels(labels, spec, text)
    unknown = _unknown(piece, terms, schema)
    doubt = columns.either(doubt, late, wrong, unknown, *(more for _, more in read))
    if claim or not schema.features:
        doubt = np.ones(len(piece), dtype=bool)

    def look(record: dict[str, Any]) -> tuple[Any, ...]:
        name, time, values, label = reader.read(record)
        return name, time, label, *values

    sorted_out = Sorted.of(piece, doubt, look, spec)
    arrays = [ids, pa.array(times), targets, *(array for array, _ in read)]
    right = sorted_out.together(arrays)
    mask, refused = admitted(right[2], sorted_out.places, piece, spec, classes)
    ids, moments, targets, *values = filtered(right, mask)
    batch = RowBatch(
        ids=ids,
        time=moments.to_numpy(),
        is_timed=bool(spec.time),
        features=pa.table(values, schema=schema.arrow),
        labels=targets,
    )
    return _Rows(
        batch=batch, rejected=[*sorted_out.rejected, *refused], changed=dict(reader.changed)
    )


def _times(piece: Piece, terms: Terms) -> tuple[NDArray[np.int64], Doubt]:
    if not terms.spec.time:
        return np.full(len(piece), terms.now_us, dtype=np.int64), None
    [values] = piece.columns([terms.spec.time])
    times, doubt = columns.times(values, is_text=piece.is_text)
    outside = (times < terms.span.first_us) | (times > terms.span.last_us)
    return times, columns.either(doubt, outside)


def _unknown(piece: Piece, terms: Terms, schema: Schema) -> Doubt:
    """Where there is something in fields that nobody knows."""
    spec = terms.spec
    allowed = {*schema.names, spec.id, spec.target, spec.time or spec.id}
    is_ignored = terms.appeared is Reaction.IGNORE
    names = [
        name
        for name in piece.names
        if name not in allowed and not (is_ignored and name != LABEL and not name.startswith(OWN))
    ]
    return columns.either(*(columns.filled(values) for values in piece.columns(names)))


def _only(found: Iterable[Piece]) -> Piece:
    several = list(found)
    if len(several) > 1:
        message = "the payload is of more than one piece"
        raise ValueError(message)
    return several[0] if several else NOTHING
