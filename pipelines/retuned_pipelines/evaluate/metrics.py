"""Scores by scikit-learn's scorer names, and losses row by row.

A target is, for classification, int codes into ``classes`` and, for regression, float64. An
output is (n,) predictions for regression and (n, classes) probabilities otherwise.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.metrics import get_scorer, get_scorer_names

from retuned_pipelines.schema import Task

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Losses = Callable[[NDArray[Any], NDArray[np.float64]], NDArray[np.float64]]

_SMALLEST = 1e-15
_LARGEST_LOG = -np.log(1e-3)
_NEARLY_PERFECT = 1e-6
_NOT_OPTIMAL_AT_ONE = "neg_"
_RANKING = ("average_precision", "roc_auc")


def score(
    metric: str,
    task: Task,
    target: NDArray[Any],
    output: NDArray[np.float64],
    classes: tuple[str, ...],
) -> float:
    """Score outputs; higher is better.

    Args:
        metric: scikit-learn scorer name.
        task: what is predicted.
        target: truth (n).
        output: predictions or probabilities.
        classes: what target codes and probability columns stand for; for binary tasks the
            second is the positive one.

    Returns:
        The score; NaN where the metric has none for these rows (an AUC of one class).
    """
    if len(target) == 0:
        return float("nan")
    losses = _MEAN_LOSSES.get(metric)
    if losses is not None:
        mean = float(np.mean(losses(target, output)))
        return 1.0 - mean if metric == "accuracy" else -mean
    if metric == "neg_root_mean_squared_error":
        return -float(np.sqrt(np.mean(_squared(target, output))))
    stored = _StoredClass(len(classes)) if task.is_classification else _StoredNumber()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return float(get_scorer(metric)(stored, output, target))
        except ValueError:
            # One class only: not defined for ranking metrics.
            return float("nan")


def row_losses(
    metric: str, task: Task, target: NDArray[Any], output: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The loss of each row (n).

    Where the metric is a mean over rows, its own; otherwise the absolute error, or 1 for a
    wrong class and 0 for the right one. A class that the model does not know (code -1) is an
    error like any other.
    """
    losses = _MEAN_LOSSES.get(metric, _zero_one if task.is_classification else _absolute)
    return losses(target, output)


def bounded_losses(
    metric: str, task: Task, target: NDArray[Any], output: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The loss of each row (n), for weighing members: no single row decides.

    As `row_losses`, but a logarithmic loss is at most that of a probability of 1 in 1,000.
    """
    losses = row_losses(metric, task, target, output)
    return np.minimum(losses, _LARGEST_LOG) if metric == "neg_log_loss" else losses


def is_row_mean(metric: str) -> bool:
    """Whether a score is the mean of `row_losses` but for sign (and 1 less it, for accuracy)."""
    return metric in _MEAN_LOSSES


def is_distance(metric: str) -> bool:
    """Whether a score is a mean distance from the truth.

    What has learned nothing is farther from it than a constant. Scores that count or rank can be
    better than a constant's by luck, as often as not.
    """
    return is_row_mean(metric) and metric != "accuracy"


def is_squared(metric: str) -> bool:
    """Whether large errors count more than in proportion."""
    return "squared" in metric or metric in {"r2", "explained_variance"}


def is_ranking(metric: str) -> bool:
    """Whether a score compares the outputs of rows with each other, not with the truth.

    Outputs of different models must not be ranked together: their levels differ.
    """
    return metric.startswith(_RANKING)


def loss_of(metric: str, value: float) -> float:
    """Distance of a score from the best possible one: 0 is perfect."""
    return -value if metric.startswith(_NOT_OPTIMAL_AT_ONE) else 1.0 - value


def unfit(metric: str, task: Task) -> str | None:
    """Why a metric cannot be used for a task, in a sentence; None if it can."""
    if metric not in get_scorer_names():
        return f"{metric!r} is no scorer of scikit-learn; see sklearn.metrics.get_scorer_names()"
    target = np.array([0, 1] * 4) if task is Task.BINARY else np.array([0, 1, 2] * 3)
    width = 2 if task is Task.BINARY else 3
    perfect = np.eye(width)[target]
    output = 0.6 * perfect + 0.4 / width
    output[0] = np.roll(output[0], 1)
    if task is Task.REGRESSION:
        target, output = np.linspace(0.25, 7.0, 9), np.linspace(0.5, 6.0, 9)
        perfect = target
    classes = ("0", "1", "2")[:width]
    try:
        value = score(metric, task, target, output, classes)
        best = score(metric, task, target, perfect, classes)
    except (AttributeError, IndexError, TypeError, ValueError):
        value = best = float("nan")
    if not np.isfinite([value, best]).all():
        return f"{metric!r} cannot score a {task.value} task"
    if abs(loss_of(metric, best)) > _NEARLY_PERFECT or loss_of(metric, value) < 0:
        return f"{metric!r} has no best value that a gain could be measured from"
    return None


def _absolute(target: NDArray[Any], output: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.abs(np.asarray(target, dtype=np.float64) - output)


def _squared(target: NDArray[Any], output: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.square(np.asarray(target, dtype=np.float64) - output)


def _zero_one(target: NDArray[Any], output: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.argmax(output, axis=1) != target, dtype=np.float64)


def _log(target: NDArray[Any], output: NDArray[np.float64]) -> NDArray[np.float64]:
    codes = np.asarray(target, dtype=np.int64)
    given = output[np.arange(len(codes)), np.maximum(codes, 0)]
    given = np.where(codes < 0, 0.0, given) / output.sum(axis=1)
    return np.asarray(-np.log(np.clip(given, _SMALLEST, 1.0)))


_MEAN_LOSSES: dict[str, Losses] = {
    "accuracy": _zero_one,
    "neg_log_loss": _log,
    "neg_mean_absolute_error": _absolute,
    "neg_mean_squared_error": _squared,
}


class _StoredNumber(RegressorMixin, BaseEstimator):  # type: ignore[misc] # untyped library
    """Looks like a fitted regressor; what it is asked about is the answer."""

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def predict(self, output: NDArray[np.float64]) -> NDArray[np.float64]:
        return output


class _StoredClass(ClassifierMixin, BaseEstimator):  # type: ignore[misc] # untyped library
    """Looks like a fitted classifier; what it is asked about is the answer."""

    def __init__(self, count: int = 2) -> None:
        self.count = count

    @property
    def classes_(self) -> NDArray[np.int64]:
        return np.arange(self.count)

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def predict(self, output: NDArray[np.float64]) -> NDArray[np.int64]:
        return np.asarray(np.argmax(output, axis=1))

    def predict_proba(self, output: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(output / output.sum(axis=1, keepdims=True))
