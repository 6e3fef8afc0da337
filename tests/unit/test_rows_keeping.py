"""A row log over a long life: few large segments, nothing older than is wanted, room given back."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from retuned.rows import ids
from retuned.rows.batch import LabelBatch, Receipt, RowBatch
from retuned.rows.compact import SEGMENT_ROWS, mergeable
from retuned.rows.file import DiskFull
from retuned.rows.house import RowLogs
from retuned.rows.log import RowLog
from retuned.rows.retain import Limits
from retuned_pipelines.schema import Feature, Kind, Schema, Task

SCHEMA = Schema((Feature("x", Kind.NUMBER), Feature("c", Kind.CATEGORY)))
MARKED = "an unmistakable text of somebody"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "demo.sqlite"


@pytest.fixture
def log(path: Path) -> Iterator[RowLog]:
    found = RowLog(path, Task.REGRESSION)
    yield found
    found.close()


def append(log: RowLog, first: int, last: int, *, text: str = "plain") -> Receipt:
    """Rows first to last (exclusive) with times of their numbers."""
    size = last - first
    features = [pa.array(np.arange(first, last, dtype=float)), pa.array([text] * size)]
    batch = RowBatch(
        ids=pa.array([f"r{n}" for n in range(first, last)]),
        time=np.arange(first, last),
        is_timed=True,
        features=pa.table(features, schema=SCHEMA.arrow),
        labels=pa.nulls(size, pa.float64()),
    )
    return log.append_rows(batch, SCHEMA)


def label(log: RowLog, first: int, last: int, value: float | None = None) -> Receipt:
    names = pa.array([f"r{n}" for n in range(first, last)])
    values = np.arange(first, last, dtype=float) if value is None else np.full(last - first, value)
    return log.append_labels(LabelBatch(ids=names, values=pa.array(values)))


def spans(path: Path) -> list[int]:
    with sqlite3.connect(path) as db:
        found = [rows for (rows,) in db.execute("SELECT rows FROM batch ORDER BY first_seq")]
    db.close()
    return found


def labels_apart(path: Path) -> int:
    with sqlite3.connect(path) as db:
        (count,) = db.execute("SELECT count(*) FROM label").fetchone()
    db.close()
    return int(count)


def test_rows_that_come_alone_are_stored_together_in_time(log: RowLog, path: Path) -> None:
    for n in range(40):
        append(log, n, n + 1)
    before = log.window()
    log.tidy(Limits())
    assert spans(path) == [40]
    after = log.window()
    assert (after.ids, after.seq.tolist()) == (before.ids, before.seq.tolist())
    assert append(log, 3, 4).duplicates == 1


def test_each_row_is_written_a_few_times_at_the_most() -> None:
    sizes: list[int] = []
    written = 0
    for _ in range(20_000):
        sizes.append(1)
        while group := mergeable([(n, rows, 1) for n, rows in enumerate(sizes)]):
            first = group[0][0]
            merged = sum(rows for _, rows, _ in group)
            written += merged
            sizes[first : first + len(group)] = [merged]
    assert len(sizes) < 50
    assert max(sizes) <= SEGMENT_ROWS
    assert written < 5 * 20_000


def test_segments_of_another_form_or_of_full_size_are_left_alone() -> None:
    full = [(n, SEGMENT_ROWS, 1) for n in range(40)]
    assert mergeable(full) == ()
    two = [(n, 10, n % 2) for n in range(40)]
    assert mergeable(two) == ()
    assert len(mergeable([*full[:3], *((10 + n, 10, 1) for n in range(16))])) == 16


def test_labels_are_stored_with_their_rows_once_all_are_there(log: RowLog, path: Path) -> None:
    append(log, 0, 10_000)
    label(log, 0, 9_999)
    log.tidy(Limits())
    assert labels_apart(path) == 9_999
    label(log, 9_999, 10_000)
    log.tidy(Limits())
    assert labels_apart(path) == 0
    window = log.window(labelled=True)
    assert window.target.to_pylist() == window.features["x"].to_pylist()
    assert len(log.window(as_of=10_005, labelled=True)) == 5
    assert label(log, 0, 10).duplicates == 10
    assert label(log, 5, 6, -1.0).revised == 1
    assert log.window().target[5].as_py() == -1.0
    assert log.window(as_of=19_999 + 1).target[5].as_py() == 5.0
    matured = log.matured(19_990, 20_001)
    assert matured is not None
    assert matured.ids.to_pylist() == ["r5", *(f"r{n}" for n in range(9_990, 10_000))]
    assert log.counts().labelled == 10_000


def test_what_is_over_the_limits_is_dropped_with_all_of_it(log: RowLog) -> None:
    for first in range(0, 50_000, 10_000):
        append(log, first, first + 10_000)
        label(log, first, first + 10_000)
    log.append_losses(
        np.arange(1, 101), np.arange(1, 101), np.ones(100), version=1, revision=1, metric="mae"
    )
    dropped = log.tidy(Limits(rows=25_000))
    assert (dropped.rows, dropped.segments) == (20_000, 2)
    assert (log.counts().rows, log.counts().labelled) == (30_000, 30_000)
    assert log.window().ids[0].as_py() == "r20000"
    assert len(log.losses(1, metric="mae").loss) == 0
    # Of what was dropped nothing is known any more.
    assert append(log, 0, 1).accepted == 1


@pytest.mark.parametrize(
    ("limits", "left"),
    [
        (Limits(before_us=25_000), 30_000),
        (Limits(data_bytes=1), 0),
        (Limits(rows=1, floor=35_000), 40_000),
        (Limits(data_bytes=1, needed_us=19_999), 40_000),
        (Limits(before_us=10**15, floor=50_000), 50_000),
        (Limits(), 50_000),
    ],
)
def test_limits_by_age_and_bytes_never_touch_what_is_needed(
    log: RowLog, limits: Limits, left: int
) -> None:
    for first in range(0, 50_000, 10_000):
        append(log, first, first + 10_000)
    label(log, 0, 50_000)
    log.tidy(limits)
    assert log.counts().rows == left


def test_rows_that_never_get_labels_do_not_pile_up_behind_labels_that_are_needed(
    log: RowLog,
) -> None:
    append(log, 0, 10_000)
    label(log, 0, 10_000)
    for first in range(10_000, 60_000, 10_000):
        append(log, first, first + 10_000)
    log.tidy(Limits(rows=20_000, floor=10_000))
    assert (log.counts().rows, log.counts().labelled) == (20_000, 10_000)
    assert log.window(newest=1).ids.to_pylist() == ["r59999"]


def test_room_is_given_back_to_the_disk(log: RowLog, path: Path) -> None:
    for first in range(0, 100_000, 10_000):
        append(log, first, first + 10_000, text="x" * 50)
    log.tidy(Limits())
    before = path.stat().st_size
    log.tidy(Limits(rows=10_000))
    assert path.stat().st_size < before / 4
    assert log.counts().rows == 10_000


def test_of_a_forgotten_row_no_byte_remains(log: RowLog, path: Path) -> None:
    append(log, 0, 50)
    append(log, 50, 51, text=MARKED)
    append(log, 50, 51, text=f"{MARKED}, mended")
    append(log, 51, 100)
    label(log, 50, 51, 0.123456789)
    assert log.forget("r50")
    stored = b"".join(file.read_bytes() for file in path.parent.rglob("*") if file.is_file())
    assert MARKED.encode() not in stored
    assert b"r50" not in stored
    assert np.float64(0.123456789).tobytes()[::-1] not in stored
    assert "r50" not in log.window().ids.to_pylist()
    assert (log.counts().rows, log.counts().labelled) == (99, 0)
    assert append(log, 50, 51).forgotten == 1
    assert label(log, 50, 51).forgotten == 1
    assert not log.forget("r50")
    assert not log.forget("nobody")


def test_ids_of_many_rows_are_found_on_disk(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ids, "IN_MEMORY", 100)
    first = RowLog(path, Task.REGRESSION)
    for start in range(0, 3000, 60):
        append(first, start, start + 60)
    runs = list(path.with_suffix(".ids").glob("*.run"))
    assert 1 <= len(runs) <= 12
    assert append(first, 0, 3000).duplicates == 3000
    first.close()
    # A damaged run is read from the log again; so is one of another log.
    runs[0].write_bytes(runs[0].read_bytes()[:-8] + b"damaged!")
    second = RowLog(path, Task.REGRESSION)
    assert append(second, 0, 3000).duplicates == 3000
    assert append(second, 3000, 3001).accepted == 1
    second.close()


def test_runs_are_believed_after_a_first_append_that_failed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ids, "IN_MEMORY", 10)
    log = RowLog(path, Task.REGRESSION)
    with monkeypatch.context() as failing:
        failing.setattr("retuned.rows.log.last_seq_of", _fails)
        with pytest.raises(ValueError, match="Arrow"):
            append(log, 0, 5)
    append(log, 0, 20)
    log.close()
    runs = {run: run.stat().st_ino for run in path.with_suffix(".ids").glob("*.run")}
    log = RowLog(path, Task.REGRESSION)
    assert append(log, 0, 20).duplicates == 20
    log.close()
    assert {run: run.stat().st_ino for run in path.with_suffix(".ids").glob("*.run")} == runs


def _fails(_db: sqlite3.Connection) -> int:
    message = "Arrow cannot do this"
    raise ValueError(message)


def test_runs_that_an_older_backup_does_not_know_are_not_believed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ids, "IN_MEMORY", 10)
    log = RowLog(path, Task.REGRESSION)
    append(log, 0, 20)
    log.close()
    backup = path.read_bytes()
    log = RowLog(path, Task.REGRESSION)
    append(log, 20, 60)
    log.close()
    path.write_bytes(backup)
    log = RowLog(path, Task.REGRESSION)
    assert append(log, 40, 60).accepted == 20
    assert append(log, 0, 20).duplicates == 20
    log.close()


def test_an_idle_log_is_closed_and_opened_when_it_is_needed(tmp_path: Path) -> None:
    house = RowLogs(tmp_path)
    log = house.of("demo", Task.REGRESSION)
    append(log, 0, 10)
    house.rest_idle()
    assert log._file._writer is not None
    house.rest_idle()
    assert (log._file._writer, log._file._reader, log._index) == (None, None, None)
    assert append(log, 5, 15).duplicates == 5
    assert log.counts().rows == 15
    house.close()


def test_a_nearly_full_disk_refuses_before_it_is_full(path: Path) -> None:
    free = shutil.disk_usage(path.parent).free
    log = RowLog(path, Task.REGRESSION, spare=free * 2)
    with pytest.raises(DiskFull, match="RETUNED_ROWS__SPARE_MB") as caught:
        append(log, 0, 1)
    assert caught.value.retry_after > 0
    # What makes room is done all the same.
    log.tidy(Limits(rows=1))
    log.close()


def test_rows_whose_labels_never_come_do_not_keep_what_is_over_the_limit(log: RowLog) -> None:
    append(log, 0, 10)
    label(log, 0, 10)
    for first in range(10, 100, 10):
        append(log, first, first + 10)
    log._since_tidy = 0
    # The labelled rows are the oldest, and all that a study could learn from.
    assert log.tidy(Limits(rows=20, floor=5)).rows == 80
    assert log.counts().labelled == 10
    for first in range(100, 200, 10):
        append(log, first, first + 10)
    label(log, 190, 200)
    log._since_tidy = 0
    assert log.tidy(Limits(rows=30, floor=10)).rows == 90
    assert log.counts().rows == 30
    assert log.counts().labelled == 10
