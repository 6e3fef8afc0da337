"""Several scores at once: the same as scikit-learn's, one by one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from retuned_pipelines.evaluate.metrics import score
from retuned_pipelines.evaluate.scores import REPORTED, reported, scores
from retuned_pipelines.schema import Task


def rows_of(
    task: Task, size: int, seed: int, *, is_rounded: bool
) -> tuple[NDArray[Any], NDArray[np.float64], tuple[str, ...]]:
    """Truth and outputs, rounded so that some are the same."""
    rng = np.random.default_rng(seed)
    if task is Task.REGRESSION:
        target = rng.normal(size=size).round(1)
        output = target + rng.normal(size=size)
        return target, output.round(1) if is_rounded else output, ()
    count = 2 if task is Task.BINARY else int(rng.integers(3, 6))
    target = rng.integers(0, count, size)
    output = rng.dirichlet(np.ones(count), size)
    if is_rounded:
        output = (output.round(1) + 0.1) / (output.round(1) + 0.1).sum(axis=1, keepdims=True)
    return target, output, tuple(str(number) for number in range(count))


@settings(max_examples=150)
@given(st.sampled_from(list(Task)), st.integers(1, 60), st.integers(0, 10**6), st.booleans())
def test_each_is_the_one_of_scikit_learn(
    task: Task,
    size: int,
    seed: int,
    is_rounded: bool,  # noqa: FBT001 (drawn)
) -> None:
    target, output, classes = rows_of(task, size, seed, is_rounded=is_rounded)
    found = scores(REPORTED[task], task, target, output, classes)
    assert tuple(found) == REPORTED[task]
    for name, value in found.items():
        expected = score(name, task, target, output, classes)
        assert value == pytest.approx(expected, abs=1e-9, nan_ok=True), name


def test_rows_that_are_all_of_one_class_have_no_area_under_a_curve() -> None:
    output = np.array([[0.3, 0.7], [0.6, 0.4]])
    found = scores(REPORTED[Task.BINARY], Task.BINARY, np.array([1, 1]), output, ("0", "1"))
    assert math.isnan(found["roc_auc"])
    assert found["recall"] == 0.5


def test_a_class_that_is_not_known_is_an_error_like_any_other() -> None:
    output = np.array([[0.3, 0.7], [0.6, 0.4]])
    found = scores(("accuracy",), Task.BINARY, np.array([1, -1]), output, ("0", "1"))
    assert found == {"accuracy": 0.5}


def test_the_models_metric_comes_first_and_guards_are_recorded_too() -> None:
    names = reported(Task.BINARY, "f1", ("average_precision", "f1"))
    assert names[:2] == ("f1", "average_precision")
    assert set(names) == {"f1", "average_precision", *REPORTED[Task.BINARY]}
    target, output, classes = rows_of(Task.BINARY, 40, 1, is_rounded=False)
    found = scores(names, Task.BINARY, target, output, classes)
    expected = score("average_precision", Task.BINARY, target, output, classes)
    assert found["average_precision"] == pytest.approx(expected)


def test_no_rows_have_no_scores() -> None:
    found = scores(("r2",), Task.REGRESSION, np.array([]), np.array([]), ())
    assert math.isnan(found["r2"])
