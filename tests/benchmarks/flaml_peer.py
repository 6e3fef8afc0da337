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
    """One search a period; the model that it found answers the period."""

    def __init__(
        self,
        spec: ModelSpec,
        features: pa.Table,
        target: NDArray[np.generic],
        *,
        budget_s: float = BUDGET_S,
        threads: int = 1,
    ) -> None:
        """Take a stream's rows; text columns become pandas categories."""
        self._spec, self._target, self._frame = spec, target, frame_of(features)
        self._budget_s, self._threads = budget_s, threads
        self._known = 0
        self.fits = 0
        self.found = ""

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
        with warnings.catch_warnings(), threadpool_limits(self._threads):
            warnings.simplefilter("ignore")
            found = AutoML()
            found.fit(
                self._frame.iloc[: self._known],
                target,
                task="classification" if self._spec.task.is_classification else "regression",
                metric="accuracy" if self._spec.task.is_classification else "mae",
                time_budget=self._budget_s,
                n_jobs=self._threads,
                seed=self._spec.search.seed,
                verbose=0,
            )
            self.fits += 1
            self.found = f"{found.best_estimator} {found.best_config}"
            return np.asarray(found.predict(self._frame.iloc[start:stop])).ravel()


def frame_of(features: pa.Table) -> pd.DataFrame:
    """Features as the peers' libraries take them: text columns are pandas categories."""
    frame = features.to_pandas()
    text = [name for name in frame if not pd.api.types.is_numeric_dtype(frame[name])]
    return frame.astype(dict.fromkeys(text, "category"))


PEERS = {"flaml": FlamlPeer}
