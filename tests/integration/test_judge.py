"""The first comparison of a classifier: with one constant, whose order says nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pytest
import skops.io
from sklearn.linear_model import LogisticRegression

from retuned.ingest.parse import JSON, parse_rows
from retuned.rows.log import RowLog
from retuned.tune.bench import Bench
from retuned.tune.executor import Call, Outcome
from retuned.tune.inline import InlineExecutor
from retuned.tune.judge import judge
from retuned_pipelines.care.facts import Judged
from retuned_pipelines.care.orders import BEGINNING, Judge
from retuned_pipelines.evaluate.verdict import Verdict
from retuned_pipelines.handout.foreign import taken
from retuned_pipelines.models import artifact
from retuned_pipelines.models.linear import LINEAR
from retuned_pipelines.recipe import Recipe
from retuned_pipelines.schema import Task
from retuned_pipelines.spec import GatePolicy, ModelSpec
from retuned_pipelines.version import Member

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


# A challenger against a champion


CHALLENGE = replace(
    ORDER,
    rival_name="champion",
    study="s1",
    number=2,
)


def challenged(log: RowLog, directory: Path, policy: GatePolicy, **changes: Any) -> Judged:
    bench = Bench(executor=InlineExecutor(), directory=directory, stop=threading.Event())
    order = replace(CHALLENGE, as_of=log.counts().last_seq, **changes)
    return judge(replace(SPEC, metric="neg_log_loss", gate=policy), order, log, bench, 0.0)


def test_a_challenger_is_judged_by_its_number_and_looked_at_from_every_side(
    log: RowLog, tmp_path: Path
) -> None:
    feed(log, signal=2.0)
    policy = GatePolicy(guards=("recall",), guard_margin=0.5, slices=("y",), slice_rows=20)
    found = challenged(
        log, tmp_path, policy, rival=linear(alpha=1e6), default=linear(alpha=1e5)
    ).verdict
    assert found.is_promoted, found.reasons
    assert found.number == 2
    assert found.confidence == pytest.approx(0.9924, abs=1e-4)
    assert {check.aspect.value for check in found.checks} == {"default", "guard", "slice"}
    assert [check.subject for check in found.checks][-2:] == ["y=0", "y=1"]
    assert found.pace is not None


def test_a_challenger_that_is_worse_than_its_family_s_default_is_refused(
    log: RowLog, tmp_path: Path
) -> None:
    feed(log, signal=2.0)
    found = challenged(
        log,
        tmp_path,
        GatePolicy(),
        rival=linear(alpha=1e6),
        challenger=linear(alpha=1e3),
        default=linear(alpha=1.0),
    ).verdict
    assert not found.is_promoted
    assert "Overtuned" in found.reasons[0]
    assert "Better" in found.reasons[1]


@pytest.mark.parametrize(
    ("default", "is_better", "fitted"),
    [
        ("none", True, 2),
        ("of its own", True, 3),
        # It is what serves: its answers are there.
        ("the rival", True, 2),
        # Refused already.
        ("of its own", False, 2),
    ],
)
def test_a_default_is_fitted_where_it_may_change_the_verdict(
    *, log: RowLog, tmp_path: Path, default: str, is_better: bool, fitted: int
) -> None:
    feed(log, signal=2.0)
    weak, strong, other = (linear(alpha=alpha) for alpha in (1e6, 1.0, 1e5))
    executor = Counting()
    bench = Bench(executor=executor, directory=tmp_path, stop=threading.Event())
    rival = weak if is_better else strong
    order = replace(
        CHALLENGE,
        as_of=log.counts().last_seq,
        rival=rival,
        challenger=strong if is_better else weak,
        default={"none": None, "of its own": other, "the rival": rival}[default],
    )
    found = judge(replace(SPEC, metric="neg_log_loss"), order, log, bench, 0.0).verdict
    assert found.is_promoted is is_better
    assert executor.calls == fitted * found.blocks


def test_a_default_is_compared_in_the_challenger_s_place_among_the_members(
    log: RowLog, tmp_path: Path
) -> None:
    feed(log, signal=2.0)
    members = tuple(Member(recipe=linear(alpha=alpha), weight=0.5) for alpha in (1e6, 1e5))
    found = challenged(
        log,
        tmp_path,
        GatePolicy(),
        champion=members,
        rival=members[0].recipe,
        challenger=linear(alpha=1.0),
        default=members[1].recipe,
    ).verdict
    assert found.is_promoted
    (check,) = found.checks
    # The default is what the ensemble is made of already: in its place nothing changes.
    assert check.gain == pytest.approx(found.gain, abs=0.02)


def linear(*, alpha: float) -> Recipe:
    """A linear model that shrinks as much; 1e6 leaves little but a constant."""
    return Recipe.of("linear", {**LINEAR.default(Task.BINARY), "alpha": alpha})


class Counting(InlineExecutor):
    """Counts the calls."""

    calls = 0

    def submit(self, call: Call) -> Future[Outcome]:
        self.calls += 1
        return super().submit(call)


def test_a_champion_that_was_imported_meets_a_challenger_as_it_is_and_says_so(
    log: RowLog, tmp_path: Path
) -> None:
    feed(log, signal=2.0)
    window = log.window(labelled=True)
    frame = pd.DataFrame({"x": window.features["x"].to_numpy()})
    labels = window.target.to_numpy(zero_copy_only=False).astype(float).astype(int)
    # It has learned the opposite.
    wrong = LogisticRegression().fit(frame, 1 - labels)
    model = taken(skops.io.dumps(wrong), window, Task.BINARY)
    bench = Bench(executor=InlineExecutor(), directory=tmp_path, stop=threading.Event())
    order = replace(CHALLENGE, as_of=log.counts().last_seq, rival=model.recipe, rival_artifact="ab")
    found = judge(SPEC, order, log, bench, 0.0, rival=artifact.dump(model)).verdict
    assert found.is_promoted, found.reasons
    assert found.rival_score < 0.3
    assert "was imported: it was not refitted" in found.reasons[-1]
