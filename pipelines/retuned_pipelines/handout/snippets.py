"""Programs that load a model which left: each stands beside it, and in its card."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from retuned_pipelines.schema import Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from retuned_pipelines.schema import Feature

_SKOPS = '''\
"""Predicts rows from standard input, a JSON array of objects: python load.py < rows.json"""

import json
import sys
from pathlib import Path

import pandas as pd
import skops.io

FEATURES = {features}
TRUSTED = {trusted}
{moments}
model = skops.io.load(Path(__file__).parent / "model.skops", trusted=TRUSTED)


def predict(rows):
    """Predictions for a list of dictionaries, or a data frame."""
    frame = {frame}
    return {answer}


if __name__ == "__main__":
    print(json.dumps(predict(json.load(sys.stdin))))
'''

_FRAME = "pd.DataFrame(rows).reindex(columns=FEATURES)"

_MOMENTS = """TIMES = {times}


def in_seconds(frame):
    \"\"\"The frame with its moments as the model knows them: seconds since the epoch, UTC.\"\"\"
    for name in TIMES:
        if not pd.api.types.is_numeric_dtype(frame[name]):
            moments = pd.to_datetime(frame[name], utc=True, format="ISO8601").dt.as_unit("us")
            frame[name] = moments.astype("int64").where(moments.notna()) / 1e6
    return frame

"""

_NUMBERS = '{"predictions": model.predict(frame).tolist()}'
_CLASSES = """{
        "predictions": model.predict(frame).tolist(),
        "classes": model.classes_.tolist(),
        "probabilities": model.predict_proba(frame).tolist(),
    }"""

_LIGHTGBM = '''\
"""Predicts rows from standard input, a JSON array of objects: python load.py < rows.json"""

import json
import math
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import lightgbm
import numpy as np

folder = Path(__file__).parent
about = json.loads((folder / "features.json").read_text())
booster = lightgbm.Booster(model_file=str(folder / "model.txt"))


def encoded(feature, value):
    """Numbers as they are; a category as its position among the known ones; else missing."""
    if value is None:
        return math.nan
    if feature["kind"] == "timestamp" and isinstance(value, str):
        moment = datetime.fromisoformat(value)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) / 1e6
    if feature["kind"] != "category":
        return float(value)
    known = about["categories"][feature["name"]]
    return float(known.index(value)) if value in known else math.nan


def predict(rows):
    """Predictions for a list of dictionaries."""
    matrix = np.array([
        [encoded(feature, row.get(feature["name"])) for feature in about["features"]]
        + about["more"]
        for row in rows
    ])
    found = booster.predict(matrix)
    if not about["classes"]:
        return {"predictions": found.tolist()}
    if found.ndim == 1:
        found = np.column_stack([1.0 - found, found])
    return {
        "predictions": [about["classes"][n] for n in found.argmax(axis=1)],
        "classes": about["classes"],
        "probabilities": found.tolist(),
    }


if __name__ == "__main__":
    print(json.dumps(predict(json.load(sys.stdin))))
'''

_MLFLOW = '''\
"""Predicts rows from standard input, a JSON array of objects: python load.py < rows.json"""

import json
import sys
from pathlib import Path

import mlflow.pyfunc
import pandas as pd

model = mlflow.pyfunc.load_model(str(Path(__file__).parent))


def predict(rows):
    """Predictions for a list of dictionaries, or a data frame."""
    return {"predictions": model.predict(pd.DataFrame(rows)).tolist()}


if __name__ == "__main__":
    print(json.dumps(predict(json.load(sys.stdin))))
'''

_LOADER = '''\
"""What MLflow calls to load the model: `python_function` of the MLmodel file."""

import pandas as pd
import skops.io

FEATURES = {features}
TRUSTED = {trusted}
{moments}

class Model:
    """Predicts data frames with the features' names; what is not there is missing."""

    def __init__(self, estimator):
        self.estimator = estimator

    def predict(self, rows, params=None):
        frame = {frame}
        return self.estimator.predict(frame)

    def predict_proba(self, rows):
        frame = {frame}
        return self.estimator.predict_proba(frame)

    def get_raw_model(self):
        return self.estimator


def _load_pyfunc(path):
    return Model(skops.io.load(path, trusted=TRUSTED))
'''


def skops_snippet(features: Sequence[Feature], trusted: Sequence[str], *, is_classes: bool) -> str:
    """Load a skops file and predict; it trusts these types and no others."""
    answer = _CLASSES if is_classes else _NUMBERS
    return _SKOPS.format(**_filled(features, trusted), answer=answer)


def lightgbm_snippet() -> str:
    """Load LightGBM's text and predict rows, encoded as ``features.json`` says."""
    return _LIGHTGBM


def mlflow_snippet() -> str:
    """Load an MLflow model folder and predict."""
    return _MLFLOW


def mlflow_loader(features: Sequence[Feature], trusted: Sequence[str]) -> str:
    """The module that an MLmodel file names as its loader."""
    return _LOADER.format(**_filled(features, trusted))


def _filled(features: Sequence[Feature], trusted: Sequence[str]) -> dict[str, str]:
    """What both programs say of the model."""
    times = [feature.name for feature in features if feature.kind is Kind.TIMESTAMP]
    return {
        "features": _listed([feature.name for feature in features]),
        "trusted": _listed(trusted),
        "moments": _MOMENTS.format(times=_listed(times)) if times else "",
        "frame": f"in_seconds({_FRAME})" if times else _FRAME,
    }


def _listed(names: Sequence[str]) -> str:
    """A list of texts as Python source, an entry a line."""
    lines = "".join(f"    {json.dumps(name)},\n" for name in names)
    return f"[\n{lines}]"
