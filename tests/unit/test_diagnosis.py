"""Over- and underfitting: tables, and simulations in which the truth is known."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from retuned_pipelines.recipe import Recipe
from retuned_pipelines.search.diagnosis import TOLERANCE, Diagnosis, diagnose, gain, lost_share
from retuned_pipelines.search.trial import Origin, Trial

MAE = "neg_mean_absolute_error"


def tried(
    number: int,
    validation: Sequence[float],
    train: Sequence[float],
    *,
    constant: Sequence[float] = (-1.0, -1.1, -0.9),
) -> Trial:
    return Trial(
        number=number,
        batch=0,
        origin=Origin.RANDOM,
        recipe=Recipe.of("linear", {"alpha": float(number)}),
        score=math.fsum(validation) / len(validation) if validation else None,
        train_score=math.fsum(train) / len(train) if train else None,
        fold_scores=tuple(validation),
        train_fold_scores=tuple(train),
        constant_scores=tuple(constant),
        constant_train_scores=tuple(constant),
    )


BEST = tried(0, (-0.50, -0.56, -0.46), (-0.40, -0.45, -0.38))


@pytest.mark.parametrize(
    ("validation", "train", "expected"),
    [
        # As good on new rows, however well it knows the old ones.
        ((-0.50, -0.57, -0.46), (0.0, 0.0, 0.0), Diagnosis.WELL_FITTED),
        # Behind by far less than what there is to gain.
        ((-0.51, -0.57, -0.47), (-0.5, -0.5, -0.5), Diagnosis.WELL_FITTED),
        # Behind on average, and as often ahead.
        ((-0.40, -0.75, -0.50), (-0.2, -0.2, -0.2), Diagnosis.WELL_FITTED),
        # Knows the old rows better and the new ones worse.
        ((-0.70, -0.76, -0.66), (-0.1, -0.1, -0.1), Diagnosis.OVERFITTED),
        # Knows both worse.
        ((-0.70, -0.76, -0.66), (-0.6, -0.7, -0.6), Diagnosis.UNDERFITTED),
        # Worse than a constant on new rows.
        ((-1.20, -1.30, -1.10), (-0.2, -0.2, -0.2), Diagnosis.OVERFITTED),
        ((-1.00, -1.10, -0.90), (-1.0, -1.1, -0.9), Diagnosis.UNDERFITTED),
    ],
)
def test_a_trial_is_told_by_the_best_one_and_the_constant(
    validation: Sequence[float], train: Sequence[float], expected: Diagnosis
) -> None:
    found = diagnose([BEST, tried(1, validation, train)], MAE)
    assert found == {0: Diagnosis.WELL_FITTED, 1: expected}


def test_where_there_is_nothing_to_learn_nothing_was_learned() -> None:
    none = tried(0, (-1.0, -1.1, -0.9), (-0.99, -1.09, -0.89))
    noise = tried(1, (-1.2, -1.2, -1.1), (-0.1, -0.1, -0.1))
    found = diagnose([none, noise], MAE)
    assert found == {0: Diagnosis.NOTHING_LEARNED, 1: Diagnosis.OVERFITTED}


def test_a_trial_that_failed_or_is_of_an_older_release_has_no_diagnosis() -> None:
    failed = tried(1, (), (), constant=())
    older = replace(BEST, number=3, train_fold_scores=(), constant_scores=())
    assert diagnose([BEST, failed, older], MAE) == {0: Diagnosis.WELL_FITTED}
    assert gain(older) is None
    assert lost_share(failed) is None


def test_trials_on_other_rows_are_compared_with_each_other() -> None:
    there = (-1.5, -1.4, -1.6)
    best = tried(1, (-0.9, -0.9, -0.8), (-0.8, -0.8, -0.8), constant=there)
    worse = tried(2, (-1.3, -1.3, -1.3), (-1.2, -1.2, -1.2), constant=there)
    assert diagnose([BEST, worse, best], MAE) == {
        0: Diagnosis.WELL_FITTED,
        1: Diagnosis.WELL_FITTED,
        2: Diagnosis.UNDERFITTED,
    }


def test_one_fold_tells_nothing_of_chance() -> None:
    assert diagnose([tried(0, (-0.5,), (-0.4,), constant=(-1.0,))], MAE) == {}


def test_what_is_lost_on_new_rows_is_a_share_of_what_was_gained_on_old_ones() -> None:
    trial = tried(0, (-0.7, -0.8, -0.6), (-0.4, -0.5, -0.3))
    assert gain(trial) == pytest.approx(0.3)
    assert lost_share(trial) == pytest.approx(0.5)
    assert lost_share(tried(0, (-1.0, -1.1, -0.9), (-1.0, -1.1, -0.9))) is None


NEIGHBOURS = (1, 3, 8, 20, 60, 120)
NOISE = 0.5


def wave(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.sin(4 * x) + 0.5 * np.cos(9 * x)


def answers(
    known: NDArray[np.float64], target: NDArray[np.float64], x: NDArray[np.float64], count: int
) -> NDArray[np.float64]:
    """Means of the nearest neighbours."""
    order = np.argsort(np.abs(x[:, None] - known[None, :]), axis=1)[:, : min(count, len(known))]
    return target[order].mean(axis=1)


def score(output: NDArray[np.float64] | float, target: NDArray[np.float64]) -> float:
    return -float(np.abs(output - target).mean())


def simulated(seed: int) -> tuple[list[Trial], list[str]]:
    """Trials of nearest neighbours on rows whose truth is known, and how each is really fitted."""
    rng = np.random.default_rng(seed)
    size = 300
    x = rng.uniform(-1, 1, size)
    y = wave(x) + NOISE * rng.normal(size=size)
    grid = np.linspace(-0.98, 0.98, 150)
    noise = NOISE * np.random.default_rng(1).normal(size=(1, 40))
    edges = np.linspace(size // 2, size, 4).astype(int)
    cuts = list(pairwise(edges))
    trials, risks = [], []
    for number, count in enumerate(NEIGHBOURS):
        folds, risk = [], []
        for start, stop in cuts:
            known, target, newest = x[:start], y[:start], slice(2 * start - stop, start)
            constant = float(np.median(target))
            folds.append(
                (
                    score(answers(known, target, x[start:stop], count), y[start:stop]),
                    score(answers(known, target, x[newest], count), y[newest]),
                    score(constant, y[start:stop]),
                    score(constant, y[newest]),
                )
            )
            output = answers(known, target, grid, count)
            risk.append(float(np.abs(wave(grid)[:, None] + noise - output[:, None]).mean()))
        validation, train, constants, seen = zip(*folds, strict=True)
        trial = tried(number, validation, train, constant=constants)
        trials.append(replace(trial, constant_train_scores=seen))
        risks.append(float(np.mean(risk)))
    worst = float(np.abs(wave(grid)[:, None] + noise).mean())
    best = int(np.argmin(risks))
    missed = [(risk - risks[best]) / (worst - risks[best]) for risk in risks]
    truth = [
        "well fitted" if share <= TOLERANCE else "overfitted" if number < best else "underfitted"
        for number, share in enumerate(missed)
    ]
    return trials, truth


def test_where_the_truth_is_known_it_is_found() -> None:
    told: Counter[tuple[str, str]] = Counter()
    for seed in range(40):
        trials, truth = simulated(seed)
        found = diagnose(trials, MAE)
        told.update((truth[number], found[number].value) for number in found)
    of = {name: sum(n for (real, _), n in told.items() if real == name) for name, _ in told}
    share = {key: count / of[key[0]] for key, count in told.items()}
    assert min(of.values()) > 30
    assert share["overfitted", "overfitted"] > 0.75
    assert share["underfitted", "underfitted"] > 0.95
    assert share["well fitted", "well fitted"] > 0.8
    assert share.get(("overfitted", "underfitted"), 0.0) < 0.02
    assert share.get(("underfitted", "overfitted"), 0.0) < 0.02
