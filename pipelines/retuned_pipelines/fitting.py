"""Recipe and window in, fitted model out."""

from __future__ import annotations

import json
import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from retuned_pipelines.models.families import SERVED
from retuned_pipelines.models.family import Plan
from retuned_pipelines.models.layout import Layout
from retuned_pipelines.window import evenly

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sklearn.pipeline import Pipeline

    from retuned_pipelines.recipe import Past, Recipe
    from retuned_pipelines.schema import Task
    from retuned_pipelines.window import Window


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FittedModel:
    """What a recipe became on a window.

    Attributes:
        recipe: how it was fitted.
        task: what it predicts.
        classes: JSON texts of the classes seen, in order; empty for regression.
        layout: how rows are encoded.
        estimator: the fitted pipeline.
    """

    recipe: Recipe
    task: Task
    classes: tuple[str, ...]
    layout: Layout
    estimator: Pipeline

    def predict(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """Predict encoded rows (n, features), which are newer than those learned from.

        Returns:
            Regression: predictions (n,). Classification: probabilities (n, classes), in the
            order of ``classes``.
        """
        if len(self.classes) == 1:
            return np.ones((len(matrix), 1))
        matrix = _prepared(self.recipe, matrix, np.full(len(matrix), _NOW))
        return SERVED[self.recipe.family].answer(self.estimator, matrix)


def fit(  # noqa: PLR0913 (what a fit depends on)
    recipe: Recipe,
    window: Window,
    task: Task,
    *,
    seed: int = 0,
    threads: int = 1,
    changed_seq: int = 0,
) -> FittedModel:
    """Fit a recipe on the labelled rows of a window that it wants to learn from.

    Where there is one row, or one class only, the model always answers that.

    Args:
        recipe: what to fit, and on how much of the past.
        window: rows; those without a label are left out.
        task: what to predict.
        seed: seed of everything random.
        threads: threads that fitting may use.
        changed_seq: newest sequence number before the last detected change; 0 for none.

    Raises:
        ValueError: no labelled rows.
    """
    known, age = learned(recipe.past, window, changed_seq)
    if len(known) == 0:
        message = "there are no labelled rows to learn from"
        raise ValueError(message)
    layout = Layout.learned(known.schema, known.features)
    classes = classes_of(known) if task.is_classification else ()
    is_constant = len(classes) == 1 or len(known) == 1
    family = SERVED["constant" if is_constant else recipe.family]
    plan = Plan(task=task, params=recipe.settings, layout=layout, seed=seed, threads=threads)
    estimator = family.build(plan)
    matrix = _prepared(recipe, layout.encode(known.features), -age)
    with warnings.catch_warnings():
        # Convergence, constant columns and absent feature names are no news to anybody here.
        warnings.simplefilter("ignore")
        estimator.fit(
            matrix,
            encoded_target(known, classes),
            **family.fit_params(plan),
            **_weights(recipe.past, age),
        )
    return FittedModel(
        recipe=recipe, task=task, classes=classes, layout=layout, estimator=estimator
    )


_NOW = 1e18
"""Time as a feature, of rows to predict: newer than everything learned from."""

_LEAST_SINCE_CHANGE = 100
"""Fewer labelled rows than this after a change are no window of their own."""


def learned(past: Past, window: Window, changed_seq: int = 0) -> tuple[Window, NDArray[np.float64]]:
    """The rows that a recipe learns from, and how many labelled rows are newer than each (n)."""
    known = window.labelled().newest(past.rows)
    if past.since_change and changed_seq:
        after = np.flatnonzero(known.seq > changed_seq)
        if len(after) >= _LEAST_SINCE_CHANGE:
            known = known.take(after)
    age = np.arange(len(known) - 1, -1, -1, dtype=np.float64)
    if past.sample_rows is not None and len(known) > past.sample_rows:
        kept = evenly(len(known), past.sample_rows)
        known, age = known.take(kept), age[kept]
    return known, age


def _prepared(
    recipe: Recipe, matrix: NDArray[np.float64], time: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The matrix (n, features) as the recipe's family takes it, with the time (n) if wanted."""
    family = SERVED[recipe.family]
    if math.isfinite(family.largest):
        matrix = np.clip(matrix, -family.largest, family.largest)
    if recipe.past.time_feature and family.takes_time:
        matrix = np.column_stack([matrix, time])
    return matrix


def _weights(past: Past, age: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    if past.half_life_rows is None:
        return {}
    return {"model__sample_weight": np.exp2(-age / past.half_life_rows)}


def classes_of(window: Window) -> tuple[str, ...]:
    """The classes among a window's labels: numbers by size, then everything else by text."""
    found = pc.unique(window.target.drop_null()).to_pylist()
    return tuple(sorted(found, key=_class_order))


def encoded_target(window: Window, classes: tuple[str, ...]) -> NDArray[Any]:
    """Labels for an estimator: float64 (n) without classes, else positions in ``classes``.

    A label that is missing or not among the classes is NaN, or -1.
    """
    if not classes:
        return np.asarray(pc.fill_null(window.target, float("nan")).to_numpy(zero_copy_only=False))
    codes = pc.index_in(window.target, pa.array(classes, pa.string()))
    return np.asarray(pc.fill_null(codes, -1).to_numpy(zero_copy_only=False), dtype=np.int64)


def aligned(
    output: NDArray[np.float64], classes: tuple[str, ...], wanted: tuple[str, ...]
) -> NDArray[np.float64]:
    """Probabilities (n, classes) in the order of ``wanted``; 0 for classes never seen."""
    if classes == wanted:
        return output
    result = np.zeros((len(output), len(wanted)))
    place = {name: position for position, name in enumerate(wanted)}
    for position, name in enumerate(classes):
        if name in place:
            result[:, place[name]] = output[:, position]
    return result


def _class_order(text: str) -> tuple[int, float, str]:
    value = json.loads(text)
    if isinstance(value, bool | int | float):
        return (0, float(value), text)
    return (1, 0.0, text)
