"""What no producer should send, and some do: it is told, and never an unexpected error."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pyarrow as pa
import pytest

from retuned.ingest.changes import MOST_FEATURES
from retuned.ingest.formats import pieces
from retuned.ingest.intake import Cargo
from retuned.ingest.media import ARROW_STREAM, CSV, JSON, BadPayload
from retuned.ingest.parse import parse_rows, read_rows
from retuned.ingest.piece import TablePiece
from retuned.ingest.terms import Span, Terms
from retuned_pipelines.schema import Feature, Kind, Schema, Task
from retuned_pipelines.spec import ModelSpec, Reaction

SPEC = ModelSpec(name="demo", task=Task.REGRESSION, target="y", metric="r2", time="t")


def stream(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def test_lines_that_end_in_a_carriage_return_alone_are_told() -> None:
    with pytest.raises(BadPayload, match="carriage return"):
        parse_rows(b"id,t,x\ra,1,2\rb,2,3\r", CSV, SPEC, None, 0)


@pytest.mark.parametrize("body", [b"id,t,x", b"id,t,x\n", b"id,t,x\r\n"])
def test_a_header_alone_is_no_row(body: bytes) -> None:
    parsed = parse_rows(body, CSV, SPEC, None, 0)
    assert (len(parsed.batch), parsed.rejected) == (0, ())


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
def test_a_moment_beyond_the_calendar_in_utc_is_refused(moment: str) -> None:
    body = f'[{{"id": "a", "t": "{moment}", "x": 1}}]'.encode()
    (refused,) = parse_rows(body, JSON, SPEC, None, 0).rejected
    assert "'t' (the row's time)" in refused.reason


def test_run_ends_and_views_are_read_as_what_they_hold() -> None:
    names = pa.RunEndEncodedArray.from_arrays([1, 2], ["a", "b"])
    table = pa.table({"id": names, "t": [1, 2], "x": pa.array([b"1", b"2"], pa.binary_view())})
    parsed = parse_rows(stream(table), ARROW_STREAM, SPEC, None, 0)
    assert [item.id for item in parsed.rejected] == ["a", "b"]
    terms = Terms.of(SPEC, None, 0, Span())
    plain = TablePiece.plain(table.set_column(2, "x", pa.array([1.0, 2.0])), 0)
    assert read_rows(plain, terms).batch.ids.to_pylist() == ["a", "b"]


def test_what_is_expected_is_named_in_plain_words() -> None:

    with pytest.raises(BadPayload, match="an object with 'rows'"):
        list(pieces(b'{"rows": 1}', JSON, Cargo.ROWS))


def test_values_that_are_used_as_names_of_fields_do_not_become_features() -> None:
    wide = {"id": "a", "t": 1, **{f"user {n}": 1 for n in range(MOST_FEATURES + 1)}}
    first = parse_rows(orjson.dumps([wide]), JSON, SPEC, None, 0)
    (refused,) = first.rejected
    assert "are values used as names of fields?" in refused.reason
    known = Schema((Feature("x", Kind.NUMBER),))
    terms = replace(Terms.of(SPEC, known, 0), appeared=Reaction.ADOPT)
    (piece,) = pieces(orjson.dumps([wide, {"id": "b", "t": 1, "x": 1.0}]), JSON, Cargo.ROWS)
    parsed = read_rows(piece, terms)
    assert (parsed.batch.ids.to_pylist(), parsed.schema) == (["b"], known)
    (refused,) = parsed.rejected
    assert "and 1991 more" in refused.reason
