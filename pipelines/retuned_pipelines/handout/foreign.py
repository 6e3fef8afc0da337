"""A scikit-learn model from elsewhere becomes a fitted model of ours."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc
import skops.io
from sklearn.pipeline import Pipeline

from retuned_pipelines.fitting import FittedModel, classes_of
from retuned_pipelines.models.artifact import FOREIGN
from retuned_pipelines.models.imported import IMPORTED, NamedRows
from retuned_pipelines.models.layout import Layout
from retuned_pipelines.recipe import Recipe
from retuned_pipelines.schema import Kind, Schema

if TYPE_CHECKING:
    from retuned_pipelines.schema import Task
    from retuned_pipelines.window import Window

Estimator = Any
"""Scikit-learn has no types."""


def taken(data: bytes, window: Window, task: Task) -> FittedModel:
    """Make a skops file of a fitted scikit-learn estimator a model that can answer.

    Args:
        data: the skops file. Only a fixed list of types is loaded, whatever it asks for.
        window: the newest rows; categories and classes are those that they have.
        task: what it has to predict.

    Raises:
        ValueError: it cannot answer here; says why.
    """
    estimator = _loaded(data)
    layout = _layout(estimator, window)
    classes = _classes(estimator, window) if task.is_classification else ()
    if not classes and not hasattr(estimator, "predict"):
        message = f"{type(estimator).__name__} cannot predict"
        raise ValueError(message)
    if not classes and hasattr(estimator, "predict_proba"):
        message = f"{type(estimator).__name__} predicts classes, and the model predicts a number"
        raise ValueError(message)
    digest = hashlib.sha256(data).hexdigest()
    return FittedModel(
        recipe=Recipe.of(IMPORTED.name, {"estimator": type(estimator).__name__, "sha256": digest}),
        task=task,
        classes=classes,
        layout=layout,
        estimator=Pipeline([("rows", NamedRows.of(layout)), ("model", estimator)]),
    )


def _loaded(data: bytes) -> Estimator:
    try:
        unknown = sorted(set(skops.io.get_untrusted_types(data=data)) - set(FOREIGN))
        if not unknown:
            return skops.io.loads(data, trusted=list(FOREIGN))
    except Exception as error:
        # Whatever stumbles over bytes that anybody may have written.
        message = f"this is no skops file that can be loaded: {type(error).__name__}: {error}"
        raise ValueError(message) from error
    message = f"it holds types that are not trusted: {', '.join(unknown)}"
    raise ValueError(message)


def _layout(estimator: Estimator, window: Window) -> Layout:
    names = getattr(estimator, "feature_names_in_", None)
    if names is None:
        message = (
            "the estimator does not know its features by name: fit it on a pandas data frame, "
            "and if it is a Pipeline, let its first step keep feature_names_in_"
        )
        raise ValueError(message)
    known = {feature.name: feature for feature in window.schema.features}
    if foreign := [str(name) for name in names if name not in known]:
        message = (
            f"it wants {', '.join(foreign)}, which the model's rows do not have; they have "
            f"{', '.join(known)}"
        )
        raise ValueError(message)
    schema = Schema(tuple(known[str(name)] for name in names))
    return Layout(
        schema,
        {
            feature.name: tuple(
                sorted(pc.unique(window.features[feature.name]).drop_null().to_pylist())
            )
            for feature in schema.features
            if feature.kind is Kind.CATEGORY
        },
    )


def _classes(estimator: Estimator, window: Window) -> tuple[str, ...]:
    found = getattr(estimator, "classes_", None)
    if found is None or not hasattr(estimator, "predict_proba"):
        message = f"{type(estimator).__name__} has no predict_proba, which a classifier needs here"
        raise ValueError(message)
    classes = tuple(json.dumps(value, ensure_ascii=False) for value in np.asarray(found).tolist())
    known = classes_of(window)
    if unknown := sorted(set(classes) - set(known)):
        message = (
            f"its class {unknown[0]} is none of the newest labels, which are {', '.join(known)}: "
            "fit it on labels as they were sent"
        )
        raise ValueError(message)
    return classes
