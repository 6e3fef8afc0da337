"""The row log: durable, idempotent, and readable as of any moment."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest

from retuned.errors import PermanentError, TransientError
from retuned.ingest.parse import JSON, parse_labels, parse_rows
from retuned.rows.batch import LabelBatch, Receipt
from retuned.rows.house import RowLogs
from retuned.rows.log import RowLog
from retuned_pipelines.schema import Feature, Kind, Schema, Task
from retuned_pipelines.spec import ModelSpec
from retuned_pipelines.window import Window

SPEC = ModelSpec(name="demo", task=Task.REGRESSION, target="y", metric="r2", time="t")
SCHEMA = Schema((Feature("x", Kind.NUMBER),))

Record = Mapping[str, Any]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rows" / "demo.sqlite"


@pytest.fixture
def log(path: Path) -> Iterator[RowLog]:
    found = RowLog(path, Task.REGRESSION)
    yield found
    found.close()


@contextmanager
def opened(path: Path, task: Task) -> Iterator[RowLog]:
    log = RowLog(path, task)
    try:
        yield log
    finally:
        log.close()


def row(name: str, time: int = 0, x: float = 0.0, **more: Any) -> Record:
    return {"id": name, "t": time, "x": x, **more}


def append(log: RowLog, *records: Record, spec: ModelSpec = SPEC) -> Receipt:
    parsed = parse_rows(orjson.dumps(records), JSON, spec, SCHEMA, 0)
    assert not parsed.rejected
    return log.append_rows(parsed.batch, SCHEMA)


def label(log: RowLog, **values: float) -> Receipt:
    records = [{"id": name, "label": value} for name, value in values.items()]
    return log.append_labels(parse_labels(orjson.dumps(records), JSON, SPEC).batch)


def label_batch(names: Sequence[str], values: Sequence[float | str]) -> LabelBatch:
    kind = pa.string() if values and isinstance(values[0], str) else pa.float64()
    return LabelBatch(ids=pa.array(names, pa.string()), values=pa.array(values, kind))


def ids(window: Window | None) -> list[str]:
    return [] if window is None else list(window.ids.to_pylist())


def seen(window: Window) -> list[tuple[Any, ...]]:
    """Everything of a window, row by row."""
    return list(
        zip(
            window.ids.to_pylist(),
            (window.time // 1_000_000).tolist(),
            window.features["x"].to_pylist(),
            window.seq.tolist(),
            window.label_seq.tolist(),
            window.target.to_pylist(),
            strict=True,
        )
    )


def outcome(receipt: Receipt) -> tuple[int, int, int]:
    return receipt.accepted, receipt.duplicates, receipt.revised


def test_a_repeated_row_is_acknowledged_and_dropped(log: RowLog) -> None:
    assert outcome(append(log, row("a"), row("b"))) == (2, 0, 0)
    assert outcome(append(log, row("b"), row("c"))) == (1, 1, 0)
    assert log.counts().rows == 3
    assert append(log, row("a")).last_seq == 3


def test_other_content_under_the_same_id_is_a_revision(log: RowLog) -> None:
    append(log, row("a", x=1.0), row("b", x=2.0))
    assert outcome(append(log, row("a", x=9.0))) == (0, 0, 1)
    assert seen(log.window()) == [("b", 0, 2.0, 2, -1, None), ("a", 0, 9.0, 3, -1, None)]
    assert log.counts().rows == 2


def test_before_its_revision_a_row_is_what_it_was(log: RowLog) -> None:
    append(log, row("a", x=1.0))
    append(log, row("a", x=2.0))
    append(log, row("a", x=1.0))
    assert [log.window(as_of=n).features["x"].to_pylist() for n in range(4)] == [
        [],
        [1.0],
        [2.0],
        [1.0],
    ]


def test_an_id_twice_in_one_request_counts_once(log: RowLog) -> None:
    assert outcome(append(log, row("a"), row("a"))) == (1, 1, 0)
    assert outcome(append(log, row("b", x=1.0), row("b", x=2.0))) == (1, 0, 1)
    assert log.window().features["x"].to_pylist() == [0.0, 2.0]


def test_a_revised_row_keeps_its_label(log: RowLog) -> None:
    append(log, row("a", x=1.0))
    label(log, a=5.0)
    append(log, row("a", x=2.0))
    assert seen(log.window()) == [("a", 0, 2.0, 3, 2, 5.0)]
    assert log.counts().labelled == 1


def test_labels_are_idempotent_and_can_be_revised(log: RowLog) -> None:
    append(log, row("a"))
    assert outcome(label(log, a=1.0)) == (1, 0, 0)
    assert outcome(label(log, a=1.0)) == (0, 1, 0)
    assert outcome(label(log, a=2.0)) == (0, 0, 1)
    assert log.window(as_of=2).target.to_pylist() == [1.0]
    assert log.window().target.to_pylist() == [2.0]
    assert log.counts().labelled == 1


def test_a_label_may_come_before_its_row(log: RowLog) -> None:
    label(log, a=1.0, b=3.0)
    label(log, a=2.0)
    assert (log.counts().rows, log.counts().labelled) == (0, 0)
    append(log, row("c"), row("a"))
    assert (log.counts().rows, log.counts().labelled) == (2, 1)
    assert seen(log.window(labelled=True)) == [("a", 0, 0.0, 5, 3, 2.0)]


def test_a_label_may_come_with_its_row(log: RowLog) -> None:
    append(log, row("a", y=1.0), row("b"))
    assert log.window().target.to_pylist() == [1.0, None]
    assert outcome(append(log, row("a", y=1.0), row("b", y=2.0))) == (0, 2, 0)
    assert log.window().target.to_pylist() == [1.0, 2.0]


def test_rows_are_ordered_by_time_then_by_arrival(log: RowLog) -> None:
    append(log, row("late", 9), row("early", 1))
    append(log, row("also early", 1), row("middle", 5))
    assert ids(log.window()) == ["early", "also early", "middle", "late"]
    assert ids(log.window(newest=2)) == ["middle", "late"]


def test_the_newest_labelled_rows_are_counted_among_the_labelled(log: RowLog) -> None:
    append(log, *(row(name, time) for time, name in enumerate("abcdef")))
    label(log, a=1.0, c=1.0, e=1.0)
    assert ids(log.window(labelled=True, newest=2)) == ["c", "e"]
    assert ids(log.window(newest=2)) == ["e", "f"]


def test_rows_since_a_sequence_number_can_be_asked_for(log: RowLog) -> None:
    append(log, row("a"), row("b"))
    append(log, row("c"), row("d"))
    assert ids(log.window(first_seq=2)) == ["b", "c", "d"]
    assert ids(log.window(first_seq=2, as_of=3)) == ["b", "c"]


def test_where_no_row_came_the_window_is_empty(log: RowLog) -> None:
    append(log, row("a"))
    label(log, a=1.0)
    assert len(log.window(first_seq=2)) == 0
    assert len(log.window(as_of=0, newest=5, labelled=True)) == 0


def test_what_matured_between_two_moments_can_be_asked_for(log: RowLog) -> None:
    append(log, row("a"), row("b"), row("c"))
    label(log, a=1.0)
    label(log, b=1.0, c=1.0)
    assert ids(log.matured(3, 4)) == ["a"]
    assert ids(log.matured(4, 6)) == ["b", "c"]
    assert ids(log.matured(6, 99)) == []
    assert log.matured(6, 99) is None


def test_before_the_first_row_there_is_no_window(log: RowLog) -> None:
    label(log, a=1.0)
    assert log.schema is None
    assert log.matured(0, 9) is None
    with pytest.raises(ValueError, match="no row has come yet"):
        log.window()


def test_rows_of_another_schema_are_refused_as_a_whole(log: RowLog) -> None:
    append(log, row("a"))
    other = Schema((Feature("z", Kind.NUMBER),))
    parsed = parse_rows(b'[{"id": "b", "t": 1, "z": 1}]', JSON, SPEC, other, 0)
    with pytest.raises(ValueError, match="schema"):
        log.append_rows(parsed.batch, other)
    assert log.counts().rows == 1
    assert log.schema == SCHEMA


def test_many_rows_come_in_one_batch(log: RowLog) -> None:
    records = [row(f"r{n}", n) for n in range(25_000)]
    assert append(log, *records).accepted == 25_000
    assert outcome(append(log, *records)) == (0, 25_000, 0)
    assert ids(log.window(newest=1)) == ["r24999"]


def test_everything_is_there_after_the_log_was_closed(path: Path) -> None:
    first = RowLog(path, Task.REGRESSION)
    append(first, row("a", x=1.5))
    label(first, a=2.0, later=3.0)
    first.close()
    second = RowLog(path, Task.REGRESSION)
    append(second, row("later", 1))
    assert second.schema == SCHEMA
    assert seen(second.window()) == [("a", 0, 1.5, 1, 2, 2.0), ("later", 1, 0.0, 4, 3, 3.0)]
    second.close()


WRITER = """
import os, signal, sys
from pathlib import Path
from tests.unit import test_rows_log as t
log = t.RowLog(Path(sys.argv[1]), t.Task.REGRESSION)
t.append(log, t.row("a"), t.row("b"))
t.label(log, a=1.0)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_was_acknowledged_survives_a_kill(path: Path) -> None:
    root = Path(__file__).parents[2]
    ended = subprocess.run(
        [sys.executable, "-c", WRITER, str(path)], cwd=root, env=dict(os.environ), check=False
    )
    assert ended.returncode == -signal.SIGKILL
    again = RowLog(path, Task.REGRESSION)
    assert (again.counts().rows, again.counts().labelled) == (2, 1)
    again.close()


