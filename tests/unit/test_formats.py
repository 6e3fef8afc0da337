"""Formats: the same rows in any of them are the same rows, and what is broken is told."""

from __future__ import annotations

import gzip
import io
import os
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retuned.errors import PermanentError
from retuned.ingest.body import Room, TooLarge, plain
from retuned.ingest.formats import pieces
from retuned.ingest.media import (
    ARROW_FILE,
    ARROW_STREAM,
    AT_ONCE,
    CSV,
    JSON,
    LONGEST,
    NDJSON,
    PARQUET,
    BadPayload,
    UnsupportedContent,
)
from retuned.ingest.parse import parse_labels, parse_rows
from retuned.ingest.piece import Piece
from retuned_pipelines.schema import Kind, Task
from retuned_pipelines.spec import ModelSpec

SPEC = ModelSpec(name="demo", task=Task.BINARY, target="y", metric="roc_auc", time="t")
ROWS = [
    {"id": "a", "t": "2026-01-31T10:00:00Z", "n": 1.5, "b": True, "c": "red", "y": 0},
    {"id": "b", "t": "2026-01-31T11:00:00Z", "n": 2, "b": False, "c": None, "y": 1},
    {"id": "c,\"'", "t": "2026-01-31T12:00:00+01:00", "n": None, "b": None, "c": "ü\n", "y": None},
]
MANY = 25_000
FORMATS = [JSON, NDJSON, CSV, ARROW_STREAM, ARROW_FILE, PARQUET]


def written(rows: list[dict[str, Any]], kind: str) -> bytes:
    """Rows as that format has them."""
    if kind == JSON:
        return orjson.dumps(rows)
    if kind == NDJSON:
        return b"".join(orjson.dumps(row) + b"\n" for row in rows)
    return written_table(pa.Table.from_pylist(rows), kind)


def written_table(table: pa.Table, kind: str) -> bytes:
    sink = io.BytesIO()
    if kind == CSV:
        pyarrow.csv.write_csv(table, sink)
    elif kind == PARQUET:
        pyarrow.parquet.write_table(table, sink)
    else:
        make = pa.ipc.new_stream if kind == ARROW_STREAM else pa.ipc.new_file
        with make(sink, table.schema) as writer:
            writer.write_table(table)
    return sink.getvalue()


def reasons(body: bytes, kind: str) -> list[tuple[int, str]]:
    parsed = parse_rows(body, kind, SPEC, None, 0)
    return [(item.index, item.reason) for item in parsed.rejected]


