"""Halving and Hyperband: cheap first, promoted between batches, decided on everything."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from tests.samples import mixed

from retuned.words.recipes import origin_in_words
from retuned_pipelines.fitting import learned
from retuned_pipelines.models.families import default_recipe
from retuned_pipelines.recipe import EVERYTHING, Past, Recipe
from retuned_pipelines.schema import Task
from retuned_pipelines.search.halving import ETA, comparable, first_share, rungs, small
from retuned_pipelines.search.space import Real, Space
from retuned_pipelines.search.study import Proposal, best, next_batch
from retuned_pipelines.search.trial import Origin, Trial
from retuned_pipelines.spec import Method, SearchPolicy

POLICY = SearchPolicy(method=Method.HALVING, trials=80, random_trials=80)
SPACE = Space(families={"linear": {"a": Real(0.0, 1.0)}}, pasts=(EVERYTHING,), rows=2700)
FIRST = (Origin.DEFAULT, Recipe.of("linear", {"a": 0.0}))


def study(
    policy: SearchPolicy, *, noise: float = 0.0, recorded: tuple[Trial, ...] = ()
) -> list[Trial]:
    """The best is a = .7; on a share of the rows scores are noisier, and lower."""
    trials = {trial.number: trial for trial in recorded}
    asked: list[Proposal] = []
    for batch in range(math.ceil(policy.trials / policy.batch)):
        known = [trials[number] for number in sorted(trials)]
        proposals = next_batch(SPACE, policy, (FIRST,), known, batch, asked=asked)
        asked += proposals
        for proposal in proposals:
            rng = np.random.default_rng([policy.seed, proposal.number])
            a = float(proposal.recipe.settings["a"] or 0)
            score = -abs(a - 0.7) - (1 - proposal.share) + noise * rng.normal() / proposal.share
            found = Trial(
                number=proposal.number,
                batch=batch,
                origin=proposal.origin,
                recipe=proposal.recipe,
                score=None if proposal.number % 11 == 10 else score,
                train_score=None,
                share=proposal.share,
            )
            trials.setdefault(proposal.number, found)
    return [trials[number] for number in sorted(trials)]


@pytest.mark.parametrize(
    ("rows", "least", "shares"),
    [
        (100, 300, (1.0,)),
        (899, 300, (1.0,)),
        (900, 300, (1 / 3, 1.0)),
        (2700, 300, (1 / 9, 1 / 3, 1.0)),
        (10**6, 300, (1 / 27, 1 / 9, 1 / 3, 1.0)),
    ],
)
def test_the_smallest_rung_has_rows_enough(
    rows: int, least: int, shares: tuple[float, ...]
) -> None:
    assert rungs(rows, least) == pytest.approx(shares)


def test_most_trials_are_small_and_the_best_of_them_were_promoted() -> None:
    found = study(POLICY)
    counts = {share: sum(t.share == share for t in found) for share in rungs(SPACE.rows)}
    smallest, middle, whole = counts.values()
    # Some of those that were promoted early fell behind later: a few more than a third.
    assert smallest / ETA <= middle <= smallest / 2
    assert 3 <= whole <= middle / 2
    promoted = [t for t in found if t.origin is Origin.PROMOTED and t.is_whole]
    spread = [abs(float(t.recipe.settings["a"] or 0) - 0.7) for t in promoted]
    assert np.median(spread) < 0.1


def test_promotion_comes_between_batches_and_from_the_next_smaller_share() -> None:
    for trial in (t for t in study(POLICY) if t.origin is Origin.PROMOTED):
        before = [t for t in study(POLICY) if t.recipe == trial.recipe and t.batch < trial.batch]
        assert max(t.share for t in before) * ETA == pytest.approx(trial.share)


def test_what_failed_is_never_promoted() -> None:
    found = study(POLICY)
    failed = {(t.recipe, t.share) for t in found if t.score is None}
    assert failed
    for recipe, share in failed:
        assert not [t for t in found if t.recipe == recipe and t.share > share]


def test_only_what_was_tried_on_everything_is_put_forward() -> None:
    found = study(POLICY, noise=0.3)
    top = max(found, key=lambda t: -math.inf if t.score is None else t.score)
    winner = best([*found, replace(top, number=99, share=1 / 3, score=9.0)])
    assert winner is not None
    assert winner.is_whole


def test_halving_finds_more_than_random_search_for_the_same_rows() -> None:
    gains = []
    for seed in range(40):
        small_first = study(replace(POLICY, seed=seed), noise=0.005)
        rows = sum(trial.share for trial in small_first)
        policy = replace(POLICY, method=Method.RANDOM, seed=seed, trials=math.ceil(rows))
        gains.append(lost(study(policy, noise=0.005)) - lost(small_first))
    assert np.mean(gains) > 0.005
    assert sum(gain > 0 for gain in gains) > 1.5 * sum(gain < 0 for gain in gains)


def lost(trials: list[Trial]) -> float:
    found = best(trials)
    assert found is not None
    return abs(float(found.recipe.settings["a"] or 0) - 0.7)


@pytest.mark.parametrize("method", [Method.HALVING, Method.HYPERBAND])
@pytest.mark.parametrize("done", [1, 5, 18, 40, 63])
def test_an_interrupted_study_goes_on_as_if_nothing_had_happened(method: Method, done: int) -> None:
    policy = replace(POLICY, method=method)
    whole = study(policy, noise=0.1)
    assert study(policy, noise=0.1, recorded=tuple(whole[:done])) == whole


def test_hyperband_begins_some_recipes_on_more_rows() -> None:
    shares = rungs(2700)
    begun = [first_share(shares, number, has_brackets=True) for number in range(17)]
    assert [begun.count(share) for share in shares] == [9, 5, 3]
    assert {first_share(shares, n, has_brackets=False) for n in range(17)} == {shares[0]}
    assert first_share((1.0,), 5, has_brackets=True) == 1.0


def test_a_model_learns_from_one_share_the_largest_with_enough_trials() -> None:
    found = study(replace(POLICY, trials=400))
    assert {trial.share for trial in comparable(found)} == {1.0}
    assert {trial.share for trial in comparable(found[:6])} == {rungs(SPACE.rows)[0]}
    assert comparable([]) == []


def test_a_small_trial_learns_from_rows_spread_over_its_past_with_fewer_rounds() -> None:
    whole = replace(default_recipe(Task.REGRESSION), past=Past(rows=1600))
    little = small(whole, 1 / 4, 2000)
    assert little.settings["n_estimators"] == round(100 * 0.25**0.25)
    rows, age = learned(little.past, mixed(Task.REGRESSION, rows=2000))
    assert len(rows) == 400
    assert (age.max(), age.min()) == (1599, 0)
    assert np.ptp(np.diff(age)) <= 1
    assert small(whole, 1.0, 2000) == whole
    # A short past stays as it is.
    assert small(replace(whole, past=Past(rows=200)), 1 / 9, 2000).past.size(2000) == 200


def test_a_family_without_rounds_has_fewer_rows_only() -> None:
    line = default_recipe(Task.REGRESSION, "linear")
    little = small(line, 1 / 3, 3000)
    assert little.settings == line.settings
    assert little.past == Past(sample_rows=1000)


def test_a_trial_on_few_rows_says_so() -> None:
    small_one = study(POLICY)[1]
    assert origin_in_words(small_one.to_json()) == "random, 11% of the rows"
    assert origin_in_words(replace(small_one, share=1.0).to_json()) == "random"
    assert Trial.from_json(small_one.to_json()) == small_one
