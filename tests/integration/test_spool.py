"""The spool on real folders and row logs: files are taken once, and told of."""

from __future__ import annotations

import gzip
import logging
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow.csv import write_csv
from tests.integration.inhouse import NEVER, InHouse, labels, ndjson, rows

from retuned.errors import PermanentError, TransientError
from retuned.ingest.intake import Parcel, Taken
from retuned.rows.log import RowLog
from retuned.runtime.clock import VirtualClock
from retuned.sources.spool import Spool

DAY_S = 86400.0


@dataclass
class Post:
    """A spool, and a producer."""

    house: InHouse
    root: Path
    keep_done_s: float = 7 * DAY_S
    is_ours: bool = True

    def __post_init__(self) -> None:
        self.clock = VirtualClock(self.house.clock.now())
        self.spool = Spool(
            self.root,
            models=lambda: self.house.models,
            is_ours=lambda _: self.is_ours,
            take=self.house.take,
            every_s=0.01,
            keep_done_s=self.keep_done_s,
            metrics=self.house.metrics,
            clock=self.clock,
        )

    def look(self) -> None:
        self.spool.look(NEVER)

    def wait(self, seconds: float) -> None:
        self.clock.move_to(self.clock.now() + seconds)

    def folder(self, cargo: str = "rows", model: str = "bikes") -> Path:
        path = self.root / model / cargo
        path.mkdir(parents=True, exist_ok=True)
        return path

    def drop(
        self, name: str, content: bytes, cargo: str = "rows", *, mtime: float | None = None
    ) -> Path:
        path = self.folder(cargo) / name
        unfinished = path.with_name(f".{name}.tmp")
        unfinished.write_bytes(content)
        if mtime is not None:
            os.utime(unfinished, (mtime, mtime))
        return unfinished.rename(path)

    def names(self, place: str, cargo: str = "rows") -> list[str]:
        return sorted(path.name for path in (self.folder(cargo) / place).iterdir())


@pytest.fixture
def post(tmp_path: Path) -> Iterator[Post]:
    house = InHouse(tmp_path)
    yield Post(house, tmp_path / "spool")
    house.rows.close()


def content(parcel: Parcel) -> bytes:
    return parcel.payload.read_bytes() if isinstance(parcel.payload, Path) else parcel.payload


def told(caplog: pytest.LogCaptureFixture, action: str) -> list[str]:
    return [r.getMessage() for r in caplog.records if vars(r).get("action") == action]


# What is taken


def test_the_folders_of_a_model_are_made_for_its_producers(post: Post) -> None:
    post.look()
    for cargo in ("rows", "labels"):
        assert sorted(p.name for p in (post.root / "bikes" / cargo).iterdir()) == ["done", "failed"]


def test_rows_and_labels_are_taken_and_their_files_moved(post: Post) -> None:
    post.drop("a.ndjson", ndjson(rows(0, 10)))
    post.drop("a.json", orjson.dumps(labels(0, 7)), "labels")
    post.look()
    assert post.house.held == (10, 7)
    assert post.names("done") == ["a.ndjson", "a.ndjson.receipt.json"]
    assert post.names("done", "labels") == ["a.json", "a.json.receipt.json"]
    assert sorted(p.name for p in post.folder().iterdir()) == ["done", "failed"]
    assert post.house.outcomes("spool") == {"taken": 2}


def test_files_wait_while_another_daemon_has_the_rows(
    post: Post, caplog: pytest.LogCaptureFixture
) -> None:
    post.is_ours = False
    post.drop("a.ndjson", ndjson(rows(0, 3)))
    post.look()
    assert (post.folder() / "a.ndjson").exists()
    assert caplog.text == ""
    post.is_ours = True
    post.look()
    assert post.names("done")[0] == "a.ndjson"


def test_a_receipt_tells_what_was_taken(post: Post) -> None:
    post.drop("a.ndjson", ndjson([*rows(0, 3), *rows(0, 1)]))
    post.look()
    receipt = orjson.loads((post.folder() / "done" / "a.ndjson.receipt.json").read_bytes())
    assert receipt.pop("taken_at").endswith("+00:00")
    assert receipt == {
        "file": "a.ndjson",
        "model": "bikes",
        "cargo": "rows",
        "accepted": 3,
        "duplicates": 1,
        "revised": 0,
        "forgotten": 0,
        "last_seq": 3,
        "rejected": 0,
        "quarantined": 0,
    }


