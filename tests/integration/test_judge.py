"""The first comparison of a classifier: with one constant, whose order says nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest

from retuned.ingest.parse import JSON, parse_rows
from retuned.rows.log import RowLog
from retuned.tune.bench import Bench
from retuned.tune.inline import InlineExecutor
from retuned.tune.judge import judge
from retuned_pipelines.care.orders import BEGINNING, Judge
from retuned_pipelines.evaluate.verdict import Verdict
from retuned_pipelines.models.linear import LINEAR
from retuned_pipelines.recipe import Recipe
from retuned_pipelines.schema import Task
from retuned_pipelines.spec import ModelSpec

SPEC = ModelSpec(name="churn", task=Task.BINARY, target="y", metric="roc_auc", time="t")
ORDER = Judge(
    id="o1",
    as_of=0,
    challenger=Recipe.of("linear", LINEAR.default(Task.BINARY)),
    rival=Recipe(family="constant"),
    rival_name="constant",
    study="",
    boundary=BEGINNING,
    rows=5000,
)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[RowLog]:
    found = RowLog(tmp_path / "rows.sqlite", Task.BINARY)
    yield found
    found.close()


def feed(log: RowLog, *, signal: float) -> None:
    """500 labelled rows in which the share of positives swings."""
    rng = np.random.default_rng(4)
    x = rng.normal(size=500)
    level = 2 * np.sin(np.arange(500) / 25) + signal * x
    labels = rng.random(500) < 1 / (1 + np.exp(-level))
    rows = [
        {"id": n, "t": n, "x": float(value), "y": int(label)}
        for n, (value, label) in enumerate(zip(x, labels, strict=True))
    ]
    for start in range(0, 500, 25):
        batch = orjson.dumps(rows[start : start + 25])
        parsed = parse_rows(batch, JSON, SPEC, log.schema, 0)
        log.append_rows(parsed.batch, parsed.schema)


def verdict(log: RowLog, directory: Path, metric: str) -> Verdict:
    bench = Bench(executor=InlineExecutor(), directory=directory, stop=threading.Event())
    order = replace(ORDER, as_of=log.counts().last_seq)
    return judge(replace(SPEC, metric=metric), order, log, bench, 0.0).verdict


@pytest.mark.parametrize("metric", ["roc_auc", "balanced_accuracy"])
def test_a_constant_is_exactly_as_good_as_chance(log: RowLog, tmp_path: Path, metric: str) -> None:
    feed(log, signal=0.0)
    found = verdict(log, tmp_path, metric)
    assert found.rival_score == 0.5
    assert not found.is_promoted


def test_a_distance_is_compared_with_a_constant_that_learns(log: RowLog, tmp_path: Path) -> None:
    feed(log, signal=0.0)
    y = log.window(labelled=True).target.to_numpy(zero_copy_only=False).astype(float)
    found = verdict(log, tmp_path, "neg_log_loss")
    # Blocks of 25 rows; what was known before each of them.
    shares = np.repeat([y[:start].mean() for start in range(300, 500, 25)], 25)
    expected = np.mean(np.where(y[300:] == 1, np.log(shares), np.log(1 - shares)))
    assert found.rival_score == pytest.approx(expected, abs=0.01)


def test_a_signal_is_promoted_by_its_ranks(log: RowLog, tmp_path: Path) -> None:
    feed(log, signal=2.0)
    found = verdict(log, tmp_path, "roc_auc")
    assert found.is_promoted
    assert found.challenger_score > 0.7
