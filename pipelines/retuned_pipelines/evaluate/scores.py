"""Several scores at once, by scikit-learn's scorer names.

Those of every study are computed from one table of confusions and one ranking, for a fraction
of what asking scikit-learn for each costs; any other name is asked of `metrics.score`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import rankdata

from retuned_pipelines.evaluate.metrics import score
from retuned_pipelines.schema import Task

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

REPORTED: Mapping[Task, tuple[str, ...]] = {
    Task.BINARY: (
        "neg_log_loss",
        "roc_auc",
        "accuracy",
        "balanced_accuracy",
        "precision",
        "recall",
        "f1",
    ),
    Task.MULTICLASS: (
        "neg_log_loss",
        "roc_auc_ovr",
        "accuracy",
        "balanced_accuracy",
        "precision_macro",
        "recall_macro",
        "f1_macro",
    ),
    Task.REGRESSION: (
        "neg_mean_absolute_error",
        "neg_root_mean_squared_error",
        "neg_median_absolute_error",
        "r2",
    ),
}
"""What is recorded of every trial, beside the model's own metric and its guards."""


def reported(task: Task, metric: str, guards: Iterable[str] = ()) -> tuple[str, ...]:
    """The scores that are recorded: the model's metric first, then its guards, each once."""
    return tuple(dict.fromkeys((metric, *guards, *REPORTED[task])))


def scores(
    names: Iterable[str],
    task: Task,
    target: NDArray[Any],
    output: NDArray[np.float64],
    classes: tuple[str, ...],
) -> dict[str, float]:
    """Score outputs by several metrics; as `metrics.score` by each of them.

    Args:
        names: scikit-learn scorer names.
        task: what is predicted.
        target: truth (n).
        output: predictions (n), or probabilities (n, classes).
        classes: what target codes and probability columns stand for.

    Returns:
        A score by name; NaN where a metric has none for these rows.
    """
    found: dict[str, float] = {}
    if len(target) and task is Task.REGRESSION:
        found = _numbers(np.asarray(target, dtype=np.float64), output)
    elif len(target) and int(target.min()) >= 0:
        found = _classes(np.asarray(target, dtype=np.int64), output)
    return {
        name: found[name] if name in found else score(name, task, target, output, classes)
        for name in names
    }


def _numbers(target: NDArray[np.float64], output: NDArray[np.float64]) -> dict[str, float]:
    errors = target - output
    squares = float(errors @ errors)
    found = {
        "neg_mean_absolute_error": -float(np.abs(errors).mean()),
        "neg_root_mean_squared_error": -float(np.sqrt(squares / len(errors))),
        "neg_median_absolute_error": -float(np.median(np.abs(errors))),
    }
    spread = float(np.square(target - target.mean()).sum())
    # Where all rows are the same, scikit-learn has rules of its own.
    return {**found, "r2": 1.0 - squares / spread} if spread > 0 else found


def _classes(target: NDArray[np.int64], output: NDArray[np.float64]) -> dict[str, float]:
    count = output.shape[1]
    guess = output.argmax(axis=1)
    confused = np.bincount(target * count + guess, minlength=count * count).reshape(count, count)
    hit, real, said = confused.diagonal(), confused.sum(axis=1), confused.sum(axis=0)
    is_real, is_there = real > 0, (real + said) > 0
    precision, recall = hit / np.maximum(said, 1), hit / np.maximum(real, 1)
    f1 = 2 * hit / np.maximum(real + said, 1)
    found = {
        "accuracy": hit.sum() / len(target),
        "balanced_accuracy": recall[is_real].mean(),
        "precision_macro": precision[is_there].mean(),
        "recall_macro": recall[is_there].mean(),
        "f1_macro": f1[is_there].mean(),
    }
    if count == 2:  # noqa: PLR2004 (the second class is the positive one)
        found |= {"precision": precision[1], "recall": recall[1], "f1": f1[1]}
    if is_real.all():
        found |= _ranked(target, output, real)
    return {name: float(value) for name, value in found.items()}


def _ranked(
    target: NDArray[np.int64], output: NDArray[np.float64], real: NDArray[np.int64]
) -> dict[str, float]:
    """Areas under the ROC curve, by the rank sums of Mann and Whitney (1947).

    Args:
        target: truth (n).
        output: probabilities (n, classes).
        real: rows of each class, none of which is 0.
    """
    shares = output / output.sum(axis=1, keepdims=True)
    is_binary = output.shape[1] == 2  # noqa: PLR2004
    ranks = rankdata(shares[:, 1:] if is_binary else shares, axis=0)
    areas = []
    for column, positive in zip(ranks.T, range(int(is_binary), len(real)), strict=True):
        inside = float(real[positive])
        won = column[target == positive].sum() - inside * (inside + 1) / 2
        areas.append(won / (inside * (len(target) - inside)))
    area = float(np.mean(areas))
    return {"roc_auc": area} if is_binary else {"roc_auc_ovr": area}
