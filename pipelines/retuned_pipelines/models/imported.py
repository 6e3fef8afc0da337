"""Models that came from elsewhere: scikit-learn estimators that were fitted on data frames.

They are never fitted here. Between the matrix that every model is asked with and the data frame
that such an estimator expects stands a transformer that knows names and categories.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from retuned_pipelines.models.family import Family, Plan
from retuned_pipelines.recipe import FOREIGN_FAMILY
from retuned_pipelines.schema import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Self

    import pandas as pd
    from numpy.typing import NDArray
    from sklearn.pipeline import Pipeline

    from retuned_pipelines.models.layout import Layout


class NamedRows(TransformerMixin, BaseEstimator):  # type: ignore[misc] # scikit-learn has no types
    """Turns an encoded matrix back into a data frame with names and categories."""

    def __init__(
        self, names: Sequence[str] = (), vocabularies: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        """Know the columns.

        Args:
            names: features in the matrix's order.
            vocabularies: the categories of each feature that has some, by code.
        """
        self.names = names
        self.vocabularies = vocabularies

    @classmethod
    def of(cls, layout: Layout) -> NamedRows:
        """Undo what a layout does to rows."""
        known = {
            feature.name: list(layout.vocabularies[feature.name])
            for feature in layout.schema.features
            if feature.kind is Kind.CATEGORY
        }
        return cls(names=list(layout.schema.names), vocabularies=known)

    def fit(self, _matrix: object, _target: object = None) -> Self:
        """Learn nothing."""
        return self

    def transform(self, matrix: NDArray[np.float64]) -> pd.DataFrame:
        """Name the columns of a matrix (n, features); codes become text, NaN stays missing."""
        import pandas as pd  # noqa: PLC0415 (only models from elsewhere need it)

        known = self.vocabularies or {}
        columns: dict[str, Any] = {}
        for position, name in enumerate(self.names):
            column = matrix[:, position]
            columns[name] = (
                pd.Series(_texts(column, known[name]), dtype="str") if name in known else column
            )
        return pd.DataFrame(columns)

    def __sklearn_is_fitted__(self) -> bool:
        """There is nothing to fit."""
        return True


def _texts(codes: NDArray[np.float64], known: Sequence[str]) -> list[str | None]:
    return [None if np.isnan(code) else known[int(code)] for code in codes]


def _refuse(_plan: Plan) -> Pipeline:
    message = "an imported model is not fitted again: import a newer one"
    raise ValueError(message)


IMPORTED = Family(
    name=FOREIGN_FAMILY,
    complexity=0,  # nothing takes its place for being simpler
    space=lambda _task: {},
    default=lambda _task: {},
    build=_refuse,
)
