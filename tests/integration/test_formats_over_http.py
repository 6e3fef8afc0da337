"""Rows and labels in any format through a real door: small, large, compressed, strict."""

from __future__ import annotations

import gzip
import io
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from tests.integration.conftest import BIKES as SPEC
from tests.integration.door import FEATURE, Door

from retuned.ingest.media import ARROW_FILE, ARROW_STREAM, CSV, NDJSON, PARQUET

BIKES = "/v1/models/bikes"


def rows(count: int, **more: Any) -> list[dict[str, Any]]:
    return [
        {"id": f"r{n}", "when": 1_700_000_000 + n, FEATURE: n / 2, "side": "a", **more}
        for n in range(count)
    ]


def table(records: list[dict[str, Any]], kind: str) -> bytes:
    sink, found = io.BytesIO(), pa.Table.from_pylist(records)
    if kind == CSV:
        pyarrow.csv.write_csv(found, sink)
    elif kind == PARQUET:
        pyarrow.parquet.write_table(found, sink)
    else:
        make = pa.ipc.new_stream if kind == ARROW_STREAM else pa.ipc.new_file
        with make(sink, found.schema) as writer:
            writer.write_table(found)
    return sink.getvalue()


@pytest.mark.parametrize("kind", [CSV, ARROW_STREAM, ARROW_FILE, PARQUET])
def test_rows_and_labels_come_in_any_format(fresh: Door, kind: str) -> None:
    found = fresh.send(f"{BIKES}/rows", table(rows(30), kind), kind).json()
    assert (found["accepted"], found["rejected"]) == (30, 0)
    labels = [{"id": f"r{n}", "label": n * 1.5} for n in range(30)]
    assert fresh.send(f"{BIKES}/labels", table(labels, kind), kind).json()["accepted"] == 30
    assert fresh.get(BIKES).json()["labelled"] == 30
    again = fresh.post(f"{BIKES}/rows", rows(30)).json()
    assert again["duplicates"] == 30


def test_a_large_body_is_taken_from_a_file_and_nothing_is_left_of_it(fresh: Door) -> None:
    body = table(rows(30_000, text="x" * 100), CSV)
    assert len(body) > 3_000_000
    assert fresh.send(f"{BIKES}/rows", body, CSV).json()["accepted"] == 30_000
    packed = gzip.compress(body)
    headers = {"content-type": CSV, "content-encoding": "gzip"}
    answer = fresh.client.post(f"{BIKES}/rows", content=packed, headers=headers)
    assert answer.json()["duplicates"] == 30_000
    assert list((fresh.house.directory / "uploads").iterdir()) == []


def test_a_body_beyond_the_limit_is_refused(fresh: Door) -> None:
    line = b'{"id": 1, "when": 1, "x": 1}\n'
    for headers, content in (
        ({}, line * 1_000_000),
        ({"content-encoding": "gzip"}, gzip.compress(line * 1_000_000)),
    ):
        answer = fresh.client.post(
            f"{BIKES}/rows", content=content, headers={"content-type": NDJSON, **headers}
        )
        assert answer.status_code == 413
        assert "RETUNED_HTTP__MAX_UPLOAD_MB" in answer.json()["detail"]
    assert fresh.get(BIKES).json()["rows"] == 0


def test_an_encoding_that_nobody_reads_is_told(fresh: Door) -> None:
    headers = {"content-type": NDJSON, "content-encoding": "br"}
    answer = fresh.client.post(f"{BIKES}/rows", content=b"x", headers=headers)
    assert answer.status_code == 415
    assert "gzip or zstd" in answer.json()["detail"]


def test_a_strict_request_takes_all_or_nothing(fresh: Door) -> None:
    fresh.post(f"{BIKES}/rows", {"id": "first", "when": 0, FEATURE: 1.0, "side": "a"})
    bad = [*rows(3), {"id": "x"}, {"id": "y", "when": 1, FEATURE: "much"}]
    answer = fresh.post(f"{BIKES}/rows?strict=1", bad)
    assert answer.status_code == 422
    found = answer.json()
    assert found["type"] == "/problems/strict-refused"
    assert [item["index"] for item in found["reasons"]] == [3, 4]
    assert (found["rejected"], found["quarantined"]) == (2, 0)
    assert fresh.get(BIKES).json()["rows"] == 1
    assert fresh.post(f"{BIKES}/rows?strict=1", rows(3)).json()["accepted"] == 3


def test_a_column_that_appears_is_an_event(fresh: Door) -> None:
    known = rows(SPEC.watch.min_rows)
    fresh.post(f"{BIKES}/rows", known)
    new = [{**row, "id": f"n{row['id']}", "wind": 3.5} for row in known[:5]]
    for _ in range(2):
        assert fresh.post(f"{BIKES}/rows", new).json()["rejected"] == 5
    while fresh.house.forwarder.forward():
        pass
    events = fresh.get(f"{BIKES}/events").json()["items"]
    (event,) = [item for item in events if item["kind"] == "schema"]
    assert event["body"] == {
        "change": "appeared",
        "column": "wind",
        "policy": "refuse",
        "was": None,
        "found": "number",
    }
    page = fresh.get("/metrics").text
    assert 'retuned_schema_changes_total{change="appeared",model="bikes"} 2.0' in page
    assert fresh.get(BIKES).json()["gone"] == []
