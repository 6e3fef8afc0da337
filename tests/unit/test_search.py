"""Studies: reproducible, never the same recipe twice, and better than chance."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retuned_pipelines.models.families import default_recipe
from retuned_pipelines.recipe import EVERYTHING, Past, Recipe
from retuned_pipelines.schema import Task
from retuned_pipelines.search.firsts import first_recipes
from retuned_pipelines.search.sampler import propose
from retuned_pipelines.search.space import Choice, Real, Space, Whole
from retuned_pipelines.search.study import (
    MIN_WINDOW_ROWS,
    Proposal,
    best,
    next_batch,
    space_of,
)
from retuned_pipelines.search.trial import NO_COST, Cost, Footprint, GpuUse, Origin, Trial
from retuned_pipelines.spec import Method, SearchPolicy

POLICY = SearchPolicy(trials=16, random_trials=4, batch=4)
SPACE = space_of(Task.REGRESSION, POLICY, 10_000)
CHAMPION = Recipe.of("linear", {"alpha": 3.0, "loss": "huber"}, Past(rows=2000))

Score = Callable[[Recipe], float | None]


def hashed(recipe: Recipe) -> float | None:
    """A score without rhyme or reason; some recipes fail."""
    value = int(recipe.digest, 16)
    return None if value % 7 == 0 else (value % 1000) / 1000


def tried(proposal: Proposal, score: Score) -> Trial:
    value = score(proposal.recipe)
    return Trial(
        number=proposal.number,
        batch=proposal.batch,
        origin=proposal.origin,
        recipe=proposal.recipe,
        score=value,
        train_score=value,
    )


def study(
    policy: SearchPolicy = POLICY,
    *,
    score: Score = hashed,
    space: Space = SPACE,
    champion: Sequence[Recipe] = (CHAMPION,),
    recorded: Sequence[Trial] = (),
) -> list[Trial]:
    """Run a study to its end, beginning from recorded trials."""
    firsts = first_recipes(Task.REGRESSION, policy, space, champion)
    trials = {trial.number: trial for trial in recorded}
    asked: list[Proposal] = []
    for batch in range(math.ceil(policy.trials / policy.batch)):
        known = [trials[number] for number in sorted(trials)]
        proposals = next_batch(space, policy, firsts, known, batch, asked=asked)
        asked += proposals
        for proposal in proposals:
            trials.setdefault(proposal.number, tried(proposal, score))
    return [trials[number] for number in sorted(trials)]


@pytest.mark.parametrize("method", list(Method))
def test_a_study_is_reproducible(method: Method) -> None:
    policy = replace(POLICY, method=method)
    assert study(policy) == study(policy)
    assert study(policy) != study(replace(policy, seed=1))


@pytest.mark.parametrize("done", [1, 4, 6, 9, 15])
def test_an_interrupted_study_goes_on_as_if_nothing_had_happened(done: int) -> None:
    whole = study()
    assert study(recorded=whole[:done]) == whole


def test_trials_of_a_batch_may_come_back_in_any_order() -> None:
    whole = study()
    # Of the second batch only the last trial was recorded before the interruption.
    assert study(recorded=[*whole[:4], whole[7]]) == whole


@settings(max_examples=20)
@given(
    st.sampled_from(list(Method)),
    st.integers(1, 14),
    st.integers(1, 5),
    st.integers(0, 2**31),
    st.integers(0, 40_000),
)
def test_no_recipe_is_tried_twice(
    method: Method, trials: int, batch: int, seed: int, rows: int
) -> None:
    policy = replace(POLICY, method=method, trials=trials, batch=batch, seed=seed)
    found = study(policy, space=space_of(Task.REGRESSION, policy, rows))
    assert len({trial.recipe for trial in found}) == len(found) <= trials
    assert [trial.number for trial in found] == list(range(len(found)))


def test_a_small_space_is_exhausted_without_repeating() -> None:
    space = Space(families={"linear": {"loss": Choice(("squared", "huber"))}}, pasts=(EVERYTHING,))
    found = study(replace(POLICY, families=()), space=space, champion=())
    assert 1 <= len(found) <= 2
    assert len({trial.recipe for trial in found}) == len(found)


def test_defaults_come_first_then_the_champion_then_the_rest() -> None:
    found = study()
    assert [trial.origin for trial in found[:3]] == [
        Origin.DEFAULT,
        Origin.DEFAULT,
        Origin.CHAMPION,
    ]
    assert found[2].recipe == CHAMPION
    assert [trial.origin for trial in found[3:7]] == [Origin.RANDOM] * 4
    assert {trial.origin for trial in found[7:]} == {Origin.BAYESIAN}


def test_a_champion_that_is_a_default_is_not_tried_again() -> None:
    firsts = first_recipes(Task.REGRESSION, POLICY, SPACE, [default_recipe(Task.REGRESSION)])
    assert [origin for origin, _ in firsts] == [Origin.DEFAULT, Origin.DEFAULT]


def test_a_random_study_never_asks_the_estimator() -> None:
    origins = {trial.origin for trial in study(replace(POLICY, method=Method.RANDOM))}
    assert origins == {Origin.DEFAULT, Origin.CHAMPION, Origin.RANDOM}


def test_a_bayesian_study_is_random_for_one_batch_only() -> None:
    found = study(replace(POLICY, method=Method.BAYESIAN, random_trials=99))
    assert sum(trial.origin is Origin.RANDOM for trial in found) == POLICY.batch


@given(st.integers(0, 10**6))
def test_windows_offered_are_shares_of_the_rows_that_are_not_too_small(rows: int) -> None:
    pasts = space_of(Task.BINARY, POLICY, rows).pasts
    sizes = [past.rows for past in pasts if past.rows is not None]
    assert pasts[0] == EVERYTHING
    assert Past(time_feature=True) in pasts
    assert not any(past.since_change for past in pasts)
    changed = space_of(Task.BINARY, POLICY, rows, has_changed=True).pasts
    assert set(changed) - set(pasts) == {Past(since_change=True)}
    assert sizes == sorted(set(sizes), reverse=True)
    assert all(MIN_WINDOW_ROWS <= size <= rows / 2 + 1 for size in sizes)


def is_within(space: Space, recipe: Recipe) -> bool:
    if recipe.past not in space.pasts:
        return False
    for name, dimension in space.families[recipe.family].items():
        value = recipe.settings[name]
        if isinstance(dimension, Choice):
            if value not in dimension.values:
                return False
        elif not isinstance(value, int | float) or not dimension.low <= value <= dimension.high:
            return False
    return recipe.settings.keys() == space.families[recipe.family].keys()


@pytest.mark.parametrize("origin", [Origin.RANDOM, Origin.BAYESIAN])
def test_what_is_proposed_lies_in_the_space(origin: Origin) -> None:
    earlier = study()
    for seed in range(15):
        assert is_within(SPACE, propose(SPACE, earlier, origin, seed=(seed,)))


def test_a_champion_from_outside_of_the_space_does_no_harm() -> None:
    foreign = [
        Recipe.of("linear", {"alpha": 1e9, "loss": "squared"}),
        Recipe.of("linear", {"alpha": 1.0, "loss": "squared"}, Past(rows=12_345)),
        Recipe(family="constant"),
    ]
    found = study(champion=foreign)
    assert len(found) == POLICY.trials


def test_a_champion_of_a_release_with_other_hyperparameters_does_no_harm() -> None:
    older = [Recipe.of("linear", {"alpha": 1.0}), Recipe.of("linear", {"alpha": 1.0, "loss": "l1"})]
    assert len(study(champion=older)) == POLICY.trials


def test_a_study_in_which_everything_fails_goes_on() -> None:
    found = study(score=lambda _: None)
    assert len(found) == POLICY.trials
    assert best(found) is None


def test_the_estimator_beats_chance_on_average() -> None:
    space = Space(
        families={"linear": {"a": Real(-5.0, 5.0), "b": Real(-5.0, 5.0), "c": Whole(0, 20)}},
        pasts=(EVERYTHING,),
    )

    def bowl(recipe: Recipe) -> float:
        a, b, c = (float(recipe.settings[name] or 0) for name in "abc")
        return -((a - 2) ** 2) - (b + 1) ** 2 - ((c - 5) / 4) ** 2

    policy = replace(POLICY, families=(), trials=32, random_trials=8)
    found: dict[Method, list[float]] = {Method.AUTO: [], Method.RANDOM: []}
    for method, scores in found.items():
        for seed in range(12):
            trials = study(
                replace(policy, method=method, seed=seed), space=space, champion=(), score=bowl
            )
            scores.append(max(trial.score or -math.inf for trial in trials))
    assert np.mean(found[Method.AUTO]) > np.mean(found[Method.RANDOM])


def scored(number: int, family: str, *folds: float, alpha: float = 1.0) -> Trial:
    return Trial(
        number=number,
        batch=0,
        origin=Origin.RANDOM,
        recipe=Recipe.of(family, {"alpha": alpha}),
        score=float(np.mean(folds)) if folds else None,
        train_score=None,
        fold_scores=folds,
    )


@pytest.mark.parametrize(
    ("simple", "complicated", "winner"),
    [
        # Ahead on every fold by the same: certain, however little.
        ((0.80, 0.82, 0.84), (0.81, 0.83, 0.85), "lightgbm"),
        # Ahead by .01 on average, with a standard error of .013: as good.
        ((0.80, 0.82, 0.84), (0.78, 0.84, 0.87), "linear"),
        # Ahead by .022, with the same standard error.
        ((0.80, 0.82, 0.84), (0.80, 0.84, 0.886), "lightgbm"),
        # Ahead by .05.
        ((0.80, 0.82, 0.84), (0.82, 0.88, 0.91), "lightgbm"),
        ((0.80, 0.82, 0.84), (0.79, 0.80, 0.80), "linear"),
        # One fold, or another number of folds, says nothing about chance.
        ((0.80,), (0.81,), "lightgbm"),
        ((0.80, 0.82), (0.78, 0.84, 0.87), "lightgbm"),
    ],
)
def test_of_equals_the_simpler_is_put_forward(
    simple: tuple[float, ...], complicated: tuple[float, ...], winner: str
) -> None:
    found = best([scored(0, "lightgbm", *complicated), scored(1, "linear", *simple)])
    assert found is not None
    assert found.recipe.family == winner


def test_within_a_family_the_higher_score_wins() -> None:
    trials = [
        scored(0, "linear", 0.70, 0.90, alpha=1.0),
        scored(1, "linear", 0.75, 0.86, alpha=2.0),
        scored(2, "linear", 0.75, 0.86, alpha=3.0),
    ]
    found = best(trials)
    assert found is not None
    assert found.number == 1


def test_no_trial_has_no_best() -> None:
    assert best([]) is None
    assert best([scored(0, "linear")]) is None


def test_a_trial_survives_json_and_tells_its_gap() -> None:
    cost = Cost(wall_s=1.0, cpu_s=2.0, peak_mb=3.0)
    trial = replace(scored(3, "linear", 0.5, 0.7), train_score=0.9, cost=cost)
    assert trial.gap == pytest.approx(0.3)
    assert Trial.from_json(json.loads(json.dumps(trial.to_json()))) == trial
    assert scored(4, "linear").gap is None


def test_costs_add_up_but_peaks_do_not() -> None:
    total = Cost(wall_s=1.0, cpu_s=2.0, peak_mb=30.0) + Cost(wall_s=1.5, cpu_s=0.5, peak_mb=20.0)
    assert total == Cost(wall_s=2.5, cpu_s=2.5, peak_mb=30.0)
    assert total + NO_COST == total


@given(
    st.dictionaries(
        st.text(max_size=5),
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text()),
        max_size=4,
    ),
    st.one_of(st.none(), st.integers(1, 10**6)),
)
def test_a_recipe_survives_json(
    params: dict[str, str | int | float | bool | None], rows: int | None
) -> None:
    recipe = Recipe.of("linear", params, Past(rows=rows, time_feature=rows is None))
    again = Recipe.from_json(json.loads(json.dumps(recipe.to_json())))
    assert again == recipe
    assert again.digest == recipe.digest


def test_a_trial_with_everything_recorded_survives_json() -> None:
    trial = replace(
        scored(3, "linear", 0.5, 0.7),
        train_fold_scores=(0.6, 0.8),
        constant_scores=(0.1, 0.2),
        constant_train_scores=(0.1, 0.3),
        scores={"accuracy": 0.6},
        train_scores={"accuracy": 0.7},
        footprint=Footprint(fit_s=1.0, predict_us=2.0, model_bytes=3, rows=4),
        cost=Cost(
            wall_s=1.0,
            cpu_s=2.0,
            peak_mb=3.0,
            gpu=GpuUse(share=0.5, peak_mb=100.0, is_device_wide=True),
        ),
    )
    assert Trial.from_json(json.loads(json.dumps(trial.to_json()))) == trial


def test_trials_that_an_older_release_recorded_are_read() -> None:
    new = ("train_fold_scores", "constant_scores", "constant_train_scores")
    new = (*new, "scores", "train_scores", "footprint")
    told = {k: v for k, v in scored(3, "linear", 0.5, 0.7).to_json().items() if k not in new}
    told["cost"] = {"wall_s": 1.0, "cpu_s": 2.0, "peak_mb": 3.0}
    found = Trial.from_json(json.loads(json.dumps(told)))
    assert found.fold_scores == (0.5, 0.7)
    assert found.footprint is None
    assert found.cost.gpu is None


def test_of_two_uses_of_a_gpu_the_larger_is_kept() -> None:
    one = GpuUse(share=0.5, peak_mb=100.0, is_device_wide=False)
    other = GpuUse(share=0.2, peak_mb=300.0, is_device_wide=False)
    total = replace(NO_COST, gpu=one) + replace(NO_COST, gpu=other) + NO_COST
    assert total.gpu == GpuUse(share=0.5, peak_mb=300.0, is_device_wide=False)
