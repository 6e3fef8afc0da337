"""FLAML, which searches anew at the start of each period on everything labelled by then."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from flaml import AutoML
from threadpoolctl import threadpool_limits

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from retuned_pipelines.spec import ModelSpec

BUDGET_S = 5
"""Seconds that each search may take."""


class FlamlPeer:
    """One search a period, on one thread; the model that it found answers the period."""

    def __init__(self, spec: ModelSpec, features: pa.Table, target: NDArray[np.generic]) -> None:
        """Take a stream's rows; text columns become pandas categories."""
        self._spec, self._target = spec, target
        frame = features.to_pandas()
        text = [name for name in frame if not pd.api.types.is_numeric_dtype(frame[name])]
        self._frame = frame.astype(dict.fromkeys(text, "category"))
        self._known = 0
        self.fits = 0

    def learn(self, start: int, stop: int) -> None:
        """Remember that these labels are known."""
        del start
        self._known = stop

    def answer(self, start: int, stop: int) -> NDArray[np.generic]:
        """Search, and predict with what was found."""
        target = self._target[: self._known]
        if self._spec.task.is_classification and (target == target[0]).all():
            # FLAML refuses to learn from one class.
            return np.full(stop - start, target[0])
        with warnings.catch_warnings(), threadpool_limits(1):
            warnings.simplefilter("ignore")
            found = AutoML()
            found.fit(
                self._frame.iloc[: self._known],
                target,
                task="classification" if self._spec.task.is_classification else "regression",
                metric="accuracy" if self._spec.task.is_classification else "mae",
                time_budget=BUDGET_S,
                n_jobs=1,
                seed=self._spec.search.seed,
                verbose=0,
            )
            self.fits += 1
            return np.asarray(found.predict(self._frame.iloc[start:stop])).ravel()


PEERS = {"flaml": FlamlPeer}