@pytest.mark.parametrize("kind", FORMATS)
def test_the_same_rows_come_in_any_format(kind: str, tmp_path: Path) -> None:
    body = written(ROWS, kind)
    path = tmp_path / "rows"
    path.write_bytes(body)
    parsed = parse_rows(body, kind, SPEC, None, 0)
    from_file = parse_rows(path, kind, SPEC, None, 0)
    assert from_file.batch.features == parsed.batch.features
    assert parsed.rejected == ()
    assert parsed.schema.kinds == {"n": Kind.NUMBER, "b": Kind.BOOLEAN, "c": Kind.CATEGORY}
    assert parsed.batch.ids.to_pylist() == [row["id"] for row in ROWS]
    assert parsed.batch.features.to_pylist() == [
        {"n": 1.5, "b": True, "c": "red"},
        {"n": 2.0, "b": False, "c": None},
        {"n": None, "b": None, "c": "ü\n"},
    ]
    assert (parsed.batch.time // 3_600_000_000).tolist() == [491_626, 491_627, 491_627]
    assert parsed.batch.labels.to_pylist() == ["0", "1", None]


@pytest.mark.parametrize("kind", FORMATS)
def test_the_same_labels_come_in_any_format(kind: str) -> None:
    rows = [{"id": "a", "label": 0}, {"id": "b", "label": 1}, {"id": "c", "label": None}]
    parsed = parse_labels(written(rows, kind), kind, SPEC)
    assert parsed.batch.ids.to_pylist() == ["a", "b"]
    assert parsed.batch.values.to_pylist() == ["0", "1"]
    assert "has no label" in parsed.rejected[0].reason


@pytest.mark.parametrize("kind", [NDJSON, CSV, ARROW_STREAM, ARROW_FILE, PARQUET])
def test_much_is_read_in_pieces_and_each_record_keeps_its_place(kind: str, tmp_path: Path) -> None:
    body = written([{"id": f"r{n}", "x": n} for n in range(MANY)], kind)
    path = tmp_path / "rows"
    path.write_bytes(body)
    for payload in (body, path):
        found = list(pieces(payload, kind, "rows"))
        assert max(len(piece) for piece in found) <= AT_ONCE
        places = [place for piece in found for place in piece.indices.tolist()]
        assert places == list(range(MANY))
        assert found[-1].records([len(found[-1]) - 1])[0]["id"] == f"r{MANY - 1}"


def test_small_batches_of_a_stream_are_read_together() -> None:
    sink, batch = io.BytesIO(), pa.RecordBatch.from_pylist([{"id": "a", "c": "x"}])
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        for _ in range(100):
            writer.write_batch(batch)
    assert [len(piece) for piece in pieces(sink.getvalue(), ARROW_STREAM, "rows")] == [100]


@pytest.mark.parametrize("kind", FORMATS)
def test_where_there_is_nothing_there_are_no_records(kind: str) -> None:
    empty = pa.table({"id": pa.array([], pa.string())})
    body = {JSON: b"[]", NDJSON: b"\n \n", CSV: b"id,x\n"}.get(kind) or written_table(empty, kind)
    assert sum(len(piece) for piece in pieces(body, kind, "rows")) == 0
    assert list(pieces(b"", CSV, "rows")) == []


def test_lines_that_are_no_records_are_refused_and_the_others_are_taken() -> None:
    body = (
        b'{"id": "a", "t": 1, "n": 1}\n\n{"id": \n3\r\n'
        b'{"id": "b", "t": 1, "n": NaN}\n\xff\n{"id": "c", "t": 2, "n": 2}'
    )
    parsed = parse_rows(body, NDJSON, SPEC, None, 0)
    assert parsed.batch.ids.to_pylist() == ["a", "c"]
    told = [(item.index, item.reason[:23], item.record) for item in parsed.rejected]
    assert told == [
        (1, "line 3: not valid JSON:", '"{\\"id\\":"'),
        (2, "item 2 is 3, not an obj", '"3"'),
        (3, "line 5: not valid JSON:", '"{\\"id\\": \\"b\\", \\"t\\": 1, \\"n\\": NaN}"'),
        (4, "line 6: not valid JSON:", '"\ufffd"'),
    ]


def test_lines_of_csv_with_too_few_or_too_many_fields_are_refused() -> None:
    body = b'\xef\xbb\xbfid,t,n\na,1,1\nb,2\n\n"c,\nd",3,3\ne,4,4,4\nf,5,5\n1,2,3,4\n'
    parsed = parse_rows(body, CSV, SPEC, None, 0)
    assert parsed.batch.ids.to_pylist() == ["a", "c,\nd", "f"]
    assert [(item.index, item.reason) for item in parsed.rejected] == [
        (1, "has 2 fields, and the header has 3"),
        (3, "has 4 fields, and the header has 3"),
        (5, "has 4 fields, and the header has 3"),
    ]
    assert parsed.rejected[0].record == '"b,2"'


def test_many_wrong_lines_of_csv_keep_their_places() -> None:
    lines = [f"r{n}" if n % 3 == 0 else f"r{n},{n},{n}" for n in range(MANY)]
    body = "\n".join(["id,t,n", *lines]).encode()
    refused, taken = [], 0
    for piece in pieces(body, CSV, "rows"):
        refused += [item.index for item in piece.broken]
        ids = [record["id"] for record in piece.records(range(len(piece)))]
        assert ids == [f"r{place}" for place in piece.indices.tolist()]
        taken += len(piece)
    assert refused == list(range(0, MANY, 3))
    assert taken + len(refused) == MANY


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (["1", "2.5", "-3e2", ""], Kind.NUMBER),
        (["true", "False", ""], Kind.BOOLEAN),
        (["true", "1"], Kind.NUMBER),
        (["2026-01-31", "2026-01-31 10:00"], Kind.TIMESTAMP),
        (["2026-01-31", "soon"], Kind.CATEGORY),
        (["20260131"], Kind.NUMBER),
        (["1", "a"], Kind.CATEGORY),
        (["007a"], Kind.CATEGORY),
        (["1"] * 9 + ["n/a"], Kind.NUMBER),
    ],
)
def test_a_column_of_csv_is_what_all_its_values_are(column: list[str], kind: Kind) -> None:
    body = "id,t,x\n" + "".join(f"{n},1,{text}\n" for n, text in enumerate(column))
    assert parse_rows(body.encode(), CSV, SPEC, None, 0).schema.kinds == {"x": kind}


@pytest.mark.parametrize(
    ("given", "classes", "kept"),
    [
        (["1", "0"], [], ["1", "0"]),
        (["true", "FALSE"], [], ["true", "false"]),
        (["1", "a"], [], ['"1"', '"a"']),
        (["1", "0"], ['"1"'], ['"1"', '"0"']),
        (["1.0", "0"], ["1"], ["1", "0"]),
        (["spam"], ["1"], []),
    ],
)
def test_a_label_of_csv_is_of_the_type_of_the_first(
    given: list[str], classes: list[str], kept: list[str]
) -> None:
    body = "id,label\n" + "".join(f"{n},{text}\n" for n, text in enumerate(given))
    parsed = parse_labels(body.encode(), CSV, SPEC, classes=classes)
    assert parsed.batch.values.to_pylist() == kept


