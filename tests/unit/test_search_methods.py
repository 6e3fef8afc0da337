"""Every method on known functions: better than chance where it should be, never twice the same."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retuned_pipelines.models.families import effort
from retuned_pipelines.recipe import EVERYTHING, Past, Recipe, Scalar
from retuned_pipelines.schema import Task
from retuned_pipelines.search import cmaes, genetic
from retuned_pipelines.search.cube import place_of, recipe_at, value_at, width
from retuned_pipelines.search.grid import nodes
from retuned_pipelines.search.quasirandom import spread
from retuned_pipelines.search.space import Choice, Dimension, Real, Space, Whole
from retuned_pipelines.search.study import Proposal, next_batch, space_of
from retuned_pipelines.search.trial import Origin, Trial
from retuned_pipelines.spec import Method, SearchPolicy

POLICY = SearchPolicy(trials=40, random_trials=10, batch=4)
BOWL = Space(
    families={"linear": {"a": Real(-5.0, 5.0), "b": Real(-5.0, 5.0), "c": Whole(0, 20)}},
    pasts=(EVERYTHING,),
    rows=5000,
)
HOUSE = space_of(Task.REGRESSION, POLICY, 10_000)
"""The real space: two families, eight pasts, up to eight hyperparameters."""

Score = Callable[[Recipe], float | None]


def bowl(recipe: Recipe) -> float:
    a, b, c = (float(recipe.settings[name] or 0) for name in "abc")
    return -((a - 2) ** 2) - (b + 1) ** 2 - ((c - 5) / 4) ** 2


def house(recipe: Recipe) -> float:
    """Boosting beats lines, one past the others, and hyperparameters depend on each other."""
    at = {
        name: place_of(dimension, recipe.settings[name])
        for name, dimension in HOUSE.families[recipe.family].items()
    }
    loss = (0.3, 0.1, 0.2, 0.0, 0.1, 0.25, 0.4, 0.2)[HOUSE.pasts.index(recipe.past)]
    if recipe.family == "linear":
        return -1.0 - loss - (at["alpha"] - 0.4) ** 2
    loss += 2 * (at["learning_rate"] + at["n_estimators"] - 1.1) ** 2
    loss += (at["num_leaves"] - 0.7) ** 2 + 0.5 * (at["min_child_samples"] - 0.3) ** 2
    loss += {"regression": 0.2, "regression_l1": 0.0, "huber": 0.1}[
        str(recipe.settings["objective"])
    ]
    return -0.6 - loss


def study(
    method: Method, space: Space, score: Score, seed: int = 0, trials: int = 40
) -> list[Trial]:
    policy = replace(POLICY, method=method, seed=seed, trials=trials)
    found: list[Trial] = []
    asked: list[Proposal] = []
    for batch in range(math.ceil(trials / policy.batch)):
        proposals = next_batch(space, policy, (), found, batch, asked=asked)
        asked += proposals
        found += [tried(proposal, score) for proposal in proposals]
    return found


def tried(proposal: Proposal, score: Score) -> Trial:
    value = score(proposal.recipe)
    return Trial(
        number=proposal.number,
        batch=proposal.batch,
        origin=proposal.origin,
        recipe=proposal.recipe,
        score=value,
        train_score=value,
        share=proposal.share,
    )


def best_of(trials: list[Trial]) -> float:
    return max(trial.score for trial in trials if trial.score is not None)


@pytest.mark.parametrize(
    ("method", "space", "score", "trials", "least"),
    [
        (Method.GENETIC, BOWL, bowl, 40, 0.7),
        (Method.GENETIC, BOWL, bowl, 100, 0.9),
        (Method.GENETIC, HOUSE, house, 100, 0.55),
        (Method.CMAES, BOWL, bowl, 40, 0.65),
        (Method.CMAES, BOWL, bowl, 100, 0.8),
        (Method.CMAES, HOUSE, house, 40, 0.75),
        (Method.CMAES, HOUSE, house, 100, 0.8),
        (Method.GRID, HOUSE, house, 40, 0.7),
    ],
)
def test_what_learns_or_is_spread_beats_chance(
    method: Method, space: Space, score: Score, trials: int, least: float
) -> None:
    won, gains = [], []
    for seed in range(16):
        chance = best_of(study(Method.RANDOM, space, score, seed, trials))
        own = best_of(study(method, space, score, seed, trials))
        won.append(own > chance)
        gains.append(own - chance)
    assert np.mean(won) >= least
    assert np.mean(gains) > 0


def test_a_quasirandom_study_leaves_no_gap_where_one_hyperparameter_counts() -> None:
    def gap(method: Method, seed: int) -> float:
        """The widest part of a hyperparameter's range that no trial is in."""
        trials = study(method, BOWL, bowl, seed, trials=32)
        places = [place_of(BOWL.families["linear"]["a"], t.recipe.settings["a"]) for t in trials]
        return float(np.diff(sorted([0.0, *places, 1.0])).max())

    widest = [gap(Method.QUASIRANDOM, seed) for seed in range(16)]
    assert max(widest) <= 2 / 32
    assert min(gap(Method.RANDOM, seed) for seed in range(16)) > max(widest)


