"""Whether the trials of a study learned too much, too little, or what there is to learn.

A hypothesis overfits when another one does worse on the rows learned from and better on all
others (Mitchell 1997, section 3.7.1); it underfits when another one does better on both. The
other one is the study's best trial, so that the best found capacity divides the two
(Hastie et al. 2009, section 7.2). The gap between train and validation score alone would call
every forest overfitted.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from retuned_pipelines.evaluate.metrics import loss_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from retuned_pipelines.search.trial import Trial

ERRORS = 1.0
"""Standard errors over the folds by which a trial has to be behind the best one."""

TOLERANCE = 0.05
"""It must also miss this share of what the best one gains over a constant."""

_FEWEST_FOLDS = 2
_CLOSE = 1e-6


class Diagnosis(StrEnum):
    """What a trial learned."""

    WELL_FITTED = "well fitted"
    OVERFITTED = "overfitted"
    UNDERFITTED = "underfitted"
    NOTHING_LEARNED = "nothing learned"


def diagnose(trials: Sequence[Trial], metric: str) -> Mapping[int, Diagnosis]:
    """Tell of each trial, by its number, how well it is fitted.

    With v and t the validation and train scores of a fold less those of the constant that fits
    its labels best, and v*, t* those of the best trial:

    - a trial whose mean v is at most `ERRORS` standard errors (of v* - v, fold by fold) or
      `TOLERANCE` of the mean v* behind is *well fitted*;
    - of those further behind it is *overfitted* if its mean t is larger than that of t*, else
      *underfitted*;
    - where mean v is not above 0 the constant is as good: *overfitted* if mean t is above
      `TOLERANCE` of the constant's own loss, else *nothing learned* if that goes for the best
      trial too, and *underfitted* if others learned something.

    Trials are compared with those validated on the same folds, at least two; trials that failed
    have no diagnosis. It may change while a study runs, as better trials are found.
    """
    found: dict[int, Diagnosis] = {}
    known = [trial for trial in trials if _is_whole(trial)]
    while known:
        same = [trial for trial in known if _same_folds(trial, known[0])]
        known = [trial for trial in known if not _same_folds(trial, known[0])]
        best = max(same, key=lambda trial: (float(np.mean(trial.fold_scores)), -trial.number))
        found.update((trial.number, _one(trial, best, metric)) for trial in same)
    return found


def gain(trial: Trial) -> float | None:
    """Mean validation score less the constant's; None where a fold has none."""
    return float(_ahead(trial).mean()) if _is_whole(trial) else None


def lost_share(trial: Trial) -> float | None:
    """Share of what was gained over a constant on rows learned from that is lost on new ones.

    None where nothing was gained.
    """
    if not _is_whole(trial):
        return None
    seen = float(_ahead_seen(trial).mean())
    return (seen - float(_ahead(trial).mean())) / seen if seen > 0 else None


def _one(trial: Trial, best: Trial, metric: str) -> Diagnosis:
    ahead, most = _ahead(trial), _ahead(best)
    seen, most_seen = float(_ahead_seen(trial).mean()), float(_ahead_seen(best).mean())
    if ahead.mean() <= 0:
        loss = float(np.mean([loss_of(metric, s) for s in trial.constant_train_scores]))
        if seen > TOLERANCE * abs(loss):
            return Diagnosis.OVERFITTED
        is_anything = most.mean() > ERRORS * _error(most)
        return Diagnosis.UNDERFITTED if is_anything else Diagnosis.NOTHING_LEARNED
    behind = most - ahead
    if behind.mean() <= max(ERRORS * _error(behind), TOLERANCE * float(most.mean())):
        return Diagnosis.WELL_FITTED
    return Diagnosis.OVERFITTED if seen > most_seen else Diagnosis.UNDERFITTED


def _ahead(trial: Trial) -> NDArray[np.float64]:
    return np.subtract(trial.fold_scores, trial.constant_scores)


def _ahead_seen(trial: Trial) -> NDArray[np.float64]:
    return np.subtract(trial.train_fold_scores, trial.constant_train_scores)


def _error(values: NDArray[np.float64]) -> float:
    return float(values.std(ddof=1)) / math.sqrt(len(values))


def _is_whole(trial: Trial) -> bool:
    sizes = {
        len(trial.fold_scores),
        len(trial.train_fold_scores),
        len(trial.constant_scores),
        len(trial.constant_train_scores),
    }
    return len(sizes) == 1 and sizes.pop() >= _FEWEST_FOLDS


def _same_folds(trial: Trial, best: Trial) -> bool:
    """Whether both were validated on the same rows: the same constant did equally well there."""
    if len(trial.constant_scores) != len(best.constant_scores):
        return False
    return bool(np.allclose(trial.constant_scores, best.constant_scores, rtol=_CLOSE, atol=_CLOSE))