def test_a_full_disk_is_told_and_leaves_nothing_half_done(log: RowLog) -> None:
    append(log, row("a"))
    writer = log._file._writer
    (pages,) = writer.execute("PRAGMA page_count").fetchone()
    writer.execute(f"PRAGMA max_page_count = {pages}")
    records = [row(f"r{n}", n, y=1.0) for n in range(5000)]
    with pytest.raises(TransientError, match="Make room") as caught:
        append(log, *records)
    assert caught.value.retry_after > 0
    assert ids(log.window()) == ["a"]
    writer.execute("PRAGMA max_page_count = 1000000")
    assert append(log, *records).accepted == 5000
    assert log.counts().labelled == 5000


def test_a_file_that_is_no_database_is_told(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(b"These are no rows. " * 500)
    with pytest.raises(PermanentError, match="restore it from a backup"):
        RowLog(path, Task.REGRESSION)


def test_a_file_of_a_newer_release_is_told(path: Path) -> None:
    RowLog(path, Task.REGRESSION).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(PermanentError, match="newer release"):
        RowLog(path, Task.REGRESSION)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TransientError, match="cannot be used"):
        RowLog(tmp_path / "file" / "demo.sqlite", Task.REGRESSION)


@pytest.mark.parametrize("values", [['"a"', '"1"'], ["1", "-3"], ["true", "false"]])
def test_classes_are_kept_as_they_were_sent(tmp_path: Path, values: Sequence[str]) -> None:
    with opened(tmp_path / "demo.sqlite", Task.MULTICLASS) as log:
        append(log, row("a"), row("b", 1))
        log.append_labels(label_batch(["a", "b"], values))
        assert log.window().target.to_pylist() == values


