"""Optuna's TPE over LightGBM's hyperparameters by five shuffled folds: what many write today."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_score
from tests.benchmarks.flaml_peer import frame_of

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from retuned_pipelines.spec import ModelSpec

FOLDS = 5


class TpePeer:
    """One search, with all threads for one fit at a time; what was found is fitted on all rows."""

    def __init__(
        self,
        spec: ModelSpec,
        features: pa.Table,
        target: NDArray[np.generic],
        *,
        budget_s: float,
        threads: int,
    ) -> None:
        """Take a table's rows; text columns become pandas categories."""
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
        frame, target = self._frame.iloc[: self._known], self._target[: self._known]
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        study = optuna.create_study(
            direction="maximize", sampler=optuna.samplers.TPESampler(seed=self._spec.search.seed)
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            study.optimize(
                lambda trial: self._score(self._params(trial), frame, target),
                timeout=self._budget_s,
            )
            self.fits = len(study.trials)
            self.found = str(study.best_params)
            model = self._model(study.best_params).fit(frame, target)
            return np.asarray(model.predict(self._frame.iloc[start:stop])).ravel()

    def _score(self, params: dict[str, Any], frame: Any, target: NDArray[np.generic]) -> float:
        is_class = self._spec.task.is_classification
        kind = StratifiedKFold if is_class else KFold
        scores = cross_val_score(
            self._model(params),
            frame,
            target,
            scoring="accuracy" if is_class else "neg_mean_absolute_error",
            cv=kind(FOLDS, shuffle=True, random_state=self._spec.search.seed),
        )
        return float(scores.mean())

    def _model(self, params: dict[str, Any]) -> Any:
        kind = LGBMClassifier if self._spec.task.is_classification else LGBMRegressor
        seed = self._spec.search.seed
        return kind(**params, random_state=seed, n_jobs=self._threads, verbose=-1)

    @staticmethod
    def _params(trial: optuna.Trial) -> dict[str, Any]:
        """The space of Optuna's own LightGBM example, with rounds and learning rate."""
        return {
            "n_estimators": trial.suggest_int("n_estimators", 50, 1000, log=True),
            "learning_rate": trial.suggest_float("learning_rate", 0.01, 0.3, log=True),
            "reg_alpha": trial.suggest_float("reg_alpha", 1e-8, 10.0, log=True),
            "reg_lambda": trial.suggest_float("reg_lambda", 1e-8, 10.0, log=True),
            "num_leaves": trial.suggest_int("num_leaves", 2, 256, log=True),
            "colsample_bytree": trial.suggest_float("colsample_bytree", 0.4, 1.0),
            "subsample": trial.suggest_float("subsample", 0.4, 1.0),
            "subsample_freq": trial.suggest_int("subsample_freq", 1, 7),
            "min_child_samples": trial.suggest_int("min_child_samples", 5, 100),
        }
