"""The largest number that rows and labels may have is one that everything can take."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.samples import window_of

from retuned.ingest.fields import LARGEST
from retuned_pipelines.evaluate.compare import compare
from retuned_pipelines.evaluate.metrics import row_losses, score
from retuned_pipelines.fitting import FittedModel, encoded_target, fit
from retuned_pipelines.recipe import Recipe
from retuned_pipelines.schema import Task
from retuned_pipelines.window import Window

SIZE = 400
REGRESSIONS = {
    "constant": Recipe.of("constant", {}),
    "ridge": Recipe.of("linear", {"alpha": 1.0, "loss": "squared"}),
    "huber": Recipe.of("linear", {"alpha": 1.0, "loss": "huber"}),
    "trees": Recipe.of("lightgbm", {"objective": "regression", "n_estimators": 50}),
    "trees by median": Recipe.of("lightgbm", {"objective": "regression_l1"}),
}
METRICS = (
    "neg_mean_absolute_error",
    "neg_mean_squared_error",
    "neg_root_mean_squared_error",
    "r2",
)


def numbers(scale: float) -> NDArray[np.float64]:
    plain = np.random.default_rng(0).normal(size=SIZE)
    return plain / np.abs(plain).max() * scale


def odd(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same with the largest numbers here and there."""
    found = values.copy()
    found[5:40], found[60:70] = LARGEST, -LARGEST
    return found


WINDOWS = {
    "plain": window_of({"x": numbers(1)}, numbers(1)),
    "large labels": window_of({"x": numbers(1)}, numbers(LARGEST)),
    "large features": window_of({"x": numbers(LARGEST)}, numbers(1)),
    "large now and then": window_of({"x": odd(numbers(1))}, odd(numbers(1))[::-1]),
}


def answers(model: FittedModel, asked: Window) -> NDArray[np.float64]:
    found = model.predict(model.layout.encode(asked.features))
    assert np.isfinite(found).all()
    return found


@pytest.mark.parametrize("recipe", REGRESSIONS.values(), ids=REGRESSIONS.keys())
@pytest.mark.parametrize("learned", WINDOWS.values(), ids=WINDOWS.keys())
def test_nothing_overflows_wherever_the_largest_numbers_come(
    learned: Window, recipe: Recipe
) -> None:
    model = fit(recipe, learned, Task.REGRESSION)
    for asked in WINDOWS.values():
        target, given = encoded_target(asked, ()), answers(model, asked)
        for metric in METRICS:
            assert np.isfinite(score(metric, Task.REGRESSION, target, given, ()))
            assert np.isfinite(np.var(row_losses(metric, Task.REGRESSION, target, given)))


@pytest.mark.parametrize("window", WINDOWS.values(), ids=WINDOWS.keys())
@pytest.mark.parametrize("metric", ["neg_mean_absolute_error", "neg_mean_squared_error"])
def test_models_of_the_largest_numbers_are_compared(metric: str, window: Window) -> None:
    ridge, constant = (
        answers(fit(REGRESSIONS[name], window, Task.REGRESSION), window)
        for name in ("ridge", "constant")
    )
    found = compare(
        metric,
        Task.REGRESSION,
        target=encoded_target(window, ()),
        challenger=ridge,
        rival=constant,
        classes=(),
        lengths=(len(window),),
        confidence=0.95,
        rng=np.random.default_rng(0),
    )
    assert np.isfinite([found.gain, found.lower, found.upper]).all()


@pytest.mark.parametrize("family", ["linear", "lightgbm"])
def test_classes_are_learned_from_the_largest_numbers(family: str) -> None:
    x = numbers(LARGEST)
    window = window_of({"x": x}, np.where(x > 0, "1", "0").astype(object))
    params = {"alpha": 1.0, "class_weight": None} if family == "linear" else {}
    given = answers(fit(Recipe.of(family, params), window, Task.BINARY), window)
    assert np.mean((given[:, 1] > 0.5) == (x > 0)) > 0.95


def test_trees_learn_the_largest_labels_as_they_are() -> None:
    window = WINDOWS["large labels"]
    target = encoded_target(window, ()) / LARGEST
    model = fit(REGRESSIONS["trees"], window, Task.REGRESSION)
    given = answers(model, window) / LARGEST
    assert np.mean((given - target) ** 2) < 0.1 * np.var(target)
