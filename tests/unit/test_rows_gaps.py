"""Rows that come late in the order of time are dropped first: what lies around them stays right."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from retuned.rows.batch import LabelBatch, Receipt, RowBatch
from retuned.rows.log import RowLog
from retuned.rows.retain import Limits
from retuned_pipelines.schema import Feature, Kind, Schema, Task

SCHEMA = Schema((Feature("x", Kind.NUMBER),))


@pytest.fixture
def log(tmp_path: Path) -> Iterator[RowLog]:
    found = RowLog(tmp_path / "demo.sqlite", Task.REGRESSION)
    yield found
    found.close()


def append(log: RowLog, names: list[str], *, at: int, value: float = 1.0) -> Receipt:
    batch = RowBatch(
        ids=pa.array(names),
        time=np.full(len(names), at),
        is_timed=True,
        features=pa.table([pa.array([value] * len(names))], schema=SCHEMA.arrow),
        labels=pa.nulls(len(names), pa.float64()),
    )
    return log.append_rows(batch, SCHEMA)


def label(log: RowLog, name: str) -> Receipt:
    return log.append_labels(LabelBatch(ids=pa.array([name]), values=pa.array([1.0])))


def dropped_between(log: RowLog) -> None:
    for n in range(9):
        append(log, [f"a{n}"], at=100)
    append(log, ["old"], at=1)
    # The old row's segment goes before anything is merged.
    log._since_tidy = 0
    assert log.tidy(Limits(before_us=50)).rows == 1
    for n in range(9):
        append(log, [f"b{n}"], at=101)
    log.tidy(Limits())
    assert log.counts().rows == 18


def test_a_row_that_was_dropped_between_others_may_come_again(log: RowLog) -> None:
    dropped_between(log)
    assert append(log, ["old"], at=102).accepted == 1
    assert "old" in log.window().ids.to_pylist()
    assert log.counts().rows == 19


def test_a_label_of_a_row_that_was_dropped_between_others_waits_for_it(log: RowLog) -> None:
    dropped_between(log)
    label(log, "old")
    assert log.counts().labelled == 0
    append(log, ["old"], at=102)
    assert log.counts().labelled == 1


def revision_dropped(log: RowLog) -> None:
    append(log, ["r"], at=100)
    append(log, ["r"], at=1, value=2.0)
    log._since_tidy = 0
    assert log.tidy(Limits(before_us=50)).rows == 1
    assert log.counts().rows == 0


@pytest.mark.parametrize("value", [1.0, 3.0])
def test_a_row_whose_newest_content_was_dropped_comes_again_whatever_the_index_knows(
    tmp_path: Path, log: RowLog, value: float
) -> None:
    revision_dropped(log)
    log.rest()
    shutil.rmtree(tmp_path / "demo.ids", ignore_errors=True)
    assert append(log, ["r"], at=100, value=value).accepted == 1
    window = log.window()
    assert (window.ids.to_pylist(), window.features["x"].to_pylist()) == (["r"], [value])


def test_a_row_is_forgotten_whose_newest_content_was_dropped(log: RowLog) -> None:
    revision_dropped(log)
    assert log.forget("r")
    assert not log.forget("r")
    assert append(log, ["r"], at=100).forgotten == 1
    assert log.counts().rows == 0


def test_no_rows_are_asked_for_and_none_come(log: RowLog) -> None:
    append(log, ["a"], at=1)
    window = log.window(newest=0)
    assert (len(window), window.features.column_names) == (0, ["x"])


def test_of_very_many_labels_some_are_read_evenly_and_the_newest(log: RowLog) -> None:
    for n in range(30):
        append(log, [f"r{n}-{m}" for m in range(1000)], at=n)
    names = [f"r{n}-{m}" for n in range(30) for m in range(1000)]
    log.append_labels(LabelBatch(ids=pa.array(names), values=pa.array([1.0] * len(names))))
    last = log.counts().last_seq
    some = log.matured(0, last, most=100)
    assert some is not None
    assert 100 <= len(some) <= 300
    assert some.label_seq.max() == last
    assert np.diff(some.seq).max() < 2000
    every = log.matured(0, last)
    assert every is not None
    assert len(every) == 30_000
