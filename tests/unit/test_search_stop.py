"""When a study ends: the rule on studies that were recorded whole, and the budgets."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm

from retuned.errors import TransientError
from retuned.tune.halt import Halt
from retuned_pipelines.recipe import Recipe
from retuned_pipelines.search.stop import PATIENCE, has_plateaued, stopped_by_gain
from retuned_pipelines.search.trial import Cost, Origin, Trial
from retuned_pipelines.spec import SearchPolicy

POLICY = SearchPolicy()
FIRSTS = tuple(
    (Origin.DEFAULT, Recipe.of("linear", {"alpha": float(number)})) for number in range(2)
)

RECORDED: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent / "recorded_studies.json").read_text()
)
"""48 studies of 40 trials that nothing ended: twelve streams, from four moments of each, on the
newest 3,000 rows; the loss of each trial on its folds, and on the 750 rows after the study's."""

Rule = Callable[[list[Trial]], bool]


def trials_of(losses: Sequence[float | None]) -> list[Trial]:
    return [
        Trial(
            number=number,
            batch=number // POLICY.batch,
            origin=Origin.RANDOM,
            recipe=Recipe.of("linear", {"alpha": float(number)}),
            score=None if loss is None else -loss,
            train_score=None,
        )
        for number, loss in enumerate(losses)
    ]


def simulated(rule: Rule) -> tuple[float, float, float]:
    """Mean shares: of the loss given away on the folds and on later rows, and of trials saved."""
    folds, later, saved = [], [], []
    for study in RECORDED:
        trials = trials_of(study["validation"])
        ends = [n for n in range(POLICY.batch, len(trials), POLICY.batch) if rule(trials[:n])]
        made = ends[0] if ends else len(trials)
        losses = [math.inf if loss is None else loss for loss in study["validation"]]
        own, best = int(np.argmin(losses[:made])), int(np.argmin(losses))
        folds.append(given_away(losses[own], losses[best]))
        later.append(given_away(study["later"][own], study["later"][best]))
        saved.append(1 - made / len(trials))
    return float(np.mean(folds)), float(np.mean(later)), float(np.mean(saved))


def given_away(loss: float, best: float) -> float:
    """A share of the loss; where next to nothing is lost shares mean little, so a fifth at most."""
    return float(np.clip((loss - best) / max(abs(best), 1e-9), -0.2, 0.2))


def by_gain(trials: list[Trial]) -> bool:
    return has_plateaued(trials, POLICY, FIRSTS, "neg_mean_absolute_error")