def test_a_compressed_file_is_taken(post: Post) -> None:
    post.drop("a.ndjson.gz", gzip.compress(ndjson(rows(0, 5))))
    packed = pa.Codec("zstd").compress(ndjson(rows(5, 9)), asbytes=True)
    post.drop("b.NDJSON.zst", packed)
    post.look()
    assert post.house.held == (9, 0)


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.parquet", "a.arrow", "a.arrows"])
def test_a_file_is_read_as_what_its_ending_says(post: Post, name: str) -> None:
    path, table = post.folder() / f".{name}", pa.Table.from_pylist(rows(0, 12))
    post.drop("first.ndjson", ndjson(rows(0, 1)), mtime=1)
    match name.partition(".")[2]:
        case "csv":
            write_csv(table, path)
        case "csv.gz":
            write_csv(table, path)
            path.write_bytes(gzip.compress(path.read_bytes()))
        case "parquet":
            pq.write_table(table, path)
        case "arrow":
            with pa.ipc.new_file(path, table.schema) as sink:
                sink.write_table(table)
        case "arrows":
            with pa.ipc.new_stream(path, table.schema) as sink:
                sink.write_table(table)
    path.rename(post.folder() / name)
    post.look()
    assert post.house.held == (12, 0)
    assert post.house.log().counts().last_seq == 12, "the first one came before, and is the same"


def test_what_is_named_as_unfinished_is_left_alone(post: Post) -> None:
    for name in (".a.ndjson", "a.ndjson.tmp", "a.ndjson.part"):
        (post.folder() / name).write_bytes(ndjson(rows(0, 1)))
    post.look()
    assert post.house.asked == []
    assert len(list(post.folder().iterdir())) == 5


def test_files_are_taken_in_the_order_in_which_they_were_written(post: Post) -> None:
    post.drop("a.ndjson", b'{"id": 1, "label": 3}', "labels", mtime=1_700_000_300)
    post.drop("c.ndjson", b'{"id": 1, "label": 1}', "labels", mtime=1_700_000_100)
    post.drop("b.ndjson", b'{"id": 1, "label": 0}', "labels", mtime=1_700_000_100)
    post.look()
    post.drop("rows.ndjson", ndjson(rows(1, 2)))
    post.look()
    assert post.house.log().window(labelled=True).target.to_pylist() == [3.0]


def test_a_name_that_is_used_again_overwrites_nothing(post: Post) -> None:
    for first in (0, 5):
        post.drop("a.ndjson", ndjson(rows(first, first + 5)))
        post.look()
    assert post.names("done") == [
        "a.ndjson",
        "a.ndjson.receipt.json",
        "a~2.ndjson",
        "a~2.ndjson.receipt.json",
    ]


def test_a_file_that_was_taken_before_a_crash_and_not_moved_is_a_repetition(post: Post) -> None:
    path = post.drop("a.ndjson", ndjson(rows(0, 5)))
    post.look()
    (post.folder() / "done" / "a.ndjson").rename(path)
    post.look()
    assert post.house.held == (5, 0)
    assert post.house.log().counts().last_seq == 5


# What is refused


def test_rejected_rows_of_a_file_are_told_beside_it(post: Post) -> None:
    post.drop("first.ndjson", ndjson(rows(0, 2)), mtime=1)
    post.drop("a.ndjson", ndjson([*rows(0, 2), {"id": 2, "at": 0, "x": "wide"}]))
    post.look()
    beside = orjson.loads((post.folder() / "done" / "a.ndjson.rejected.json").read_bytes())
    assert [(item["index"], item["id"]) for item in beside] == [(2, "2")]
    assert "x" in beside[0]["reason"]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.ndjson", b"{broken", "not valid JSON"),
        ("a.xlsx", b"PK", "expected .json"),
        ("a", b"{}", "expected .json"),
        ("a.ndjson.gz", b"no gzip", "not valid as gzip"),
        ("a.ndjson", b"", "there are no rows in it"),
        ("a.ndjson", b'{"x": 1}', "none of 1 rows can be taken"),
    ],
)
def test_a_file_that_cannot_be_taken_is_moved_with_the_reason(
    post: Post, name: str, content: bytes, says: str
) -> None:
    post.drop(name, content, mtime=1)
    post.drop("later.ndjson", ndjson(rows(0, 5)))
    post.look()
    assert post.names("failed") == [name, f"{name}.reason.txt"]
    assert says in (post.folder() / "failed" / f"{name}.reason.txt").read_text()
    assert post.house.held == (5, 0)
    assert post.house.outcomes("spool") == {"failed": 1, "taken": 1}


