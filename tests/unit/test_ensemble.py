"""The members that a champion begins with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from retuned_pipelines.ensemble import (
    JOINING,
    LARGE_ROWS,
    MIN_ROWS,
    SAMPLE_ROWS,
    SHADOWS,
    founded,
    joined,
)
from retuned_pipelines.models.families import FAMILIES, default_recipe
from retuned_pipelines.recipe import EVERYTHING, Past, Recipe
from retuned_pipelines.schema import Task
from retuned_pipelines.version import Member

NEW = Recipe.of("linear", {"alpha": 2.0}, Past(rows=300))


def families(members: Sequence[Member]) -> list[str]:
    return [member.recipe.family for member in members]


@pytest.mark.parametrize("task", list(Task))
@pytest.mark.parametrize("labelled", [500, 5_000, LARGE_ROWS, LARGE_ROWS + 1, 400_000])
@pytest.mark.parametrize("classes", [1, 3, 40])
def test_a_champion_begins_with_the_default_on_everything_among_others(
    task: Task, labelled: int, classes: int
) -> None:
    members = founded(task, labelled, 8, classes=classes)
    assert 3 <= len(members) <= 8
    assert (default_recipe(task) in [member.recipe for member in members]) is (classes <= 10)
    assert len({member.recipe for member in members}) == len(members)
    assert sum(member.weight for member in members) == pytest.approx(1.0)
    assert all(member.weight > 0 for member in members)
    for member in members:
        known = FAMILIES[member.recipe.family].default(task).keys()
        assert member.recipe.settings.keys() == known


def told(members: Sequence[Member]) -> list[tuple[str, str, float]]:
    """Family, past and prior of each member."""
    return [(m.recipe.family, str(m.recipe.past), round(m.weight, 3)) for m in members]


def test_the_usual_members_differ_in_their_past_and_their_trees() -> None:
    assert told(founded(Task.REGRESSION, 4_000, 8)) == [
        ("lightgbm", "all rows", 0.152),
        ("lightgbm", "all rows up to 30,000, time as a feature", 0.202),
        ("lightgbm", "all rows up to 30,000, time as a feature", 0.202),
        ("lightgbm", "4,000 rows", 0.152),
        ("lightgbm", "all rows up to 30,000", 0.152),
        ("lightgbm", "1,000 rows", 0.071),
        ("linear", "all rows up to 15,000", 0.071),
    ]


@pytest.mark.parametrize(
    ("task", "plain"), [(Task.REGRESSION, 1), (Task.BINARY, 0), (Task.MULTICLASS, 0)]
)
def test_on_many_rows_the_default_has_half_of_the_say(task: Task, plain: int) -> None:
    members = founded(task, 400_000, 8)
    total = 0.92 + 0.1 * plain
    assert told(members) == [
        ("lightgbm", "all rows", round(0.50 / total, 3)),
        ("lightgbm", "all rows up to 30,000, time as a feature", round(0.15 / total, 3)),
        ("lightgbm", "400,000 rows up to 30,000", round(0.12 / total, 3)),
        ("linear", "all rows up to 15,000", round(0.10 / total, 3)),
        *[("lightgbm", "all rows up to 30,000", round(0.10 / total, 3))] * plain,
        ("lightgbm", "100,000 rows up to 30,000", round(0.05 / total, 3)),
    ]


def test_with_many_classes_it_begins_with_a_forest() -> None:
    assert told(founded(Task.MULTICLASS, 5_000, 8, classes=11)) == [
        ("forest", "all rows up to 30,000", 0.45),
        ("lightgbm", "all rows up to 30,000", 0.25),
        ("linear", "all rows up to 15,000", 0.2),
        ("forest", "5,000 rows", 0.1),
    ]


@pytest.mark.parametrize("most", [2, 3, 5])
def test_there_are_never_more_members_than_allowed(most: int) -> None:
    assert len(founded(Task.BINARY, 5_000, most)) == most


def test_one_that_answers_is_chosen_out_of_a_few() -> None:
    members = founded(Task.BINARY, 5_000, 1)
    assert len(members) == SHADOWS
    assert members[0].recipe == default_recipe(Task.BINARY)


def test_windows_with_too_few_rows_are_left_out() -> None:
    rows = [m.recipe.past.rows for m in founded(Task.BINARY, 4 * MIN_ROWS - 1, 8)]
    assert min(size for size in rows if size is not None) == 4 * MIN_ROWS - 1
    rows = [m.recipe.past.rows for m in founded(Task.BINARY, 4 * MIN_ROWS, 8)]
    assert min(size for size in rows if size is not None) == MIN_ROWS


def test_of_many_rows_all_but_the_first_learn_from_a_sample() -> None:
    first, *others = founded(Task.REGRESSION, 400_000, 8)
    assert first.recipe.past == EVERYTHING
    assert all(member.recipe.past.size(400_000) <= SAMPLE_ROWS for member in others)


def test_many_classes_are_mostly_left_to_forests() -> None:
    members = founded(Task.MULTICLASS, 5_000, 8, classes=40)
    assert families(members).count("lightgbm") == 1
    assert families(members).count("forest") == 2
    assert "forest" not in families(founded(Task.MULTICLASS, 5_000, 8, classes=10))


def test_absolute_errors_are_learned_only_where_the_metric_is_no_squared_one() -> None:
    def objectives(*, squares: bool) -> set[object]:
        members = founded(Task.REGRESSION, 5_000, 8, squares=squares)
        return {m.recipe.settings.get("objective") for m in members} - {None}

    assert objectives(squares=False) == {"regression", "regression_l1"}
    assert objectives(squares=True) == {"regression"}


def test_a_new_member_gets_its_share() -> None:
    members = founded(Task.BINARY, 5_000, 4)
    found = joined(members, NEW, 8)
    assert found[0] == Member(recipe=NEW, weight=JOINING)
    assert {m.recipe for m in found[1:]} == {m.recipe for m in members}
    assert sum(member.weight for member in found) == pytest.approx(1.0)


def test_shares_among_the_others_stay_as_they_were() -> None:
    members = founded(Task.BINARY, 5_000, 4)
    found = {m.recipe: m.weight for m in joined(members, NEW, 8)}
    assert all(
        found[member.recipe] == pytest.approx((1 - JOINING) * member.weight) for member in members
    )


def test_the_least_member_makes_room() -> None:
    members = founded(Task.BINARY, 5_000, 4)
    found = joined(members, NEW, 4)
    assert len(found) == 4
    (gone,) = {m.recipe for m in members} - {m.recipe for m in found}
    least = min(member.weight for member in members)
    assert [member.weight for member in members if member.recipe == gone] == [least]


def test_a_find_leads_where_one_answers_and_the_others_stay_in_its_shadow() -> None:
    found = joined(founded(Task.BINARY, 5_000, 1), NEW, 1)
    assert found[0].recipe == NEW
    assert len(found) == SHADOWS


def test_a_constant_that_was_better_leads_among_the_others() -> None:
    plain = founded(Task.BINARY, 5_000, 8)
    members = founded(Task.BINARY, 5_000, 8, is_constant_better=True)
    assert members[0].recipe == Recipe(family="constant")
    assert [m.recipe for m in members[1:]] == [m.recipe for m in plain]
    assert founded(Task.BINARY, 5_000, 1, is_constant_better=True)[0] == replace(
        members[0], weight=pytest.approx(0.15 / (0.15 + 0.15 + 0.20 + 0.20))
    )