def by_expected_improvement(trials: list[Trial]) -> bool:
    """Of a normal distribution with the median and the lower half of the last 12 losses."""
    losses = np.array([-(trial.score or 0.0) for trial in trials])
    if len(losses) < len(FIRSTS) + POLICY.random_trials + 4:
        return False
    newest = np.sort(losses[-PATIENCE:])
    spread = (np.median(newest) - newest[: PATIENCE // 2].mean()) / 0.7979 + 1e-12
    z = (losses.min() - np.median(newest)) / spread
    expected = spread * (z * norm.cdf(z) + norm.pdf(z))
    return bool(PATIENCE * expected < POLICY.min_gain * losses.min())


def test_on_recorded_studies_a_fifth_of_the_trials_is_saved_for_a_hundredth_of_the_loss() -> None:
    folds, later, saved = simulated(by_gain)
    assert folds < 0.015
    # By stream: 1.0 % with a standard error of 1.1.
    assert later < 0.01
    assert saved > 0.2


def test_expected_improvement_of_a_fitted_distribution_saves_less_and_loses_no_less() -> None:
    _, later, saved = simulated(by_gain)
    _, others_later, others_saved = simulated(by_expected_improvement)
    assert others_saved < saved
    assert others_later > later


def test_a_study_whose_last_trials_gained_nothing_ends() -> None:
    losses = [1.0 - 0.01 * number for number in range(14)]
    assert not by_gain(trials_of([*losses, *[0.9] * (PATIENCE - 1)]))
    assert by_gain(trials_of([*losses, *[0.9] * PATIENCE]))
    assert not by_gain(trials_of([*losses, *[0.9] * (PATIENCE - 1), 0.5]))


def test_random_trials_are_made_whatever_they_bring() -> None:
    assert not by_gain(trials_of([0.5] * (len(FIRSTS) + POLICY.random_trials + PATIENCE - 1)))
    assert by_gain(trials_of([0.5] * (len(FIRSTS) + POLICY.random_trials + PATIENCE)))


def test_earlier_finds_take_the_place_of_random_trials() -> None:
    found = tuple((Origin.EARLIER, recipe) for _, recipe in FIRSTS)
    trials = trials_of([0.5] * (len(FIRSTS) + POLICY.random_trials + PATIENCE))
    assert has_plateaued(trials, POLICY, (*FIRSTS, *found), "neg_log_loss")
    assert not has_plateaued(trials[:-1], POLICY, (*FIRSTS, *found), "neg_log_loss")


def test_the_smallest_gain_that_is_worth_it_is_the_operators() -> None:
    # Each trial brings a thousandth.
    trials = trials_of([0.999**number for number in range(40)])
    ends = {
        gain: has_plateaued(trials, replace(POLICY, min_gain=gain), FIRSTS, "neg_log_loss")
        for gain in (0.0, 0.005, 0.02)
    }
    assert ends == {0.0: False, 0.005: False, 0.02: True}
    assert not has_plateaued(
        trials_of([0.5] * 40), replace(POLICY, min_gain=0.0), FIRSTS, "neg_log_loss"
    )
    assert "0.50% (SEARCH__MIN_GAIN)" in stopped_by_gain(POLICY)


def test_trials_on_a_share_of_the_rows_say_nothing_of_the_gain() -> None:
    trials = [replace(trial, share=1 / 3) for trial in trials_of([0.5] * 40)]
    assert not by_gain(trials)


def test_a_study_in_which_everything_fails_does_not_end_by_its_gain() -> None:
    assert not by_gain(trials_of([None] * 40))


def halt(
    policy: SearchPolicy, *, spent_s: float = 0.0, cpu_s: float = 0.0, asked: str = ""
) -> Halt:
    cost = Cost(wall_s=1.0, cpu_s=cpu_s / 2, peak_mb=1.0)
    return Halt(
        policy=policy,
        spent_s=lambda: spent_s,
        trials=[replace(trial, cost=cost) for trial in trials_of([0.5, 0.5])],
        asked=lambda: asked,
    )


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (halt(POLICY, spent_s=899.0, cpu_s=1e9), ""),
        (halt(POLICY, spent_s=900.0), "the budget of 900 s (SEARCH__BUDGET_S) was used up"),
        (halt(replace(POLICY, budget_cpu_s=10.0), cpu_s=9.0), ""),
        (
            halt(replace(POLICY, budget_cpu_s=10.0), cpu_s=10.0),
            "the budget of 10 CPU seconds (SEARCH__BUDGET_CPU_S) was used up",
        ),
        (halt(POLICY, asked="ann stopped it: too warm"), "ann stopped it: too warm"),
    ],
)
def test_a_budget_or_an_operator_ends_a_study_and_says_so(found: Halt, reason: str) -> None:
    assert found.is_due() is bool(reason)
    assert found.reason == reason


def test_while_the_registry_is_away_nobody_has_asked() -> None:
    def away() -> str:
        message = "Redis is away"
        raise TransientError(message)

    found = replace(halt(POLICY), asked=away)
    assert not found.is_due()


def test_the_reason_that_came_first_stays() -> None:
    wishes = iter(["ann stopped it", ""])
    found = replace(halt(POLICY), asked=lambda: next(wishes))
    assert found.is_due()
    assert found.is_due()
    assert found.reason == "ann stopped it"
