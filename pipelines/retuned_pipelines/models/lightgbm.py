"""Gradient boosted trees (LightGBM; Ke et al. 2017), categories handled natively."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from lightgbm import LGBMClassifier, LGBMModel, LGBMRegressor
from sklearn.pipeline import Pipeline

from retuned_pipelines.models.family import Family, Plan, asked
from retuned_pipelines.schema import Task
from retuned_pipelines.search.space import Choice, Dimension, Real, Whole

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from retuned_pipelines.recipe import Scalar


def _space(task: Task) -> Mapping[str, Dimension]:
    space: dict[str, Dimension] = {
        "learning_rate": Real(0.01, 0.3, log=True),
        "n_estimators": Whole(30, 120, log=True),
        "num_leaves": Whole(4, 48, log=True),
        "min_child_samples": Whole(3, 100, log=True),
        "reg_lambda": Real(1e-3, 30.0, log=True),
        "colsample_bytree": Real(0.4, 1.0),
        "subsample": Real(0.5, 1.0),
    }
    if task is Task.REGRESSION:
        space["objective"] = Choice(("regression", "regression_l1", "huber"))
    else:
        space["class_weight"] = Choice((None, "balanced"))
    return space


def _default(task: Task) -> Mapping[str, Scalar]:
    """LightGBM's own defaults."""
    params: dict[str, Scalar] = {
        "learning_rate": 0.1,
        "n_estimators": 100,
        "num_leaves": 31,
        "min_child_samples": 20,
        "reg_lambda": 0.0,
        "colsample_bytree": 1.0,
        "subsample": 1.0,
    }
    if task is Task.REGRESSION:
        params["objective"] = "regression"
    else:
        params["class_weight"] = None
    return params


def _build(plan: Plan) -> Pipeline:
    params: dict[str, Any] = {
        **plan.params,
        "random_state": plan.seed,
        "n_jobs": plan.threads,
        "subsample_freq": 1,
        "deterministic": True,
        "force_row_wise": True,
        "verbose": -1,
    }
    kind = LGBMRegressor if plan.task is Task.REGRESSION else LGBMClassifier
    return Pipeline([("model", kind(**params))])


def _fit_params(plan: Plan) -> Mapping[str, Any]:
    return {"model__categorical_feature": list(plan.layout.category_columns)}


def _answer(estimator: Pipeline, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """The booster's own answer: the same as the pipeline's, for a tenth of its time on one row."""
    model = estimator.steps[-1][1]
    if not isinstance(model, LGBMModel):
        return asked(estimator, matrix)
    output = np.asarray(model.booster_.predict(matrix, num_threads=model.n_jobs))
    is_binary = isinstance(model, LGBMClassifier) and output.ndim == 1
    return np.column_stack([1.0 - output, output]) if is_binary else output


def _effort(params: Mapping[str, Scalar], classes: int) -> float:
    """A tree for each class and round; most of its cost is a pass over the rows."""
    return float(params["n_estimators"] or 0) / 100 * classes


LIGHTGBM = Family(
    name="lightgbm",
    complexity=2,
    space=_space,
    default=_default,
    build=_build,
    fit_params=_fit_params,
    answer=_answer,
    takes_time=True,
    effort=_effort,
    rounds="n_estimators",
)