@pytest.mark.parametrize("method", list(Method))
@pytest.mark.parametrize("failing", [1, 3, 10**9])
def test_failed_trials_end_no_method_and_nothing_is_tried_twice(
    method: Method, failing: int
) -> None:
    def score(recipe: Recipe) -> float | None:
        return None if int(recipe.digest, 16) % failing == 0 else house(recipe)

    found = study(method, HOUSE, score)
    assert [trial.number for trial in found] == list(range(40))
    assert len({(trial.recipe, trial.share) for trial in found}) == 40


@pytest.mark.parametrize("method", [Method.GENETIC, Method.CMAES, Method.BAYESIAN])
def test_a_method_that_learns_leaves_the_family_that_is_worse(method: Method) -> None:
    newest = study(method, HOUSE, house, trials=80)[40:]
    assert np.mean([trial.recipe.family == "lightgbm" for trial in newest]) >= 0.6


@pytest.mark.parametrize("method", list(Method))
def test_spaces_of_one_choice_or_one_number_are_no_trouble(method: Method) -> None:
    tiny: list[dict[str, Dimension]] = [
        {"loss": Choice(("squared", "huber"))},
        {"alpha": Real(0.1, 1.0)},
        {"n": Whole(3, 3)},
        {},
    ]
    for dimensions in tiny:
        space = Space(families={"linear": dimensions}, pasts=(EVERYTHING,), rows=1000)
        found = study(method, space, lambda recipe: float(len(recipe.digest)), trials=12)
        assert 1 <= len(found) <= 12
        assert len({(trial.recipe, trial.share) for trial in found}) == len(found)


def test_a_grid_has_its_middle_first_and_then_every_past_and_choice_with_both_ends() -> None:
    space = Space(
        families={"linear": {"alpha": Real(1.0, 100.0, log=True), "loss": Choice(("l1", "l2"))}},
        pasts=(EVERYTHING, Past(rows=500)),
        rows=1000,
    )
    found = [trial.recipe for trial in study(Method.GRID, space, lambda _: 0.0, trials=12)]
    coarse, fine = found[:4], found[4:]
    assert {round(float(r.settings["alpha"] or 0)) for r in coarse} == {10}
    assert {(r.past, r.settings["loss"]) for r in coarse} == {
        (past, loss) for past in space.pasts for loss in ("l1", "l2")
    }
    assert {round(float(r.settings["alpha"] or 0)) for r in fine} == {1, 100}
    assert len(set(found)) == 12


def test_a_grid_ends_where_all_of_it_was_visited() -> None:
    space = Space(families={"linear": {"n": Whole(1, 3)}}, pasts=(EVERYTHING,), rows=1000)
    found = study(Method.GRID, space, lambda _: 0.0)
    assert sorted(int(t.recipe.settings["n"] or 0) for t in found) == [1, 2, 3]
    assert nodes(space, {trial.recipe for trial in found}, 0, seed=0) is None


def test_every_beginning_of_a_grid_is_spread_over_families_pasts_and_choices() -> None:
    begun = [trial.recipe for trial in study(Method.GRID, HOUSE, house, trials=24)]
    assert {recipe.past for recipe in begun} == set(HOUSE.pasts)
    assert sum(recipe.family == "linear" for recipe in begun) == 12
    boosted = [recipe for recipe in begun if recipe.family == "lightgbm"]
    assert {recipe.settings["objective"] for recipe in boosted} == {
        "regression",
        "regression_l1",
        "huber",
    }


