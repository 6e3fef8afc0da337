"""Whole columns and single records: two ways to read the same, which have to agree."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.csv
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retuned.ingest.changes import agreed
from retuned.ingest.fields import Refusal
from retuned.ingest.formats import pieces
from retuned.ingest.media import CSV
from retuned.ingest.parse import ParsedRows, read_labels, read_rows
from retuned.ingest.piece import Piece, RecordPiece, TablePiece
from retuned.ingest.record import RecordReader
from retuned.ingest.terms import Span, Terms
from retuned.ingest.text_labels import TextLabels
from retuned.rows.classes import objections
from retuned_pipelines.schema import Feature, Kind, Schema, Task
from retuned_pipelines.spec import ModelSpec, Reaction, SchemaPolicy

SPEC = ModelSpec(name="demo", task=Task.REGRESSION, target="y", metric="r2", time="t")
SPECS = [SPEC, replace(SPEC, task=Task.BINARY), replace(SPEC, task=Task.MULTICLASS, time="")]
SCHEMA = Schema(
    (
        Feature("n", Kind.NUMBER),
        Feature("i", Kind.INTEGER),
        Feature("b", Kind.BOOLEAN),
        Feature("c", Kind.CATEGORY),
        Feature("m", Kind.TIMESTAMP),
    )
)
NOW = 1_700_000_000_000_000

MOMENTS = st.datetimes(
    min_value=datetime(1, 1, 2),  # noqa: DTZ001 (as Hypothesis wants it)
    max_value=datetime(9999, 12, 30),  # noqa: DTZ001
    timezones=st.just(UTC),
)
TEXTS = st.one_of(
    st.text(max_size=4),
    MOMENTS.map(datetime.isoformat),
    MOMENTS.map(lambda moment: f"{moment:%Y-%m-%d}".zfill(10)),
    st.sampled_from(
        ["1", "-2", "+3", "1.5", "1e5", ".5", "1e999", "nan", "inf", " 7 ", "0x10", "1_0", "true"]
    ),
    st.sampled_from(
        ["False", "TRUE", "2026-13-01", "2026-02-30T00:00Z", "20260131", "2026-01-31 10:00+0200"]
    ),
    st.sampled_from(["2026-01-31T10:00:00.123456789Z", "2026-01-31T10:00:60", "9" * 400, "00"]),
)
NUMBERS = st.one_of(
    st.integers(-(2**70), 2**70),
    st.integers(-3, 3),
    st.sampled_from([2**53, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), 0, 1]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0.0, 1.0, 2.0, 1e37, 1.1e37, 2.0**53, 1e18, 1.7e9, 2.6e11]),
)
ANYTHING = st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS, st.just([1]), st.just({"a": 1}))
FITTING = {
    "n": st.one_of(st.none(), st.floats(-1e9, 1e9), st.integers(-9, 9)),
    "i": st.one_of(st.none(), st.integers(-9, 9)),
    "b": st.one_of(st.none(), st.booleans()),
    "c": st.one_of(st.none(), st.text(max_size=3)),
    "m": st.one_of(st.none(), MOMENTS.map(datetime.isoformat)),
}
FIELDS = {
    "id": st.one_of(st.text(min_size=1, max_size=3), st.integers(0, 99), ANYTHING),
    "t": st.one_of(MOMENTS.map(datetime.isoformat), st.integers(0, 2_000_000_000), ANYTHING),
    "y": st.one_of(st.none(), st.integers(0, 2), st.sampled_from(["a", "b"]), ANYTHING),
    **{name: st.one_of(fitting, ANYTHING) for name, fitting in FITTING.items()},
}
RECORDS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={**FIELDS, "new": ANYTHING, "label": ANYTHING, "__own": ANYTHING},
    ),
    max_size=6,
)
TERMS = st.builds(
    Terms,
    spec=st.sampled_from(SPECS),
    schema=st.one_of(st.none(), st.just(SCHEMA)),
    appeared=st.sampled_from(Reaction),
    vanished=st.just(Reaction.IGNORE),
    changed=st.sampled_from(Reaction),
    now_us=st.just(NOW),
    span=st.sampled_from([Span(), Span(first_us=0, last_us=NOW)]),
)


def records(rows: list[dict[str, Any]]) -> RecordPiece:
    return RecordPiece(rows=rows, indices=np.arange(len(rows)))


def one_by_one(
    piece: Piece, terms: Terms, schema: Schema
) -> tuple[list[tuple[Any, ...]], set[int], dict[str, Kind]]:
    """What single looks take, the positions of what they refuse, and the kinds that changed."""
    spec = terms.spec
    [labels] = piece.columns([spec.target])
    text = TextLabels.like(labels, (), spec.task) if piece.is_text else None
    reader = RecordReader(terms, schema, text=text, claim="")
    taken, refused = [], set()
    for place, record in enumerate(piece.records(range(len(piece)))):
        try:
            taken.append((place, reader.read(record)))
        except Refusal:
            refused.add(place)
    kind = pa.string() if spec.task.is_classification else pa.float64()
    no = objections(pa.array([row[3] for _, row in taken], kind), (), spec.task)
    refused |= {place for place, row in taken if row[3] in no}
    return [row for _, row in taken if row[3] not in no], refused, reader.changed


def rows_of(parsed: ParsedRows) -> list[tuple[Any, ...]]:
    batch = parsed.batch
    moments = [pa.types.is_timestamp(column.type) for column in batch.features.columns]
    columns = [
        (column.cast(pa.int64()) if is_moment else column).to_pylist()
        for column, is_moment in zip(batch.features.columns, moments, strict=True)
    ]
    values = [list(row) for row in zip(*columns, strict=True)] or [[] for _ in range(len(batch))]
    ids, labels = batch.ids.to_pylist(), batch.labels.to_pylist()
    return list(zip(ids, batch.time.tolist(), values, labels, strict=True))


def agree(piece: Piece, terms: Terms) -> None:
    parsed = read_rows(piece, terms)
    taken, refused, changed = one_by_one(piece, terms, parsed.schema)
    # As text, since 1, 1.0 and true are equal to Python.
    assert repr(rows_of(parsed)) == repr(taken)
    assert {item.index for item in parsed.rejected} == refused
    if terms.changed is Reaction.ADOPT:
        assert parsed.schema.grown(changed) == parsed.schema
    else:
        assert parsed.schema == agreed(piece, terms)[0]


@settings(max_examples=600)
@given(RECORDS, TERMS)
def test_columns_of_json_take_what_single_records_take(
    rows: list[dict[str, Any]], terms: Terms
) -> None:
    agree(records(rows), terms)


def test_a_number_beyond_64_bits_becomes_the_text_of_a_category() -> None:
    terms = Terms.of(replace(SPEC, time="", schema=SchemaPolicy(changed=Reaction.ADOPT)), None, NOW)
    agree(
        records([{"id": "0", "b": 2**63}, {"id": "1", "b": ""}, {"id": "2", "b": 10**400}]), terms
    )


COLUMNS = st.sampled_from(
    [
        (pa.float64(), st.floats()),
        (pa.float32(), st.floats(width=32)),
        (pa.float16(), st.sampled_from([np.float16(1.5), np.float16("nan")])),
        (pa.int8(), st.integers(-128, 127)),
        (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
        (pa.uint64(), st.integers(0, 2**64 - 1)),
        (pa.bool_(), st.booleans()),
        (pa.string(), TEXTS),
        (pa.large_string(), TEXTS),
        (pa.dictionary(pa.int8(), pa.string()), st.sampled_from(["a", "b", "2026-01-31"])),
        (pa.decimal128(10, 2), st.decimals(-99, 99, places=2)),
        (pa.timestamp("us", "UTC"), st.integers(-(2**63), 2**63 - 1)),
        (pa.timestamp("us"), MOMENTS.map(lambda moment: moment.replace(tzinfo=None))),
        (pa.timestamp("s"), st.integers(-(10**13), 10**13)),
        (pa.timestamp("ns"), st.integers(-(2**62), 2**62)),
        (pa.date32(), st.integers(-(10**6), 10**7)),
        (pa.list_(pa.int8()), st.lists(st.integers(0, 3), max_size=2)),
        (pa.binary(), st.binary(max_size=3)),
        (pa.null(), st.none()),
    ]
)


@st.composite
def tables(draw: st.DrawFn) -> TablePiece:
    rows = draw(st.integers(0, 5))
    names = draw(st.lists(st.sampled_from([*FIELDS, "new", "label"]), unique=True))
    columns = []
    for _ in names:
        kind, values = draw(COLUMNS)
        given = draw(st.lists(st.one_of(st.none(), values), min_size=rows, max_size=rows))
        columns.append(pa.array(given, kind))
    if not names:
        return TablePiece.plain(pa.table({"id": pa.nulls(rows, pa.string())}), 0)
    return TablePiece.plain(pa.table(columns, names=names), 0)


@settings(max_examples=600)
@given(tables(), TERMS)
def test_columns_of_arrow_take_what_single_records_take(piece: TablePiece, terms: Terms) -> None:
    agree(piece, terms)


@settings(max_examples=400)
@given(
    st.lists(st.fixed_dictionaries({name: st.one_of(st.just(""), TEXTS) for name in FIELDS})),
    TERMS,
)
def test_columns_of_csv_take_what_single_records_take(
    rows: list[dict[str, str]], terms: Terms
) -> None:
    table = pa.table({name: pa.array([row[name] for row in rows], pa.string()) for name in FIELDS})
    body = io.BytesIO()
    pyarrow.csv.write_csv(table, body)
    for piece in pieces(body.getvalue(), CSV, "rows"):
        agree(piece, terms)


@settings(max_examples=300)
@given(
    st.lists(
        st.fixed_dictionaries(
            {}, optional={"id": FIELDS["id"], "label": FIELDS["y"], "y": FIELDS["y"]}
        ),
        max_size=6,
    ),
    st.sampled_from(SPECS),
)
def test_labels_together_are_read_like_labels_alone(
    rows: list[dict[str, Any]], spec: ModelSpec
) -> None:
    together = read_labels(records(rows), spec)
    classes: tuple[str, ...] = ()
    ids, values, refused = [], [], []
    for place, row in enumerate(rows):
        alone = read_labels(records([row]), spec, classes)
        if alone.rejected:
            refused.append((place, alone.rejected[0].reason))
            continue
        ids += alone.batch.ids.to_pylist()
        values += alone.batch.values.to_pylist()
        found = [value for value in dict.fromkeys(values) if isinstance(value, str)]
        classes = tuple(found[: 2 if spec.task is Task.BINARY else 1])
    assert together.batch.ids.to_pylist() == ids
    assert repr(together.batch.values.to_pylist()) == repr(values)
    assert [(item.index, item.reason) for item in together.rejected] == refused


def test_what_was_refused_can_be_sent_again_after_a_mend() -> None:
    moment = datetime(2026, 1, 31, tzinfo=UTC)
    row = {"id": "a", "t": 1, "n": "x", "m": moment, "i": 2**70}
    table = pa.table({"id": ["b"], "t": [1], "n": [float("nan")], "m": [moment]})
    terms = Terms.of(SPEC, SCHEMA, NOW)
    for piece in (records([row]), TablePiece.plain(table, 0)):
        (refused,) = read_rows(piece, terms).rejected
        kept = json.loads(refused.record)
        assert kept["m"] == "2026-01-31T00:00:00+00:00"
        assert kept["n"] in {"x", "nan"}
        kept["n"], kept["i"] = 1.0, 7
        mended = read_rows(records([orjson.loads(orjson.dumps(kept))]), terms)
        assert mended.rejected == ()


@pytest.mark.parametrize("given", [7, 7.0, "7"])
def test_an_id_is_the_same_as_a_number_and_as_text(given: Any) -> None:
    piece = records([{"id": given, "t": 1, "n": 1.0}])
    assert read_rows(piece, Terms.of(SPEC, SCHEMA, NOW)).batch.ids.to_pylist() == ["7"]