def test_the_first_classes_are_remembered(path: Path) -> None:
    with opened(path, Task.BINARY) as log:
        assert log.classes == ()
        log.append_labels(label_batch(["a", "b"], ["1", "1"]))
        assert log.classes == ("1",)
        append(log, row("c", y=0), spec=replace(SPEC, task=Task.BINARY))
        assert log.classes == ("1", "0")
    with opened(path, Task.BINARY) as log:
        assert log.classes == ("1", "0")


@pytest.mark.parametrize(
    ("task", "late"), [(Task.BINARY, "2"), (Task.BINARY, '"1"'), (Task.MULTICLASS, "true")]
)
def test_labels_that_others_overtook_are_to_be_sent_again(
    path: Path, task: Task, late: str
) -> None:
    with opened(path, task) as log:
        log.append_labels(label_batch(["a", "b"], ["0", "1"]))
        with pytest.raises(TransientError, match="Send the labels again"):
            log.append_labels(label_batch(["c", "d"], ["0", late]))
        assert log.counts().last_seq == 2


def test_labels_of_two_pairs_of_classes_at_once_are_never_mixed(path: Path) -> None:
    def send(log: RowLog, number: int) -> bool:
        pair = ["0", "1"] if number % 2 else ["2", "3"]
        try:
            log.append_labels(label_batch([f"{number}a", f"{number}b"], pair))
        except TransientError:
            return False
        return True

    with opened(path, Task.BINARY) as log, ThreadPoolExecutor(8) as pool:
        sent = list(pool.map(lambda number: send(log, number), range(16)))
        assert sent.count(True) == 8
        assert set(log.classes) in ({"0", "1"}, {"2", "3"})


def test_a_log_that_holds_labels_keeps_its_task(path: Path) -> None:
    with opened(path, Task.REGRESSION) as log:
        label(log, a=1.0)
    for _ in range(2):
        with pytest.raises(PermanentError) as caught:
            RowLog(path, Task.BINARY)
        assert str(caught.value) == (
            f"{path} holds labels of TASK=regression, and demo.env says TASK=binary: set it back, "
            "or give the new task a model file of another name."
        )
    RowLog(path, Task.REGRESSION).close()


def test_as_long_as_there_are_no_labels_a_task_can_be_another_one(path: Path) -> None:
    with opened(path, Task.REGRESSION) as log:
        append(log, row("a"))
    with opened(path, Task.MULTICLASS) as log:
        log.append_labels(label_batch(["a"], ['"red"']))
        assert log.window().target.to_pylist() == ['"red"']


