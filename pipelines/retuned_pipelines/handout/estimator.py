"""A champion as one scikit-learn estimator that needs nothing of retuned.

Members are pipelines that encode a data frame as `Layout` does; their weighted mean is a
VotingRegressor, or a VotingClassifier that says classes as clients sent them.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import VotingClassifier, VotingRegressor
from sklearn.impute import SimpleImputer
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import (
    LabelEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    StandardScaler,
)

from retuned_pipelines.handout.aligned import AlignedClassifier
from retuned_pipelines.models.families import SERVED
from retuned_pipelines.schema import Feature, Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from sklearn.base import BaseEstimator

    from retuned_pipelines.fitting import FittedModel
    from retuned_pipelines.handout.manifest import Share
    from retuned_pipelines.models.layout import Layout

_NEVER = "\0"
"""Stands in the vocabulary of a feature of which no category was ever seen."""


def estimator_of(shares: Sequence[Share], classes: tuple[str, ...]) -> BaseEstimator:
    """One estimator that answers as the champion does, to the last bits.

    It predicts data frames with the features' names (in any order, others are left alone), and
    matrices in the features' order. Products of weights are added in the members' order, as the
    champion does; the sum of the weights, which may miss 1 by a bit, is divided by.

    Args:
        shares: the members that are asked.
        classes: JSON texts of all classes that a member knows; empty for regression.
    """
    named = [(f"member_{n}", _member(share.model, classes)) for n, share in enumerate(shares)]
    if len(named) == 1 and (not classes or shares[0].model.recipe.is_foreign):
        return named[0][1]
    weights = [share.weight for share in shares]
    if not classes:
        voting = VotingRegressor(named, weights=weights)
    else:
        voting = VotingClassifier(named, voting="soft", weights=weights)
        voting.classes_ = _as_sent(classes)
        voting.le_ = LabelEncoder()
        voting.le_.classes_ = voting.classes_
    voting.estimators_ = [member for _, member in named]
    return voting


def _as_sent(classes: tuple[str, ...]) -> NDArray[Any]:
    values = [json.loads(name) for name in classes]
    if len({type(value) for value in values}) == 1:
        return np.array(values)
    mixed = np.empty(len(values), dtype=object)
    mixed[:] = values
    return mixed


def _member(model: FittedModel, classes: tuple[str, ...]) -> BaseEstimator:
    member = (
        model.estimator.steps[-1][1]
        if model.recipe.is_foreign
        else Pipeline(
            [("encode", _encoder(model.layout)), *_with_time(model), *model.estimator.steps]
        )
    )
    if model.classes == classes:
        return member
    columns = [classes.index(name) for name in model.classes]
    return AlignedClassifier(member, columns, len(classes))


def _encoder(layout: Layout) -> ColumnTransformer:
    """Encode a data frame as the layout does, feature by feature, so that columns stay in order."""
    features = layout.schema.features
    encoder = ColumnTransformer(
        [
            (f"feature_{n}", _column(layout, feature), [feature.name])
            for n, feature in enumerate(features)
        ],
        sparse_threshold=0.0,
    )
    # Fitted on a row of what is known, which is all that there is to learn.
    known = {f.name: [_example(layout, f)] for f in features}
    frame = pd.DataFrame(known).astype({f.name: _dtype(f) for f in features})
    return encoder.fit(frame)


def _column(layout: Layout, feature: Feature) -> BaseEstimator:
    if feature.kind is not Kind.CATEGORY:
        # Changes nothing, and takes whatever can be read as a number.
        return StandardScaler(with_mean=False, with_std=False)
    vocabulary = list(layout.vocabularies[feature.name]) or [_NEVER]
    return OrdinalEncoder(
        categories=[np.array(vocabulary, dtype=object)],
        handle_unknown="use_encoded_value",
        unknown_value=np.nan,
        encoded_missing_value=np.nan,
    )


def _example(layout: Layout, feature: Feature) -> str | float:
    if feature.kind is not Kind.CATEGORY:
        return 0.0
    return next(iter(layout.vocabularies[feature.name]), _NEVER)


def _dtype(feature: Feature) -> str:
    return "object" if feature.kind is Kind.CATEGORY else "float64"


def _with_time(model: FittedModel) -> list[tuple[str, BaseEstimator]]:
    """Append the time of rows to predict, where it is a feature of this member.

    All that a member learned from came at 0 or before, so 1 is later than all of it, and every
    tree sends it where the champion's own number for now goes.
    """
    if not (model.recipe.past.time_feature and SERVED[model.recipe.family].takes_time):
        return []
    nothing = np.zeros((1, len(model.layout.schema.features)))
    one = Pipeline(
        [
            ("known", SimpleImputer(strategy="constant", fill_value=0.0, keep_empty_features=True)),
            ("one", PolynomialFeatures(degree=0)),
        ]
    )
    return [("time", FeatureUnion([("features", "passthrough"), ("now", one)]).fit(nothing))]
