"""Recipe and window in, fitted model out."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from retuned_pipelines.models.families import FAMILIES
from retuned_pipelines.models.family import Plan
from retuned_pipelines.models.layout import Layout

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sklearn.pipeline import Pipeline

    from retuned_pipelines.recipe import Recipe
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
        """Predict encoded rows (n, features).

        Returns:
            Regression: predictions (n,). Classification: probabilities (n, classes), in the
            order of ``classes``.
        """
        if len(self.classes) == 1:
            return np.ones((len(matrix), 1))
        ask = self.estimator.predict if not self.classes else self.estimator.predict_proba
        return np.asarray(ask(matrix), dtype=np.float64)


def fit(
    recipe: Recipe, window: Window, task: Task, *, seed: int = 0, threads: int = 1
) -> FittedModel:
    """Fit a recipe on the newest labelled rows of a window.

    Where there is one row, or one class only, the model always answers that.

    Args:
        recipe: what to fit, and on how many of the newest rows.
        window: rows; those without a label are left out.
        task: what to predict.
        seed: seed of everything random.
        threads: threads that fitting may use.

    Raises:
        ValueError: no labelled rows.
    """
    known = window.labelled().newest(recipe.window_rows)
    if len(known) == 0:
        message = "there are no labelled rows to learn from"
        raise ValueError(message)
    layout = Layout.learned(known.schema, known.features)
    classes = classes_of(known) if task.is_classification else ()
    is_constant = len(classes) == 1 or len(known) == 1
    family = FAMILIES["constant" if is_constant else recipe.family]
    plan = Plan(task=task, params=recipe.settings, layout=layout, seed=seed, threads=threads)
    estimator = family.build(plan)
    with warnings.catch_warnings():
        # Convergence, constant columns and absent feature names are no news to anybody here.
        warnings.simplefilter("ignore")
        estimator.fit(
            layout.encode(known.features), encoded_target(known, classes), **family.fit_params(plan)
        )
    return FittedModel(
        recipe=recipe, task=task, classes=classes, layout=layout, estimator=estimator
    )


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
