"""Housekeeping: one model's trouble is no other's."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from retuned.errors import PermanentError
from retuned.housekeeping import AGE_ROUNDS, Housekeeping
from retuned.rows.batch import RowBatch
from retuned.rows.house import RowLogs
from retuned.runtime.clock import SystemClock
from retuned_pipelines.schema import Feature, Kind, Schema, Task
from retuned_pipelines.spec import ModelSpec, RetainPolicy

SCHEMA = Schema((Feature("x", Kind.NUMBER),))


@pytest.fixture
def rows(tmp_path: Path) -> Iterator[RowLogs]:
    found = RowLogs(tmp_path)
    yield found
    found.close()


def append(rows: RowLogs, model: str, first: int, last: int) -> None:
    for n in range(first, last):
        batch = RowBatch(
            ids=pa.array([f"r{n}"]),
            time=np.array([n]),
            is_timed=True,
            features=pa.table([pa.array([1.0])], schema=SCHEMA.arrow),
            labels=pa.nulls(1, pa.float64()),
        )
        rows.of(model, Task.REGRESSION).append_rows(batch, SCHEMA)


def damage(path: Path, how: str) -> None:
    with sqlite3.connect(path) as db:
        db.execute(f"UPDATE batch SET data = {how} WHERE first_seq = 1")  # noqa: S608
    db.close()


def segments(path: Path) -> int:
    with sqlite3.connect(path) as db:
        (count,) = db.execute("SELECT count(*) FROM batch").fetchone()
    db.close()
    return int(count)


def housekeeping(rows: RowLogs, *models: str, days: float = 0) -> Housekeeping:
    keepers: Any = {
        name: SimpleNamespace(
            spec=ModelSpec(
                name=name,
                task=Task.REGRESSION,
                target="y",
                metric="neg_mean_absolute_error",
                retain=RetainPolicy(days=days),
            ),
            state=SimpleNamespace(reign=None),
        )
        for name in models
    }
    return Housekeeping(rows=rows, keepers=lambda: keepers, clock=SystemClock())


@pytest.mark.parametrize("how", ["zeroblob(length(data))", "substr(data, 1, 100)", "x'ffffffff'"])
def test_a_damaged_log_is_told_and_the_next_one_is_tidied(
    rows: RowLogs, tmp_path: Path, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    for model in ("first", "second"):
        append(rows, model, 0, 40)
    damage(tmp_path / "first.sqlite", how)
    housekeeping(rows, "first", "second").tidy()
    assert "first cannot be tidied" in caplog.text
    assert segments(tmp_path / "second.sqlite") == 1


def test_damaged_rows_are_told_as_such_and_do_not_stop_others(
    rows: RowLogs, tmp_path: Path
) -> None:
    append(rows, "demo", 0, 3)
    damage(tmp_path / "demo.sqlite", "zeroblob(length(data))")
    log = rows.of("demo", Task.REGRESSION)
    with pytest.raises(PermanentError, match=r"rows 1 to .* Restore its file from a backup"):
        log.window()
    with pytest.raises(PermanentError, match="damaged"):
        append(rows, "demo", 0, 1)
    append(rows, "demo", 3, 4)
    assert log.counts().rows == 4


def test_a_log_that_nobody_uses_is_let_alone_and_closed(rows: RowLogs, tmp_path: Path) -> None:
    append(rows, "demo", 0, 40)
    log, house = rows.of("demo", Task.REGRESSION), housekeeping(rows, "demo")
    house.tidy()
    uses = log.uses
    rows.rest_idle()
    house.tidy()
    rows.rest_idle()
    assert log.uses == uses
    assert (log._file._writer, log._file._reader) == (None, None)
    append(rows, "demo", 40, 80)
    house.tidy()
    assert segments(tmp_path / "demo.sqlite") == 2


def test_a_log_with_an_age_is_looked_at_though_nobody_uses_it(rows: RowLogs) -> None:
    append(rows, "demo", 0, 40)
    log, house = rows.of("demo", Task.REGRESSION), housekeeping(rows, "demo", days=1)
    house.tidy()
    uses = log.uses
    for _ in range(AGE_ROUNDS):
        house.tidy()
    assert log.uses > uses
