"""Linear models: ridge or Huber regression, logistic regression, on scaled numbers.

Numbers are imputed by their median (with an indicator column where some were missing) and
standardised; categories are one-hot encoded, rare ones together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import HuberRegressor, LogisticRegression, Ridge
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from retuned_pipelines.models.family import Family, Plan
from retuned_pipelines.schema import Task
from retuned_pipelines.search.space import Choice, Dimension, Real

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sklearn.base import BaseEstimator

    from retuned_pipelines.recipe import Scalar

_MAX_ONE_HOT = 50
_MAX_ITERATIONS = 300


def _space(task: Task) -> Mapping[str, Dimension]:
    space: dict[str, Dimension] = {"alpha": Real(1e-4, 1e3, log=True)}
    if task is Task.REGRESSION:
        space["loss"] = Choice(("squared", "huber"))
    else:
        space["class_weight"] = Choice((None, "balanced"))
    return space


def _default(task: Task) -> Mapping[str, Scalar]:
    if task is Task.REGRESSION:
        return {"alpha": 1.0, "loss": "squared"}
    return {"alpha": 1.0, "class_weight": None}


def _build(plan: Plan) -> Pipeline:
    numbers = Pipeline(
        [
            (
                "impute",
                SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True),
            ),
            ("scale", StandardScaler()),
        ]
    )
    one_hot = OneHotEncoder(
        handle_unknown="infrequent_if_exist", max_categories=_MAX_ONE_HOT, sparse_output=False
    )
    categories = Pipeline(
        [
            # A missing or unknown category is a category of its own.
            (
                "impute",
                SimpleImputer(strategy="constant", fill_value=-1.0, keep_empty_features=True),
            ),
            ("encode", one_hot),
        ]
    )
    prepare = ColumnTransformer(
        [
            ("numbers", numbers, list(plan.layout.number_columns)),
            ("categories", categories, list(plan.layout.category_columns)),
        ],
        sparse_threshold=0.0,
    )
    return Pipeline([("prepare", prepare), ("model", _model(plan))])


def _model(plan: Plan) -> BaseEstimator:
    alpha = float(plan.params["alpha"] or 0.0)
    if plan.task is not Task.REGRESSION:
        return LogisticRegression(
            C=1.0 / alpha,
            class_weight=plan.params["class_weight"],
            max_iter=_MAX_ITERATIONS,
            random_state=plan.seed,
        )
    if plan.params["loss"] == "huber":
        return HuberRegressor(alpha=alpha, max_iter=_MAX_ITERATIONS)
    return Ridge(alpha=alpha)


def _effort(_params: Mapping[str, Scalar], classes: int) -> float:
    """Measured: a third of LightGBM's defaults, for each class."""
    return 0.3 * classes


LINEAR = Family(
    name="linear", complexity=1, space=_space, default=_default, build=_build, effort=_effort
)