@pytest.mark.parametrize(
    ("body", "kind", "complaint"),
    [
        (b"id,x,x\n1,2,3\n", CSV, "names 'x' more than once"),
        (b'"id\n",x\n1,2\n', CSV, "holds a line break"),
        (b"\xff,x\n1,2\n", CSV, "not UTF-8"),
        (b"id,x\n\xff,2\n", CSV, "not valid as CSV"),
        (b"id,x\n\xff,2,3\n", CSV, "not valid as CSV"),
        (b"id,x\n1,\xc3", CSV, "not valid as CSV"),
        (b"no", ARROW_STREAM, "not valid as an Arrow IPC stream"),
        (b"no", ARROW_FILE, "not valid as an Arrow IPC file"),
        (b"", ARROW_FILE, "not valid as an Arrow IPC file"),
        (b"no", PARQUET, "not valid as Parquet"),
        (b"", PARQUET, "not valid as Parquet"),
        (b"x" * (2 * LONGEST + 1), NDJSON, "line 1 is longer than"),
    ],
)
def test_what_cannot_be_read_is_told(body: bytes, kind: str, complaint: str) -> None:
    with pytest.raises(BadPayload, match=complaint):
        list(pieces(body, kind, "rows"))


@pytest.mark.parametrize("kind", [ARROW_STREAM, ARROW_FILE, PARQUET])
def test_a_column_twice_is_told(kind: str) -> None:
    table = pa.table([["a"], [1], [2]], names=["id", "x", "x"])
    with pytest.raises(BadPayload, match="more than once|not valid as Parquet"):
        list(pieces(written_table(table, kind), kind, "rows"))


@settings(max_examples=200)
@given(st.data(), st.sampled_from([CSV, ARROW_STREAM, ARROW_FILE, PARQUET]))
def test_damaged_bodies_are_refused_or_read_and_nothing_else_happens(
    data: st.DataObject, kind: str
) -> None:
    body = bytearray(written(ROWS, kind))
    for _ in range(data.draw(st.integers(1, 8))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(body)))
    try:
        parsed = parse_rows(bytes(body[:cut]), kind, SPEC, None, 0)
    except PermanentError:
        return
    assert len(parsed.batch) == len(parsed.batch.labels)


# Compressed


def unpacked(payload: bytes | Path, kind: str, encoding: str, room: Room) -> list[Piece]:
    with plain(payload, kind, encoding, room) as found:
        return list(pieces(found, kind, "rows"))


def zstd(body: bytes) -> bytes:
    return bytes(pa.compress(body, "zstd", asbytes=True))


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("pack", [gzip.compress, zstd])
def test_bodies_may_be_compressed(kind: str, pack: Any, tmp_path: Path) -> None:
    body = pack(written([{"id": n, "x": 0.5} for n in range(MANY)], kind))
    path = tmp_path / "rows"
    path.write_bytes(body)
    encoding = "gzip" if pack is gzip.compress else "zstd"
    room = Room(folder=tmp_path / "uploads")
    for payload in (body, path):
        found = unpacked(payload, kind, encoding, room)
        assert sum(len(piece) for piece in found) == MANY
    assert list((tmp_path / "uploads").iterdir()) == []


@pytest.mark.parametrize(("kind", "key"), [(JSON, "MAX_BODY_MB"), (NDJSON, "MAX_UPLOAD_MB")])
@pytest.mark.parametrize("pack", [gzip.compress, zstd])
def test_what_unpacks_to_too_much_is_refused_before_it_fills_the_memory(
    kind: str, key: str, pack: Any, tmp_path: Path
) -> None:
    room = Room(whole=2_000_000, upload=3_000_000, folder=tmp_path)
    with pytest.raises(TooLarge, match=key):
        unpacked(pack(b" " * 50_000_000), kind, "gzip" if pack is gzip.compress else "zstd", room)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
@pytest.mark.parametrize("damage", [lambda _: b"nothing", lambda body: body[:-9]])
def test_what_is_not_compressed_in_that_way_is_told(encoding: str, damage: Any) -> None:
    pack = gzip.compress if encoding == "gzip" else zstd
    with pytest.raises(BadPayload, match=f"not valid as {encoding}"):
        unpacked(damage(pack(os.urandom(5000))), NDJSON, encoding, Room())


def test_other_encodings_are_refused_with_those_that_are_read() -> None:
    with pytest.raises(UnsupportedContent, match="gzip or zstd"):
        unpacked(b"", NDJSON, "br", Room())
