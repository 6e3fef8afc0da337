"""Which members a champion begins with.

The most valuable hyperparameter of a model in a moving world is how much of the past it learns
from, and the right answer differs by stream and by moment. So a champion begins as several
recipes at once: different pasts, time as a feature, different trees, another family. Their
weights follow the losses (`weights`).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from retuned_pipelines.models.families import default_recipe
from retuned_pipelines.recipe import Past, Recipe
from retuned_pipelines.schema import Task
from retuned_pipelines.version import Member

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from retuned_pipelines.recipe import Scalar

LARGE_ROWS = 50_000
"""More labelled rows than this are many: fits are dear, and small trees have nothing to add."""

SAMPLE_ROWS = 30_000
"""Rows that members beside the first learn from at most, evenly spaced: with 50,000 of 400,000 the
loss was .3 % higher, the fit four times as cheap."""

LINEAR_ROWS = 15_000
"""The same for linear models, which have few parameters to learn, and iterate."""

MANY_CLASSES = 10
"""With more classes than this, boosting (a tree for each class) is dear and forests are better."""

MIN_ROWS = 100
"""Shorter training windows than this are not kept."""

SHADOWS = 4
"""Members among which a single champion is switched."""

CONSTANT_PRIOR = 0.15
"""Of a constant that was better than the default at first."""

JOINING = 0.25
"""Weight with which a study's find joins, at the gate and after it."""

QUARTER = 0.25


@dataclass(frozen=True, slots=True)
class _Wish:
    """A member that is wanted, and its share before others are left out."""

    recipe: Recipe
    prior: float


def founded(  # noqa: PLR0913 (what the members depend on)
    task: Task,
    labelled: int,
    most: int,
    *,
    classes: int = 2,
    squares: bool = False,
    is_constant_better: bool = False,
) -> tuple[Member, ...]:
    """The members to begin with, the most important first.

    Args:
        task: what is predicted.
        labelled: labelled rows known.
        most: members at the most that answer; 1 is one at a time, out of a few.
        classes: how many classes are known.
        squares: whether large errors count more than in proportion (a squared metric).
        is_constant_better: whether a constant is to be among them, the first.
    """
    wanted: Iterable[_Wish]
    if classes > MANY_CLASSES:
        wanted = _many_classes(task, labelled)
    elif labelled > LARGE_ROWS:
        wanted = _large(task, labelled, squares=squares)
    else:
        wanted = _usual(task, labelled, squares=squares)
    if is_constant_better:
        wanted = chain((_Wish(Recipe(family="constant"), CONSTANT_PRIOR),), wanted)
    return _members(wanted, SHADOWS if most == 1 else most)


def joined(members: Sequence[Member], recipe: Recipe, most: int) -> tuple[Member, ...]:
    """The members with a new one, which gets its share; the least one may have to go."""
    room = (SHADOWS if most == 1 else most) - 1
    kept = sorted(members, key=lambda member: -member.weight)[:room]
    total = sum(member.weight for member in kept)
    others = (
        Member(recipe=m.recipe, weight=(1 - JOINING) * m.weight / total) for m in kept if total
    )
    return (Member(recipe=recipe, weight=JOINING), *others)


def _usual(task: Task, labelled: int, *, squares: bool) -> Iterator[_Wish]:
    default, linear = default_recipe(task), default_recipe(task, "linear")
    slow, small = _slow(task, squares=squares), _small(task, squares=squares)
    yield _Wish(default, 0.15)
    yield _Wish(_on(slow, Past(time_feature=True, sample_rows=SAMPLE_ROWS)), 0.20)
    yield _Wish(_on(small, Past(time_feature=True, sample_rows=SAMPLE_ROWS)), 0.20)
    yield _Wish(_on(slow, Past(rows=labelled, sample_rows=SAMPLE_ROWS)), 0.15)
    yield _Wish(_on(small, Past(sample_rows=SAMPLE_ROWS)), 0.15)
    yield _Wish(_on(slow, Past(rows=int(QUARTER * labelled), sample_rows=SAMPLE_ROWS)), 0.07)
    yield _Wish(_on(linear, Past(sample_rows=LINEAR_ROWS)), 0.07)


def _large(task: Task, labelled: int, *, squares: bool) -> Iterator[_Wish]:
    default, linear = default_recipe(task), default_recipe(task, "linear")
    slow = _slow(task, squares=squares)
    yield _Wish(default, 0.50)
    yield _Wish(_on(slow, Past(time_feature=True, sample_rows=SAMPLE_ROWS)), 0.15)
    yield _Wish(_on(slow, Past(rows=labelled, sample_rows=SAMPLE_ROWS)), 0.12)
    yield _Wish(_on(linear, Past(sample_rows=LINEAR_ROWS)), 0.10)
    if task is Task.REGRESSION:
        yield _Wish(_on(slow, Past(sample_rows=SAMPLE_ROWS)), 0.10)
    yield _Wish(_on(slow, Past(rows=int(QUARTER * labelled), sample_rows=SAMPLE_ROWS)), 0.05)


def _many_classes(task: Task, labelled: int) -> Iterator[_Wish]:
    forest, linear = default_recipe(task, "forest"), default_recipe(task, "linear")
    short = _changed(task, n_estimators=40, learning_rate=0.15, num_leaves=15)
    yield _Wish(_on(forest, Past(sample_rows=SAMPLE_ROWS)), 0.45)
    yield _Wish(_on(short, Past(sample_rows=SAMPLE_ROWS)), 0.25)
    yield _Wish(_on(linear, Past(sample_rows=LINEAR_ROWS)), 0.20)
    yield _Wish(_on(forest, Past(rows=labelled, sample_rows=SAMPLE_ROWS)), 0.10)


def _members(wanted: Iterable[_Wish], most: int) -> tuple[Member, ...]:
    kept = [
        wish
        for wish in wanted
        if wish.recipe.past.rows is None or wish.recipe.past.rows >= MIN_ROWS
    ][:most]
    total = sum(wish.prior for wish in kept)
    return tuple(Member(recipe=wish.recipe, weight=wish.prior / total) for wish in kept)


def _on(recipe: Recipe, past: Past) -> Recipe:
    return Recipe.of(recipe.family, recipe.settings, past)


def _slow(task: Task, *, squares: bool) -> Recipe:
    """LightGBM with another loss for numbers (the absolute error), slower steps for classes."""
    if task is Task.REGRESSION and not squares:
        return _changed(task, objective="regression_l1")
    return _changed(task, num_leaves=15, learning_rate=0.05, n_estimators=150, min_child_samples=50)


def _small(task: Task, *, squares: bool) -> Recipe:
    """LightGBM with trees of eight leaves, which generalise from few rows."""
    loss: dict[str, Scalar] = (
        {"objective": "regression_l1"} if task is Task.REGRESSION and not squares else {}
    )
    return _changed(task, num_leaves=8, min_child_samples=50, reg_lambda=5.0, **loss)


def _changed(task: Task, **changes: Scalar) -> Recipe:
    default = default_recipe(task)
    return Recipe.of(default.family, {**default.settings, **changes})
