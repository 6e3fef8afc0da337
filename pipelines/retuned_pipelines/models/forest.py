"""Extremely randomised trees (Geurts et al. 2006): cheap where there are many classes.

One tree serves all classes, where boosting needs a tree for each. Missing values are handled by
the trees; categories are taken as numbers, the most frequent first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor
from sklearn.pipeline import Pipeline

from retuned_pipelines.models.family import Family, Plan
from retuned_pipelines.schema import Task
from retuned_pipelines.search.space import Dimension, Real, Whole

if TYPE_CHECKING:
    from collections.abc import Mapping

    from retuned_pipelines.recipe import Scalar


def _space(_task: Task) -> Mapping[str, Dimension]:
    return {
        "n_estimators": Whole(30, 200, log=True),
        "min_samples_leaf": Whole(1, 30, log=True),
        "max_features": Real(0.1, 1.0),
    }


def _default(task: Task) -> Mapping[str, Scalar]:
    features = 1.0 if task is Task.REGRESSION else 0.5
    return {"n_estimators": 60, "min_samples_leaf": 3, "max_features": features}


def _build(plan: Plan) -> Pipeline:
    kind = ExtraTreesRegressor if plan.task is Task.REGRESSION else ExtraTreesClassifier
    return Pipeline([("model", kind(**plan.params, random_state=plan.seed, n_jobs=plan.threads))])


def _effort(params: Mapping[str, Scalar], _classes: int) -> float:
    """Measured: with its defaults four times LightGBM's, however many classes."""
    return 4.0 * float(params["n_estimators"] or 0) / 60


FOREST = Family(
    name="forest",
    complexity=3,
    space=_space,
    default=_default,
    build=_build,
    takes_time=True,
    largest=1e37,
    effort=_effort,
)