@given(st.integers(0, 10_000), st.integers(0, 2**31))
def test_quasirandom_recipes_lie_in_the_space(position: int, seed: int) -> None:
    recipe = spread(HOUSE, position, seed=seed)
    assert recipe.past in HOUSE.pasts
    assert recipe.settings.keys() == HOUSE.families[recipe.family].keys()


@given(
    st.sampled_from(
        [
            Real(-2.0, 3.0),
            Real(1e-4, 1e3, log=True),
            Whole(-3, 9),
            Whole(30, 120, log=True),
            Whole(5, 5),
            Choice((None, "a", 3)),
        ]
    ),
    st.floats(0, 1),
)
def test_a_place_leads_to_a_value_and_the_value_back_to_it(
    dimension: Dimension, place: float
) -> None:
    value = value_at(dimension, place)
    again = value_at(dimension, place_of(dimension, value))
    if isinstance(dimension, Real):
        assert again == pytest.approx(value)
        assert dimension.low <= float(value or 0) <= dimension.high
    else:
        assert again == value


@pytest.mark.parametrize("value", ["text", None])
def test_what_is_no_number_has_no_place_among_numbers(value: Scalar) -> None:
    with pytest.raises(ValueError, match="no number"):
        place_of(Real(0.0, 1.0), value)


def test_whole_numbers_and_choices_have_equal_parts() -> None:
    places = (np.arange(1000) + 0.5) / 1000
    counts = [sum(value_at(Whole(1, 4), place) == n for place in places) for n in (1, 2, 3, 4)]
    assert counts == [250] * 4
    assert sum(value_at(Choice(("a", "b")), place) == "a" for place in places) == 500


def test_the_ends_of_the_cube_are_the_ends_of_the_space() -> None:
    low, high = (recipe_at(HOUSE, [end] * width(HOUSE)) for end in (0.0, 1.0))
    assert (low.family, high.family) == ("lightgbm", "linear")
    assert low.settings["n_estimators"] == 30
    assert high.settings["alpha"] == 1e3
    assert high.past == HOUSE.pasts[-1]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=30))
def test_parents_are_those_that_no_trial_beats_in_both(pairs: list[tuple[int, int]]) -> None:
    # Effort follows the rounds; the score is what the test says.
    trials = [
        Trial(
            number=number,
            batch=0,
            origin=Origin.RANDOM,
            recipe=Recipe.of("lightgbm", {"n_estimators": 10 * (1 + cheap), "n": number}),
            score=float(score),
            train_score=None,
        )
        for number, (score, cheap) in enumerate(pairs)
    ]

    def is_beaten(one: Trial) -> bool:
        mine = (-(one.score or 0.0), effort(one.recipe, 100))
        others = ((-(t.score or 0.0), effort(t.recipe, 100)) for t in trials)
        return any(o[0] <= mine[0] and o[1] <= mine[1] and o != mine for o in others)

    space = Space(families={"lightgbm": {"n": Whole(0, 99)}}, pasts=(EVERYTHING,), rows=100)
    unbeaten = {trial.recipe for trial in trials if not is_beaten(trial)}
    ranked = genetic.ranked(space, trials)
    assert {one.recipe for one in ranked if one.rank == 0} <= unbeaten
    if len(unbeaten) <= genetic.POPULATION:
        assert {one.recipe for one in ranked if one.rank == 0} == unbeaten
    assert len(ranked) == min(len(trials), genetic.POPULATION)


def test_a_family_begins_around_its_best_trial() -> None:
    begun = [
        Trial(
            number=number,
            batch=0,
            origin=Origin.DEFAULT,
            recipe=Recipe.of("linear", {"a": a, "b": 0.0, "c": 10}),
            score=-abs(a - 4.0),
            train_score=None,
        )
        for number, a in enumerate((-4.0, 4.0))
    ]
    drawn = [cmaes.sample(BOWL, begun, 2, seed=(seed,)) for seed in range(50)]
    assert np.mean([float(recipe.settings["a"] or 0) for recipe in drawn]) > 1.5
