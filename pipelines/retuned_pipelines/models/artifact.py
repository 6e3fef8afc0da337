"""Fitted models as bytes, without pickle: a zip of JSON and a skops file.

The types that may be loaded are a fixed list; what a file itself asks for is never
trusted. Verify digest and signature before `load`: LightGBM aborts the process on a
corrupted tree.
"""

from __future__ import annotations

import io
import json
import zipfile

import skops.io

from retuned_pipelines.fitting import FittedModel
from retuned_pipelines.models.layout import Layout
from retuned_pipelines.recipe import Recipe
from retuned_pipelines.schema import Task

FORMAT = 1

TRUSTED = (
    "collections.OrderedDict",
    "lightgbm.basic.Booster",
    "lightgbm.sklearn.LGBMClassifier",
    "lightgbm.sklearn.LGBMRegressor",
    "numpy.dtype",
    "sklearn.tree._tree.Tree",
)

FOREIGN = (
    *TRUSTED,
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    "sklearn.utils._bunch.Bunch",
)
"""Types that a model from elsewhere may hold, beside scikit-learn's public estimators."""

_OWN = ("retuned_pipelines.models.imported.NamedRows",)

_EPOCH = (1980, 1, 1, 0, 0, 0)


def dump(model: FittedModel) -> bytes:
    """Write a model; the same model gives the same description, and loads anywhere."""
    about = {
        "format": FORMAT,
        "recipe": model.recipe.to_json(),
        "task": model.task.value,
        "classes": list(model.classes),
        "layout": model.layout.to_json(),
    }
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("model.json", _EPOCH), json.dumps(about))
        archive.writestr(
            zipfile.ZipInfo("estimator.skops", _EPOCH), skops.io.dumps(model.estimator)
        )
    return output.getvalue()


def load(data: bytes) -> FittedModel:
    """Read what `dump` wrote.

    Raises:
        ValueError: the bytes are no such file, are of a newer format, or hold a type that is
            not trusted.
    """
    try:
        return _loaded(data)
    except Exception as error:
        # Whatever stumbles over these bytes (zip, JSON, skops, a field that is not there).
        message = f"this is no model artifact that can be loaded: {type(error).__name__}: {error}"
        raise ValueError(message) from error


def _loaded(data: bytes) -> FittedModel:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        about = json.loads(archive.read("model.json"))
        estimator_data = archive.read("estimator.skops")
    if about["format"] != FORMAT:
        message = f"its format {about['format']} is not {FORMAT}; another release wrote it"
        raise ValueError(message)
    recipe = Recipe.from_json(about["recipe"])
    trusted = [*FOREIGN, *_OWN] if recipe.is_foreign else [*TRUSTED]
    return FittedModel(
        recipe=recipe,
        task=Task(about["task"]),
        classes=tuple(about["classes"]),
        layout=Layout.from_json(about["layout"]),
        estimator=skops.io.loads(estimator_data, trusted=trusted),
    )
