"""What a model family is: a search space, a default, and a way to build an estimator."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray
    from sklearn.pipeline import Pipeline

    from retuned_pipelines.models.layout import Layout
    from retuned_pipelines.recipe import Scalar
    from retuned_pipelines.schema import Task
    from retuned_pipelines.search.space import Dimension


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What an estimator is built from.

    Attributes:
        task: what is predicted.
        params: hyperparameters, from the family's space.
        layout: the matrix's columns.
        seed: seed of everything random.
        threads: threads that fitting may use.
    """

    task: Task
    params: Mapping[str, Scalar]
    layout: Layout
    seed: int
    threads: int


def asked(estimator: Pipeline, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """What a fitted pipeline answers: numbers (n,), or probabilities (n, classes)."""
    ask = getattr(estimator, "predict_proba", estimator.predict)
    return np.asarray(ask(matrix), dtype=np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One kind of model.

    Attributes:
        name: how recipes name it.
        complexity: rank; of two equally good models the one of lower rank is preferred.
        space: hyperparameters that a study may choose, by name.
        default: sensible hyperparameters to begin with.
        build: an unfitted pipeline whose last step is called ``model``.
        fit_params: keyword arguments of the pipeline's ``fit``.
        answer: what a fitted pipeline answers to a matrix: numbers, or probabilities.
        takes_time: whether the position in time may be a feature: whether what is beyond the
            newest rows is answered as the newest, and not extrapolated.
        largest: larger numbers are taken as this one (single precision ends at 3.4e38).
        effort: what fitting one row costs, for a number of classes (1 for two, and for
            numbers), relative to LightGBM's defaults.
        portfolio: hyperparameter sets that a study tries beside the default.
        rounds: the hyperparameter that counts boosting rounds; "" where there is none.
    """

    name: str
    complexity: int
    space: Callable[[Task], Mapping[str, Dimension]]
    default: Callable[[Task], Mapping[str, Scalar]]
    build: Callable[[Plan], Pipeline]
    fit_params: Callable[[Plan], Mapping[str, Any]] = lambda _plan: {}
    answer: Callable[[Pipeline, NDArray[np.float64]], NDArray[np.float64]] = asked
    takes_time: bool = False
    largest: float = math.inf
    effort: Callable[[Mapping[str, Scalar], int], float] = lambda _params, _classes: 0.0
    portfolio: Callable[[Task], tuple[Mapping[str, Scalar], ...]] = lambda _task: ()
    rounds: str = ""
