"""River's forests, which learn row by row when the labels of a period come.

River's leveraging bagging is for classes only, and a bagging of regressors is another method: so
there is none for a regression.
"""

from __future__ import annotations

from numbers import Number
from typing import TYPE_CHECKING, Any

import numpy as np
from river.compose import SelectType
from river.ensemble import LeveragingBaggingClassifier
from river.forest import ARFClassifier, ARFRegressor
from river.preprocessing import OneHotEncoder, StandardScaler
from river.tree import HoeffdingTreeClassifier

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from retuned_pipelines.spec import ModelSpec


class RiverPeer:
    """A learner that predicts each row of a period, then learns each."""

    fits = 0

    def __init__(self, learner: Any, features: pa.Table, target: NDArray[np.generic]) -> None:
        """Take a learner and a stream's rows."""
        self._learner, self._features, self._target = learner, features, target

    def learn(self, start: int, stop: int) -> None:
        """Learn rows one by one, oldest first."""
        targets = self._target[start:stop].tolist()
        for row, target in zip(self._rows(start, stop), targets, strict=True):
            self._learner.learn_one(row, target)

    def answer(self, start: int, stop: int) -> NDArray[np.generic]:
        """Predict rows one by one; 0, or the first class, where nothing has been learned."""
        return np.array(
            [self._learner.predict_one(row) or 0 for row in self._rows(start, stop)],
            dtype=self._target.dtype,
        )

    def _rows(self, start: int, stop: int) -> list[dict[str, Any]]:
        """Rows as River knows them: what is missing is not there."""
        return [
            {name: value for name, value in row.items() if value is not None}
            for row in self._features.slice(start, stop - start).to_pylist()
        ]


def adaptive_forest(spec: ModelSpec, features: pa.Table, target: NDArray[np.generic]) -> RiverPeer:
    """River's adaptive random forest with its defaults.

    The linear models in a regressor's leaves take numbers only, and go astray where those are
    not of one scale.
    """
    seed = spec.search.seed
    if spec.task.is_classification:
        return RiverPeer(ARFClassifier(seed=seed), features, target)
    numbers = SelectType(Number) | StandardScaler()
    categories = SelectType(str) | OneHotEncoder()
    return RiverPeer((numbers + categories) | ARFRegressor(seed=seed), features, target)


def leveraging_bagging(
    spec: ModelSpec, features: pa.Table, target: NDArray[np.generic]
) -> RiverPeer:
    """River's leveraging bagging of Hoeffding trees with its defaults, for classes."""
    learner = LeveragingBaggingClassifier(HoeffdingTreeClassifier(), seed=spec.search.seed)
    return RiverPeer(learner, features, target)


PEERS = {"arf": adaptive_forest, "lb": leveraging_bagging}
