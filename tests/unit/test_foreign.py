"""Scikit-learn models from elsewhere answer here as they did there, or are refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder
from sklearn.svm import LinearSVC
from tests.samples import window_of

from retuned_pipelines.fitting import FittedModel, fit
from retuned_pipelines.handout.foreign import taken
from retuned_pipelines.models import artifact
from retuned_pipelines.recipe import Recipe
from retuned_pipelines.schema import Task
from retuned_pipelines.window import Window

SIZE = 90
X = np.linspace(-1.0, 1.0, SIZE)
SIDES = ["left", "right", None] * (SIZE // 3)
FRAME = pd.DataFrame({"x": X, "side": pd.Series(SIDES, dtype="str")})


def window(labels: Sequence[Any]) -> Window:
    return window_of({"side": SIDES, "x": X, "more": X}, labels)


def fitted(model: BaseEstimator, target: Any) -> bytes:
    sides = OneHotEncoder(handle_unknown="ignore")
    prepare = ColumnTransformer([("side", sides, ["side"])], remainder="passthrough")
    pipeline = Pipeline([("prepare", prepare), ("model", model)])
    return bytes(skops.io.dumps(pipeline.fit(FRAME, target)))


def answers(model: FittedModel, rows: Window) -> Any:
    return model.predict(model.layout.encode(rows.features))


@pytest.mark.parametrize(
    "model", [RandomForestClassifier(5, random_state=0), HistGradientBoostingClassifier(max_iter=5)]
)
@pytest.mark.parametrize("classes", [("a", "b"), (1, 2), (True, False)])
def test_a_classifier_answers_as_it_did(model: BaseEstimator, classes: tuple[Any, Any]) -> None:
    texts = (
        {"a": '"a"', "b": '"b"', 1: "1", 2: "2"}
        if classes != (True, False)
        else {
            True: "true",
            False: "false",
        }
    )
    target = [classes[int(value > 0)] for value in X]
    rows = window([texts[label] for label in target])
    data = fitted(model, np.array(target))
    kept = artifact.load(artifact.dump(taken(data, rows, Task.BINARY)))
    there = skops.io.loads(data, trusted=list(artifact.FOREIGN))
    assert kept.layout.schema.names == ("x", "side")
    assert kept.classes == tuple(texts[label] for label in there.classes_.tolist())
    assert np.array_equal(answers(kept, rows), there.predict_proba(FRAME))


def test_a_regressor_answers_as_it_did_and_is_named_by_its_content() -> None:
    data = fitted(LinearRegression(), 2 * X)
    model = taken(data, window(X.tolist()), Task.REGRESSION)
    there = skops.io.loads(data)
    assert np.array_equal(answers(model, window(X.tolist())), there.predict(FRAME))
    assert model.recipe.is_foreign
    assert model.recipe.settings["estimator"] == "Pipeline"
    assert model.recipe == taken(data, window(X.tolist()), Task.REGRESSION).recipe
    with pytest.raises(ValueError, match="not fitted again"):
        fit(model.recipe, window(X.tolist()), Task.REGRESSION)


def test_a_category_that_the_rows_never_had_is_missing_to_it() -> None:
    data = fitted(LinearRegression(), 2 * X)
    model = taken(data, window(X.tolist()), Task.REGRESSION)
    asked = window_of({"x": [0.5, 0.5], "side": ["never", None]}, [None, None])
    one, other = answers(model, asked)
    assert one == other


@pytest.mark.parametrize(
    ("data", "task", "told"),
    [
        (b"", Task.REGRESSION, "no skops file"),
        (b"PK\x03\x04", Task.REGRESSION, "no skops file"),
        (fitted(LinearSVC(), X > 0), Task.BINARY, "has no predict_proba"),
        (fitted(LogisticRegression(), X > 0), Task.REGRESSION, "predicts classes"),
        (
            fitted(LogisticRegression(), np.where(X > 0, "up", "down")),
            Task.BINARY,
            'its class "down" is none of the newest labels, which are "a", "b"',
        ),
        (fitted(DummyRegressor(), X), Task.BINARY, "has no predict_proba"),
        (
            skops.io.dumps(FunctionTransformer(pd.read_pickle)),
            Task.REGRESSION,
            "not trusted: pandas",
        ),
        (skops.io.dumps({"a": 1}), Task.REGRESSION, "does not know its features by name"),
    ],
)
def test_what_cannot_answer_is_refused_with_the_reason(data: bytes, task: Task, told: str) -> None:
    labels = X.tolist() if task is Task.REGRESSION else ['"a"', '"b"'] * (SIZE // 2)
    with pytest.raises(ValueError, match=told):
        taken(data, window(labels), task)


def test_an_artifact_of_ours_trusts_no_type_of_others() -> None:
    model = taken(fitted(LinearRegression(), X), window(X.tolist()), Task.REGRESSION)
    smuggled = FittedModel(
        recipe=Recipe.of("linear", {}),
        task=model.task,
        classes=(),
        layout=model.layout,
        estimator=model.estimator,
    )
    with pytest.raises(ValueError, match="NamedRows"):
        artifact.load(artifact.dump(smuggled))
