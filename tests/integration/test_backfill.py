"""`retuned ingest` as a user runs it, against the real HTTP server."""

from __future__ import annotations

import gzip
import socket
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow.csv import write_csv
from tests.integration.door import Door, world

from retuned.cli import FAILED, OK, UNREACHABLE, main


def ingest(door: Door, path: Path, *more: str) -> int:
    return main(["ingest", str(path), "--model", "bikes", "--url", door.url, *more])


def write(path: Path, records: list[dict[str, object]]) -> Path:
    path.write_bytes(b"".join(orjson.dumps(record) + b"\n" for record in records))
    return path


def test_rows_and_labels_of_files_are_taken(
    fresh: Door, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, labels = world(0, 120)
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    write(tmp_path / "labels.ndjson", labels)
    assert ingest(fresh, tmp_path / "rows.parquet", "--batch-rows", "50") == OK
    assert ingest(fresh, tmp_path / "labels.ndjson", "--labels") == OK
    counts = fresh.house.log.counts()
    assert (counts.rows, counts.labelled) == (120, 120)
    told = capsys.readouterr()
    all_of_it = "120 accepted, 0 duplicates, 0 revised, 0 rejected."
    assert told.out.splitlines() == [
        f"bikes: 120 rows sent from rows.parquet: {all_of_it}",
        f"bikes: 120 labels sent from labels.ndjson: {all_of_it}",
    ]
    assert not list(tmp_path.glob("*.retuned-progress.json"))


@pytest.mark.parametrize("name", ["rows.csv", "rows.csv.gz", "rows.arrow", "rows.arrows"])
def test_a_file_of_any_format_says_the_same(fresh: Door, tmp_path: Path, name: str) -> None:
    rows, _ = world(0, 60)
    assert ingest(fresh, write(tmp_path / "rows.ndjson", rows)) == OK
    path, table = tmp_path / name, pa.Table.from_pylist(rows)
    if name == "rows.arrow":
        with pa.ipc.new_file(path, table.schema) as sink:
            sink.write_table(table)
    elif name == "rows.arrows":
        with pa.ipc.new_stream(path, table.schema) as sink:
            sink.write_table(table)
    else:
        write_csv(table, path)
        if name.endswith(".gz"):
            path.write_bytes(gzip.compress(path.read_bytes()))
    assert ingest(fresh, path, "--batch-rows", "25") == OK
    assert fresh.house.log.counts().last_seq == 60, "all of it is a repetition"


def test_what_is_rejected_is_told_with_its_place_in_the_file(
    fresh: Door, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, _ = world(0, 60)
    rows[37] = {**rows[37], "side": 3}
    path = write(tmp_path / "rows.ndjson", rows)
    with path.open("ab") as file:
        file.write(b"{broken\n")
    assert ingest(fresh, path, "--batch-rows", "10") == FAILED
    assert fresh.house.log.counts().rows == 59
    summary, first, second = capsys.readouterr().out.splitlines()
    assert summary.endswith("59 accepted, 0 duplicates, 0 revised, 2 rejected.")
    assert first.startswith("  record 38 (id 37): ")
    assert second.startswith("  record 61: ")


def test_after_an_interruption_it_goes_on_where_it_was(
    fresh: Door,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows, _ = world(0, 100)
    path = write(tmp_path / "rows.ndjson", rows)
    with monkeypatch.context() as patched:
        # As Ctrl-C would, in the middle of the third piece.
        patched.setattr("retuned.backfill.bookmark.Bookmark.save", interrupted_after(2))
        assert ingest(fresh, path, "--batch-rows", "10") == 130
    assert "the same command goes on from there" in capsys.readouterr().err
    assert fresh.house.log.counts().rows == 30
    assert ingest(fresh, path, "--batch-rows", "10") == OK
    told = capsys.readouterr()
    assert "Going on after 20 rows" in told.err
    assert "100 rows sent" in told.out
    assert "90 accepted, 10 duplicates" in told.out
    assert fresh.house.log.counts().rows == 100


def test_when_told_so_it_begins_again(
    fresh: Door, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, _ = world(0, 30)
    path = write(tmp_path / "rows.ndjson", rows)
    for more in ((), ("--restart",)):
        assert ingest(fresh, path, *more) == OK
    assert "0 accepted, 30 duplicates" in capsys.readouterr().out


def test_a_model_that_is_not_under_care_is_told_before_anything_is_sent(
    fresh: Door, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "rows.ndjson", world(0, 3)[0])
    assert main(["ingest", str(path), "--model", "trains", "--url", fresh.url]) == FAILED
    assert "trains" in capsys.readouterr().err
    assert list(tmp_path.glob("*.json")) == []


@pytest.mark.parametrize("name", ["nowhere.ndjson", "."])
def test_a_file_that_is_not_there_is_told(
    fresh: Door, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ingest(fresh, tmp_path / name) == FAILED
    assert "cannot be read" in capsys.readouterr().err


def test_where_no_daemon_answers_it_is_3(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.ndjson", world(0, 3)[0])
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert main(["ingest", str(path), "--model", "bikes", "--url", nobody]) == UNREACHABLE


def interrupted_after(times: int) -> object:
    """`Bookmark.save`, with an interruption in its stead at some point."""
    from retuned.backfill.bookmark import Bookmark  # noqa: PLC0415 (as it is before the patch)

    save, count = Bookmark.save, iter(range(times + 1))

    def interrupted(self: Bookmark, *given: object) -> None:
        if next(count) == times:
            raise KeyboardInterrupt
        save(self, *given)  # type: ignore[arg-type]

    return interrupted
