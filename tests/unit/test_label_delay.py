"""How long labels take, which rows never get one, and when a label is too late."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pytest

from retuned.ingest.late import without_late
from retuned.ingest.parse import JSON, parse_labels, parse_rows
from retuned.rows import arrival, delay
from retuned.rows.batch import LabelBatch
from retuned.rows.log import RowLog
from retuned.rows.retain import Limits
from retuned.runtime.clock import VirtualClock
from retuned_pipelines.schema import Task
from retuned_pipelines.spec import LabelPolicy, ModelSpec

BEGIN = 1_700_000_040.0
HOUR = 3600.0
SPEC = ModelSpec(
    name="demo", task=Task.REGRESSION, target="y", time="t", metric="neg_mean_absolute_error"
)


class Log:
    """A row log on a clock that the test moves."""

    def __init__(self, path: Path) -> None:
        self.clock = VirtualClock(BEGIN)
        self.path = path
        self.log = RowLog(path, Task.REGRESSION, now=self.clock.now)

    def wait(self, seconds: float) -> None:
        self.clock.move_to(self.clock.now() + seconds)

    def rows(self, *names: str, ago: float = 0.0, y: float | None = None) -> None:
        moment = self.clock.now() - ago
        records = [{"id": name, "t": moment, "x": 1.0, "y": y} for name in names]
        parsed = parse_rows(orjson.dumps(records), JSON, SPEC, self.log.schema, 0)
        assert not parsed.rejected
        self.log.append_rows(parsed.batch, parsed.schema)

    def labels(self, *names: str, value: float = 1.0) -> None:
        values = pa.array([value] * len(names), pa.float64())
        self.log.append_labels(LabelBatch(ids=pa.array(names, pa.string()), values=values))


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    found = Log(tmp_path / "demo.sqlite")
    yield found
    found.log.close()


def median(found: delay.Quantiles | None) -> float:
    assert found is not None
    return found.median_s


# Delay


def test_without_labels_nothing_is_known(log: Log) -> None:
    log.rows("a")
    assert log.log.label_delay() == delay.LabelDelay()


def test_the_delay_is_counted_from_the_arrival_and_from_the_rows_own_time(log: Log) -> None:
    log.rows("a", "b", ago=HOUR)
    log.wait(100)
    log.labels("a", "b")
    found = log.log.label_delay()
    assert found.labels == 2
    assert median(found.since_arrival) == pytest.approx(100, rel=0.05)
    assert median(found.since_time) == pytest.approx(HOUR + 100, rel=0.05)


def test_median_and_ninth_decile_are_those_of_all_labels(log: Log) -> None:
    names = [f"r{n}" for n in range(100)]
    log.rows(*names)
    for name in names:
        log.wait(1)
        log.labels(name)
    found = log.log.label_delay().since_arrival
    assert found is not None
    assert found.median_s == pytest.approx(50, rel=0.06)
    assert found.p90_s == pytest.approx(90, rel=0.06)


def test_corrections_repetitions_and_labels_with_or_before_their_rows_have_no_delay(
    log: Log,
) -> None:
    log.labels("early")
    log.wait(50)
    log.rows("early", "a")
    log.rows("along", y=3.0)
    log.wait(10)
    log.labels("a")
    log.wait(1000)
    log.labels("a")
    log.labels("a", value=2.0)
    found = log.log.label_delay()
    assert found.labels == 1
    assert median(found.since_arrival) == pytest.approx(10, rel=0.05)


def test_what_comes_lately_counts_most(log: Log) -> None:
    with log.log._file.write() as db:
        slow = np.full(delay.MEMORY, 1000 * 1_000_000)
        delay.measure(db, slow, slow)
        for _ in range(4):
            quick = np.full(delay.MEMORY // 2, 1_000_000)
            delay.measure(db, quick, quick)
    found = log.log.label_delay()
    assert found.labels <= delay.MEMORY
    assert median(found.since_arrival) == pytest.approx(1, rel=0.06)


def test_a_revised_row_keeps_the_arrival_of_its_first_form(log: Log) -> None:
    log.rows("a")
    log.wait(60)
    log.rows("a", ago=1)
    log.wait(60)
    log.labels("a")
    assert median(log.log.label_delay().since_arrival) == pytest.approx(120, rel=0.05)


# Arrivals


def at(log: Log, *seqs: int) -> list[float]:
    return (log.log.arrived(np.array(seqs)) / 1e6).tolist()


def test_everything_has_the_moment_of_its_commit(log: Log) -> None:
    log.rows("a", "b")
    log.wait(5)
    log.labels("a", "b")
    log.wait(5)
    log.rows("c")
    assert at(log, 5, 1, 4, 2) == [BEGIN + 10, BEGIN, BEGIN + 5, BEGIN]
    assert at(log, 6, 0) == [-1e-6] * 2


@pytest.mark.parametrize("spread", [1, 1000])
def test_however_far_apart_what_is_asked_for(log: Log, spread: int) -> None:
    for n in range(20):
        log.rows(*(f"r{n}-{k}" for k in range(spread)))
        log.wait(2)
    seqs = np.arange(20) * spread + 1
    assert at(log, *seqs.tolist()) == [BEGIN + 2 * n for n in range(20)]


def test_single_rows_that_follow_each_other_share_a_line(log: Log) -> None:
    for n in range(100):
        log.rows(f"r{n}")
        log.wait(0.1)
    with log.log._file.read() as db:
        (lines,) = db.execute("SELECT count(*) FROM arrival").fetchone()
    assert lines <= 12
    moments = np.array(at(log, *range(1, 101)))
    # Never before it came, and within a second.
    assert (moments >= BEGIN + np.arange(100) * 0.1 - 1e-5).all()
    assert (moments <= BEGIN + np.arange(100) * 0.1 + 1).all()


def test_times_within_a_commit_are_taken_as_evenly_spread(log: Log) -> None:
    records = [{"id": n, "t": BEGIN - 100 + n, "x": 1.0} for n in range(101)]
    parsed = parse_rows(orjson.dumps(records), JSON, SPEC, None, 0)
    log.log.append_rows(parsed.batch, parsed.schema)
    with log.log._file.read() as db:
        found = arrival.arrivals(db, np.array([1, 51, 101]))
    assert (found.time / 1e6).tolist() == [BEGIN - 100, BEGIN - 50, BEGIN]


# The horizon


def overdue(log: Log, *names: str) -> set[str]:
    return set(log.log.overdue(names, HOUR))


def test_a_first_label_is_late_after_the_horizon(log: Log) -> None:
    log.rows("a", "b", "c")
    log.labels("b")
    log.wait(HOUR)
    assert overdue(log, "a", "b", "c", "unknown") == set()
    log.wait(1)
    # One that has a label may be corrected or repeated whenever it comes.
    assert overdue(log, "a", "b", "c", "unknown") == {"a", "c"}


def test_a_history_may_be_loaded_at_any_time(log: Log) -> None:
    log.rows("old", ago=1000 * HOUR)
    log.rows("to come", ago=-HOUR)
    log.wait(HOUR)
    assert overdue(log, "old", "to come") == set()
    log.wait(HOUR / 2)
    assert overdue(log, "old", "to come") == {"old"}
    log.wait(HOUR)
    assert overdue(log, "old", "to come") == {"old", "to come"}


def test_rows_that_never_get_a_label_are_counted(log: Log) -> None:
    log.rows("a", "b", "c", "d")
    log.wait(120)
    log.labels("a", "b", "c")
    found = log.log.label_delay(HOUR)
    assert (found.overdue, found.in_time) == (0, None)
    log.wait(HOUR)
    log.rows("young")
    found = log.log.label_delay(HOUR)
    assert (found.overdue, found.in_time) == (1, 0.75)
    assert log.log.label_delay().overdue is None


def test_labels_with_and_before_their_rows_are_labels(log: Log) -> None:
    log.labels("early")
    log.rows("early")
    log.rows("along", y=1.0)
    log.rows("revised")
    log.rows("revised", ago=1, y=1.0)
    log.wait(HOUR + 60)
    assert log.log.label_delay(HOUR).overdue == 0


def test_a_deleted_row_counts_no_more(log: Log) -> None:
    log.rows("a", "b", "c")
    log.labels("c")
    log.wait(HOUR + 60)
    assert log.log.label_delay(HOUR).overdue == 2
    with log.log._file.write() as db:
        arrival.forget(db, [1, 3], [3])
        arrival.forget(db, [77], [77])
    found = log.log.label_delay(HOUR)
    assert (found.overdue, found.in_time) == (1, 0.0)


def test_rows_that_are_forgotten_or_dropped_count_no_more(log: Log) -> None:
    for n in range(4):
        log.rows(f"{n}-a", f"{n}-b")
        log.labels(f"{n}-a")
        log.wait(120)
    log.wait(HOUR)
    assert log.log.label_delay(HOUR).overdue == 4
    assert log.log.forget("3-b")
    assert log.log.forget("3-a")
    found = log.log.label_delay(HOUR)
    assert (found.overdue, found.in_time) == (3, 0.5)
    for n in range(4):
        log.rows(f"young-{n}")
    log.log.tidy(Limits(rows=5))
    left = log.log.counts()
    assert left.rows < 10
    found = log.log.label_delay(HOUR)
    old = left.rows - 4
    assert found.overdue == old - left.labelled
    assert found.in_time == (left.labelled / old if old else None)


def test_it_survives_a_restart_and_what_is_let_go_is_not_known_any_more(log: Log) -> None:
    log.rows("a", "b")
    log.wait(100)
    log.rows("c")
    log.labels("a")
    before = log.log.label_delay(10)
    log.log.close()
    log.log = RowLog(log.path, Task.REGRESSION, now=log.clock.now)
    assert log.log.label_delay(10) == before
    with log.log._file.write() as db:
        arrival.drop_before(db, 3)
    assert at(log, 1, 3) == [-1e-6, BEGIN + 100]


def refuse(labels: Sequence[object], late: set[str]) -> tuple[list[str], list[tuple[int, str]]]:
    spec = ModelSpec(
        name="demo", task=Task.REGRESSION, target="y", metric="r2", labels=LabelPolicy(horizon_s=60)
    )
    parsed = without_late(parse_labels(orjson.dumps(labels), JSON, spec), late, spec)
    assert all(item.record for item in parsed.rejected)
    told = [(item.index, item.reason) for item in parsed.rejected]
    return parsed.batch.ids.to_pylist(), told


def test_a_late_label_is_refused_with_its_place_and_the_key_to_change() -> None:
    sent = [{"id": n, "label": "x" if n == 1 else 2.5} for n in range(4)]
    ids, told = refuse(sent, {"2"})
    assert ids == ["0", "3"]
    assert [index for index, _ in told] == [1, 2]
    assert "LABELS__HORIZON_S=60 seconds" in told[1][1]
    assert refuse(sent, set())[0] == ["0", "2", "3"]


@pytest.mark.parametrize(("label", "task"), [(2.5, Task.REGRESSION), ("a", Task.BINARY)])
def test_the_record_of_a_late_label_can_be_sent_again(label: object, task: Task) -> None:
    spec = ModelSpec(name="demo", task=task, target="y", metric="r2")
    record = {"id": 'x"y', "label": label}
    late = without_late(parse_labels(orjson.dumps(record), JSON, spec), {'x"y'}, spec)
    assert orjson.loads(late.rejected[0].record) == record
