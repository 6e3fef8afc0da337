"""A classifier that knows fewer classes than its ensemble."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from numpy.typing import NDArray


class AlignedClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc] # as above
    """Puts a fitted classifier's probabilities into the columns of an ensemble's classes."""

    def __init__(
        self, estimator: object = None, columns: Sequence[int] = (), count: int = 0
    ) -> None:
        """Wrap a fitted classifier.

        Args:
            estimator: the classifier.
            columns: where each of its classes stands among the ensemble's.
            count: classes of the ensemble.
        """
        self.estimator = estimator
        self.columns = columns
        self.count = count

    @property
    def classes_(self) -> NDArray[np.int64]:
        """Positions of the ensemble's classes."""
        return np.arange(self.count)

    def fit(self, _rows: object, _target: object = None) -> Self:
        """Do nothing: the classifier is fitted already."""
        return self

    def predict_proba(self, rows: object) -> NDArray[np.float64]:
        """Probabilities (n, count); 0 for classes that the classifier never saw."""
        ask: Any = self.estimator
        found = ask.predict_proba(rows)
        output = np.zeros((len(found), self.count))
        output[:, list(self.columns)] = found
        return output

    def predict(self, rows: object) -> NDArray[np.int64]:
        """The most probable class's position (n)."""
        return np.asarray(self.predict_proba(rows).argmax(axis=1))
