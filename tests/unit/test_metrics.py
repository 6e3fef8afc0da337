"""Scores are scikit-learn's own, and losses row by row fit them."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import Ridge
from sklearn.metrics import get_scorer, get_scorer_names
from sklearn.naive_bayes import GaussianNB

from retuned_pipelines.evaluate.metrics import is_row_mean, loss_of, row_losses, score, unfit
from retuned_pipelines.schema import Task

NAMES = ("0", "1", "2")


def usable(task: Task) -> list[str]:
    return [name for name in get_scorer_names() if unfit(name, task) is None]


def problem(task: Task) -> tuple[Any, NDArray[np.float64], NDArray[Any]]:
    """A fitted estimator and the rows that it is to be scored on."""
    rng = np.random.default_rng(7)
    rows = rng.normal(size=(400, 3))
    signal = rows @ [1.0, -0.5, 0.2] + rng.normal(size=400)
    if task is Task.REGRESSION:
        target: NDArray[Any] = np.exp(signal / 4) + 2.0
        return Ridge().fit(rows[:200], target[:200]), rows[200:], target[200:]
    target = np.digitize(signal, [0.3] if task is Task.BINARY else [-0.6, 0.7])
    return GaussianNB().fit(rows[:200], target[:200]), rows[200:], target[200:]


CASES = [(task, metric) for task in Task for metric in usable(task)]


@pytest.mark.parametrize(("task", "metric"), CASES)
def test_a_score_is_that_of_scikit_learn_s_scorer(task: Task, metric: str) -> None:
    model, rows, target = problem(task)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = get_scorer(metric)(model, rows, target)
    ask = model.predict_proba if task.is_classification else model.predict
    classes = NAMES[: len(model.classes_)] if task.is_classification else ()
    assert score(metric, task, target, ask(rows), classes) == pytest.approx(expected)


def test_the_usual_metrics_are_usable() -> None:
    assert {"neg_log_loss", "accuracy", "f1", "roc_auc", "average_precision"} <= set(
        usable(Task.BINARY)
    )
    assert {"neg_log_loss", "accuracy", "f1_macro", "roc_auc_ovr"} <= set(usable(Task.MULTICLASS))
    assert {"neg_mean_absolute_error", "r2", "neg_root_mean_squared_error"} <= set(
        usable(Task.REGRESSION)
    )


@pytest.mark.parametrize(
    ("metric", "task"),
    [
        ("accurracy", Task.BINARY),
        ("neg_mean_absolute_error", Task.BINARY),
        ("neg_root_mean_squared_error", Task.MULTICLASS),
        ("mutual_info_score", Task.MULTICLASS),
        ("positive_likelihood_ratio", Task.BINARY),
        ("f1", Task.MULTICLASS),
        ("roc_auc", Task.MULTICLASS),
        ("accuracy", Task.REGRESSION),
        ("neg_log_loss", Task.REGRESSION),
        ("roc_auc", Task.REGRESSION),
    ],
)
def test_a_metric_that_does_not_fit_the_task_is_told(metric: str, task: Task) -> None:
    why = unfit(metric, task)
    assert why is not None
    assert metric in why


@pytest.mark.parametrize(
    ("task", "metric"), [(task, metric) for task, metric in CASES if is_row_mean(metric)]
)
def test_row_losses_average_to_the_score_s_loss(task: Task, metric: str) -> None:
    model, rows, target = problem(task)
    output = (model.predict_proba if task.is_classification else model.predict)(rows)
    found = score(metric, task, target, output, NAMES[: output.shape[-1]])
    losses = row_losses(metric, task, target, output)
    assert losses.shape == target.shape
    assert losses.mean() == pytest.approx(loss_of(metric, found))


@pytest.mark.parametrize("metric", ["f1", "roc_auc"])
def test_other_classification_metrics_count_errors_row_by_row(metric: str) -> None:
    output = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6]])
    losses = row_losses(metric, Task.BINARY, np.array([0, 1, 0]), output)
    assert losses.tolist() == [0.0, 0.0, 1.0]


def test_other_regression_metrics_take_absolute_errors_row_by_row() -> None:
    losses = row_losses("r2", Task.REGRESSION, np.array([1.0, 5.0]), np.array([2.0, 2.0]))
    assert losses.tolist() == [1.0, 3.0]


@pytest.mark.parametrize("metric", ["accuracy", "neg_log_loss", "f1_macro"])
def test_a_class_that_the_model_does_not_know_is_an_error(metric: str) -> None:
    output = np.array([[1.0, 0.0], [1.0, 0.0]])
    known, unknown = row_losses(metric, Task.MULTICLASS, np.array([0, -1]), output)
    assert known == pytest.approx(0.0, abs=1e-12)
    assert unknown >= 1.0
    assert np.isfinite(unknown)


def test_a_sure_answer_that_is_wrong_costs_much_but_not_everything() -> None:
    output = np.array([[1.0, 0.0]])
    assert np.isfinite(score("neg_log_loss", Task.BINARY, np.array([1]), output, NAMES[:2]))


def test_one_class_has_no_ranking_score() -> None:
    output = np.array([[0.4, 0.6], [0.2, 0.8]])
    assert np.isnan(score("roc_auc", Task.BINARY, np.array([1, 1]), output, NAMES[:2]))


@pytest.mark.parametrize("metric", ["accuracy", "roc_auc", "neg_log_loss"])
def test_no_rows_have_no_score(metric: str) -> None:
    assert np.isnan(score(metric, Task.BINARY, np.empty(0, int), np.empty((0, 2)), NAMES[:2]))


@pytest.mark.parametrize(("task", "metric"), CASES)
def test_the_loss_of_a_better_score_is_smaller(task: Task, metric: str) -> None:
    model, rows, target = problem(task)
    worse = (model.predict_proba if task.is_classification else model.predict)(rows)
    better = np.eye(worse.shape[-1])[target] if task.is_classification else target.copy()
    classes = NAMES[: worse.shape[-1]] if task.is_classification else ()
    losses = [
        loss_of(metric, score(metric, task, target, output, classes)) for output in (better, worse)
    ]
    assert losses[0] <= losses[1]
    assert losses[0] == pytest.approx(0.0, abs=1e-9)
