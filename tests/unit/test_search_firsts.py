"""What is tried first, and how earlier finds come into a new study."""

from __future__ import annotations

from dataclasses import replace

import pytest

from retuned_pipelines.models import families
from retuned_pipelines.models.families import FAMILIES, default_recipe, effort
from retuned_pipelines.recipe import EVERYTHING, Past, Recipe
from retuned_pipelines.schema import Task
from retuned_pipelines.search import firsts as room
from retuned_pipelines.search.firsts import carried, first_recipes
from retuned_pipelines.search.sampler import nearest_past
from retuned_pipelines.search.study import finds, next_batch, space_of
from retuned_pipelines.search.trial import Origin, Trial
from retuned_pipelines.spec import SearchPolicy

POLICY = SearchPolicy()
SPACE = space_of(Task.REGRESSION, POLICY, 10_000)
LINE = Recipe.of("linear", {"alpha": 3.0, "loss": "huber"}, Past(rows=2000))
BOOSTED = Recipe.of(
    "lightgbm", {**default_recipe(Task.REGRESSION).settings, "num_leaves": 7}, Past(rows=4800)
)


def test_defaults_champion_earlier_finds_and_portfolios_each_the_cheaper_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    few = {"alpha": 100.0}
    family = replace(FAMILIES["linear"], portfolio=lambda _task: (few, {"alpha": 1.0}))
    monkeypatch.setattr(room, "FAMILIES", {**FAMILIES, "linear": family})
    champion = (BOOSTED, LINE)
    find = Recipe.of("linear", {"alpha": 9.0, "loss": "huber"}, Past(rows=1200))
    found = first_recipes(Task.REGRESSION, POLICY, SPACE, champion, (find,))
    assert [(origin, recipe.family) for origin, recipe in found] == [
        (Origin.DEFAULT, "linear"),
        (Origin.DEFAULT, "lightgbm"),
        (Origin.CHAMPION, "linear"),
        (Origin.CHAMPION, "lightgbm"),
        (Origin.EARLIER, "linear"),
        # The other one of the portfolio is the default.
        (Origin.PORTFOLIO, "linear"),
    ]
    assert found[2][1] == LINE
    assert found[4][1].past == Past(rows=1000)
    assert found[5][1].settings == {"alpha": 100.0, "loss": "squared"}


def test_of_a_kind_the_cheaper_is_tried_first() -> None:
    found = first_recipes(Task.REGRESSION, POLICY, SPACE, (BOOSTED, LINE))
    for kind in (Origin.DEFAULT, Origin.CHAMPION):
        costs = [effort(recipe, SPACE.rows) for origin, recipe in found if origin is kind]
        assert costs == sorted(costs)


def test_a_find_that_the_champion_has_is_not_tried_again() -> None:
    then = replace(BOOSTED, past=Past(rows=5100))
    found = first_recipes(Task.REGRESSION, POLICY, SPACE, (BOOSTED,), (then, LINE))
    assert [recipe for origin, recipe in found if origin is Origin.EARLIER] == [LINE]


def test_finds_that_are_one_in_the_new_space_are_tried_once() -> None:
    finds = [replace(LINE, past=Past(rows=rows)) for rows in (1900, 2000, 2100)]
    found = first_recipes(Task.REGRESSION, POLICY, SPACE, (), finds)
    assert [recipe for origin, recipe in found if origin is Origin.EARLIER] == [LINE]


@pytest.mark.parametrize(
    ("past", "nearest"),
    [
        (EVERYTHING, EVERYTHING),
        (Past(rows=900), Past(rows=1000)),
        (Past(rows=10**6), Past(rows=5000)),
        (Past(half_life_rows=77), Past(half_life_rows=2000)),
        (Past(time_feature=True, sample_rows=30_000), Past(time_feature=True)),
        (Past(rows=900, sample_rows=300), Past(rows=1000)),
        (Past(since_change=True), None),
        (Past(rows=900, half_life_rows=100), None),
    ],
)
def test_a_past_counted_in_rows_of_then_becomes_the_nearest_of_now(
    past: Past, nearest: Past | None
) -> None:
    assert nearest_past(SPACE, past) == nearest


def test_a_find_of_another_release_gets_what_it_lacks_by_default() -> None:
    older = Recipe.of("linear", {"alpha": 5.0, "gone": 1}, Past(since_change=True))
    moved = carried(Task.REGRESSION, SPACE, older)
    assert moved == Recipe.of("linear", {"alpha": 5.0, "loss": "squared"}, EVERYTHING)


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe.of("linear", {"alpha": 1.0, "loss": "l1"}),
        Recipe.of("linear", {"alpha": "much"}),
        Recipe.of("forest", families.FAMILIES["forest"].default(Task.REGRESSION)),
        Recipe(family="imported"),
    ],
)
def test_a_find_that_has_no_place_is_left_out(recipe: Recipe) -> None:
    assert carried(Task.REGRESSION, SPACE, recipe) is None


def test_a_study_that_knows_finds_makes_fewer_random_trials() -> None:
    firsts = first_recipes(Task.REGRESSION, POLICY, SPACE, (), (LINE, BOOSTED))
    trials: list[Trial] = []
    for batch in range(4):
        proposals = next_batch(SPACE, POLICY, firsts, trials, batch)
        trials += [
            Trial(
                number=one.number,
                batch=batch,
                origin=one.origin,
                recipe=one.recipe,
                score=float(-one.number),
                train_score=None,
            )
            for one in proposals
        ]
    origins = [trial.origin for trial in trials]
    assert origins.count(Origin.EARLIER) == 2
    assert origins.count(Origin.RANDOM) == POLICY.random_trials - 2
    assert finds(trials) == tuple(trial.recipe for trial in trials[:3])
    assert finds([]) == ()