def test_a_house_s_open_log_keeps_its_task_too(tmp_path: Path) -> None:
    house = RowLogs(tmp_path)
    log = house.of("demo", Task.REGRESSION)
    assert house.of("demo", Task.BINARY) is log
    assert log.task is Task.BINARY
    log.append_labels(label_batch(["a"], ["1"]))
    with pytest.raises(PermanentError, match="set it back"):
        house.of("demo", Task.REGRESSION)
    assert house.of("demo", Task.BINARY) is log
    house.close()


def test_small_batches_are_read_many_at_once(log: RowLog) -> None:
    for n in range(300):
        append(log, row(f"r{n}", n % 50, n / 2))
        label(log, **{f"r{n}": float(n)})
    statements: list[str] = []
    log._file._reader.set_trace_callback(statements.append)
    window = log.window()
    assert len(statements) < 12
    assert sorted(window.target.to_pylist()) == [float(n) for n in range(300)]
    assert (window.features["x"].to_numpy() * 2 == window.target.to_numpy()).all()
    assert ids(log.window(newest=2)) == ["r249", "r299"]


def test_the_newest_rows_are_found_without_a_walk_through_all_labels(log: RowLog) -> None:
    append(log, *(row(f"r{n}", n, y=1.0) for n in range(20_000)))
    append(log, row("new", 30_000, y=2.0))
    steps: list[int] = []

    def step() -> int:
        steps.append(1)
        return 0

    log._file._reader.set_progress_handler(step, 100)
    assert log.window(newest=1).target.to_pylist() == [2.0]
    assert len(steps) < 100


def test_rows_sent_from_many_threads_at_once_count_once(log: RowLog) -> None:
    batches = [[row(f"r{n}", n) for n in range(start, start + 40)] for start in range(0, 200, 20)]
    with ThreadPoolExecutor(8) as pool:
        receipts = list(pool.map(lambda batch: append(log, *batch), batches * 3))
    assert sum(receipt.accepted for receipt in receipts) == log.counts().rows == 220
    assert sorted(log.window().seq.tolist()) == list(range(1, 221))
    assert log.counts().last_seq == 220


def score(
    log: RowLog,
    row_seq: Sequence[int],
    label_seq: Sequence[int],
    loss: float,
    *,
    version: int = 1,
    metric: str = "mae",
) -> None:
    """Let the rows have that loss each."""
    log.append_losses(
        np.array(row_seq),
        np.array(label_seq),
        np.full(len(row_seq), loss),
        version=version,
        revision=1,
        metric=metric,
    )


def test_losses_are_kept_by_row_and_read_by_version(log: RowLog) -> None:
    assert log.last_scored() == 0
    assert len(log.newest_losses(9, metric="mae").loss) == 0
    score(log, [1, 2, 3], [5, 4, 6], 0.5)
    score(log, [4], [7], 0.7, version=2)
    # The label of row 3 was revised.
    score(log, [3], [8], 0.9)
    found = log.losses(1, metric="mae", until=99)
    assert found.row_seq.tolist() == [2, 1, 3]
    assert found.loss.tolist() == [0.5, 0.5, 0.9]
    assert log.losses(1, metric="mae", after=4, until=5).row_seq.tolist() == [1]
    assert log.losses(3, metric="mae", until=99).row_seq.tolist() == []
    assert log.newest_losses(2, metric="mae").row_seq.tolist() == [4, 3]
    assert log.last_scored() == 8


def test_losses_of_another_metric_are_not_mixed_in(log: RowLog) -> None:
    score(log, [1, 2], [3, 4], 0.5)
    score(log, [5], [6], 9.0, metric="mse")
    assert log.losses(1, metric="mae", until=99).loss.tolist() == [0.5, 0.5]
    assert log.losses(1, metric="mse", until=99).loss.tolist() == [9.0]
    assert log.newest_losses(9, metric="mse").row_seq.tolist() == [5]
    # What was scored under the old metric is not scored again under the new one.
    assert log.last_scored() == 6


def test_a_house_has_one_log_a_model(tmp_path: Path) -> None:
    house = RowLogs(tmp_path / "rows")
    bikes = house.of("bikes", Task.REGRESSION)
    assert house.of("bikes", Task.REGRESSION) is bikes
    append(house.of("rent", Task.REGRESSION), row("a"))
    assert bikes.counts().rows == 0
    assert sorted(path.name for path in (tmp_path / "rows").glob("*.sqlite")) == [
        "bikes.sqlite",
        "rent.sqlite",
    ]
    house.close()