def test_a_failed_file_that_was_mended_is_taken_when_it_is_dropped_again(post: Post) -> None:
    post.drop("a.ndjson", b"{broken")
    post.look()
    post.drop("a.ndjson", ndjson(rows(0, 1)))
    post.look()
    assert post.house.held == (1, 0)


def test_what_is_no_file_is_told_once_and_left(
    post: Post, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    secret = tmp_path / "secret.ndjson"
    secret.write_bytes(ndjson(rows(0, 1)))
    (post.folder() / "link.ndjson").symlink_to(secret)
    (post.folder() / "folder.ndjson").mkdir()
    os.mkfifo(post.folder() / "pipe.ndjson")
    post.look()
    post.look()
    assert post.house.asked == []
    found = told(caplog, "spool_odd")
    assert len(found) == 3
    for what in ("symbolic link", "is a folder", "no regular file"):
        assert sum(what in line for line in found) == 1, what


def test_files_of_a_model_that_is_not_under_care_wait_for_it(
    post: Post, caplog: pytest.LogCaptureFixture
) -> None:
    (post.folder(model="trains") / "a.ndjson").write_bytes(ndjson(rows(0, 4)))
    post.look()
    post.look()
    (line,) = told(caplog, "spool_odd")
    assert "no model 'trains' is under care" in line
    post.house.models.append("trains")
    post.look()
    assert post.house.log("trains").counts().rows == 4


def test_a_file_that_may_not_be_read_is_told_once_and_taken_when_it_may(
    post: Post, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    post.drop("a.ndjson", ndjson(rows(0, 1)))
    with monkeypatch.context() as patched:
        # Tests may run as root, who may read everything.
        patched.setattr(os, "access", lambda *_: False)
        post.look()
        post.look()
    (line,) = told(caplog, "spool_odd")
    assert "may not be read" in line
    post.look()
    assert post.house.held == (1, 0)


def test_a_spool_that_cannot_be_made_is_told_once_and_ends_nothing(
    post: Post, caplog: pytest.LogCaptureFixture
) -> None:
    post.root.write_text("in the way")
    post.look()
    post.look()
    assert len(told(caplog, "spool_odd")) == 2  # rows and labels
    post.root.unlink()
    post.drop("a.ndjson", ndjson(rows(0, 1)))
    post.look()
    assert post.house.held == (1, 0)


# What passes by itself


def test_a_full_disk_leaves_the_files_in_their_order_until_there_is_room(
    post: Post, caplog: pytest.LogCaptureFixture
) -> None:
    post.house.fail(TransientError("The disk is full.", retry_after=30.0))
    post.drop("a.ndjson", ndjson(rows(0, 5)), mtime=1)
    post.drop("b.ndjson", ndjson(rows(5, 9)), mtime=2)
    for _ in range(5):
        post.look()
    assert len(post.house.asked) == 1, "neither again at once, nor the next one before it"
    post.wait(30)
    post.look()
    assert len(post.house.asked) == 2
    assert len(told(caplog, "spool_waits")) == 1
    post.house.mend()
    post.wait(60)
    post.look()
    assert post.house.held == (9, 0)
    assert post.names("failed") == []


def test_a_damaged_row_log_is_no_fault_of_the_files(post: Post) -> None:
    post.house.fail(PermanentError("bikes.sqlite is damaged"))
    post.drop("a.ndjson", ndjson(rows(0, 5)))
    for _ in range(10):
        post.look()
        post.wait(60)
    assert post.names("failed") == []
    post.house.mend()
    post.wait(60)
    post.look()
    assert post.house.held == (5, 0)


def test_a_file_that_brings_an_unexpected_error_is_let_go_after_three_attempts(
    tmp_path: Path,
) -> None:
    house = InHouse(tmp_path)

    def take(model: str, parcel: Parcel) -> Taken:
        if b"poison" in content(parcel):
            message = "nobody foresaw this"
            raise ArithmeticError(message)
        return house.intake.take(model, parcel)

    post = Post(house, tmp_path / "spool")
    post.spool._take = take
    post.drop("a.ndjson", b"poison", mtime=1)
    post.drop("b.ndjson", ndjson(rows(0, 3)), mtime=2)
    post.look()
    assert house.held == (3, 0), "the others have their turn"
    for _ in range(2):
        assert post.names("failed") == []
        post.wait(60)
        post.look()
    assert "nobody foresaw this" in (post.folder() / "failed" / "a.ndjson.reason.txt").read_text()
    house.rows.close()


def test_a_file_that_is_written_in_place_is_taken_when_it_is_whole(tmp_path: Path) -> None:
    house, whole = InHouse(tmp_path), ndjson(rows(0, 100))
    post = Post(house, tmp_path / "spool")
    path = post.drop("a.ndjson", whole[:1000])

    def take(model: str, parcel: Parcel) -> Taken:
        if path.stat().st_size < len(whole):
            path.write_bytes(whole)  # the producer goes on meanwhile
        return house.intake.take(model, parcel)

    post.spool._take = take
    post.look()
    assert path.exists()
    assert post.names("failed") == []
    post.look()
    assert house.held == (100, 0)
    house.rows.close()


@pytest.mark.parametrize("name", ["a.arrow", "a.parquet"])
def test_a_file_that_is_cut_short_while_it_is_read_ends_nothing(
    post: Post, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    path, table = post.folder() / name, pa.Table.from_pylist(rows(0, 40_000))
    if name == "a.arrow":
        with pa.ipc.new_file(path, table.schema) as sink:
            sink.write_table(table, max_chunksize=10_000)
    else:
        pq.write_table(table, path, row_group_size=10_000)
    path.with_suffix(".whole.part").write_bytes(path.read_bytes())
    append = RowLog.append_rows

    def cut_short(log: RowLog, *given: Any) -> Any:
        os.truncate(path, 20_000)
        return append(log, *given)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(RowLog, "append_rows", cut_short)
        post.look()
    assert len(told(caplog, "spool_growing")) == 1
    path.with_suffix(".whole.part").rename(path)
    post.look()
    assert post.house.held == (40_000, 0)


# Housekeeping


def test_what_was_taken_is_kept_for_a_while(post: Post) -> None:
    post.drop("a.ndjson", ndjson(rows(0, 1)), mtime=1)
    post.drop("b.ndjson", b"{broken")
    post.look()
    post.wait(6.9 * DAY_S)
    post.look()
    assert len(post.names("done")) == 2
    post.wait(0.2 * DAY_S)
    post.look()
    assert post.names("done") == []
    assert len(post.names("failed")) == 2, "who failed is kept until somebody looks"


def test_what_was_taken_is_removed_at_once_where_so_wished(tmp_path: Path) -> None:
    house = InHouse(tmp_path)
    post = Post(house, tmp_path / "spool", keep_done_s=0.0)
    post.drop("a.ndjson", ndjson(rows(0, 1)))
    post.look()
    post.wait(1)
    post.look()
    assert (house.held, post.names("done")) == ((1, 0), [])
    house.rows.close()


def test_it_stops_between_two_files(post: Post) -> None:
    stop = threading.Event()

    def take(model: str, parcel: Parcel) -> Taken:
        stop.set()
        return post.house.intake.take(model, parcel)

    post.spool._take = take
    for first in (0, 5):
        post.drop(f"{first}.ndjson", ndjson(rows(first, first + 5)), mtime=first + 1)
    post.spool.run(stop)
    assert post.house.held == (5, 0)


@pytest.fixture(autouse=True)
def _told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
