"""The baseline that every model must beat: class frequencies, or the median."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.pipeline import Pipeline

from retuned_pipelines.models.family import Family, Plan
from retuned_pipelines.schema import Task

if TYPE_CHECKING:
    from collections.abc import Mapping

    from retuned_pipelines.recipe import Scalar
    from retuned_pipelines.search.space import Dimension


def _space(_task: Task) -> Mapping[str, Dimension]:
    return {}


def _default(_task: Task) -> Mapping[str, Scalar]:
    return {}


def _build(plan: Plan) -> Pipeline:
    if plan.task is Task.REGRESSION:
        return Pipeline([("model", DummyRegressor(strategy="median"))])
    return Pipeline([("model", DummyClassifier(strategy="prior"))])


CONSTANT = Family(name="constant", complexity=0, space=_space, default=_default, build=_build)
