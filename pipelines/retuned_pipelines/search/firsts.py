"""What every study tries first: what is known to be good, before it looks for something new."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retuned_pipelines.models.families import FAMILIES, default_recipe, effort
from retuned_pipelines.recipe import EVERYTHING, Recipe
from retuned_pipelines.search.sampler import has_place, nearest_past
from retuned_pipelines.search.trial import Origin

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from retuned_pipelines.schema import Task
    from retuned_pipelines.search.space import Space
    from retuned_pipelines.spec import SearchPolicy


def first_recipes(
    task: Task,
    policy: SearchPolicy,
    space: Space,
    champion: Sequence[Recipe],
    finds: Sequence[Recipe] = (),
) -> tuple[tuple[Origin, Recipe], ...]:
    """The families' defaults, the champion's recipes, earlier finds, the families' portfolios.

    Each once, and of each kind the cheaper first: where a budget ends the study early, more of
    them were tried. Finds are moved into the space, so that samplers learn from them; one that
    is then a recipe of the champion's is not tried again.

    Args:
        task: what is predicted.
        policy: which families.
        space: what may be chosen.
        champion: the champion's recipes.
        finds: what earlier studies put forward.
    """
    kinds: tuple[tuple[Origin, Iterable[Recipe]], ...] = (
        (Origin.DEFAULT, (default_recipe(task, name) for name in policy.families)),
        (Origin.CHAMPION, champion),
        (Origin.EARLIER, _carried(task, space, champion, finds)),
        (Origin.PORTFOLIO, _portfolio(task, policy)),
    )
    found: dict[Recipe, Origin] = {}
    for origin, recipes in kinds:
        for recipe in sorted(recipes, key=lambda recipe: effort(recipe, space.rows)):
            found.setdefault(recipe, origin)
    return tuple((origin, recipe) for recipe, origin in found.items())


def spared(firsts: Sequence[tuple[Origin, Recipe]]) -> int:
    """How many random trials need not be made: earlier finds and portfolios take their place.

    So a study that knows more is no dearer.
    """
    return sum(origin in {Origin.EARLIER, Origin.PORTFOLIO} for origin, _ in firsts)


def carried(task: Task, space: Space, recipe: Recipe) -> Recipe | None:
    """A recipe of an earlier study in the space of this one.

    How much of the past it learns from was counted in rows of then: the nearest window of now
    takes its place, or everything where there is none. What its family did not have then is at
    its default.

    Returns:
        The recipe; None where its family is no longer tried, or a value has no place.
    """
    dimensions = space.families.get(recipe.family)
    if dimensions is None:
        return None
    settings = {**FAMILIES[recipe.family].default(task), **recipe.settings}
    if not all(has_place(d, settings.get(name)) for name, d in dimensions.items()):
        return None
    kept = {name: settings[name] for name in dimensions}
    return Recipe.of(recipe.family, kept, nearest_past(space, recipe.past) or EVERYTHING)


def _carried(
    task: Task, space: Space, champion: Sequence[Recipe], finds: Sequence[Recipe]
) -> Iterator[Recipe]:
    reigning = {carried(task, space, recipe) for recipe in champion}
    for find in finds:
        moved = carried(task, space, find)
        if moved is not None and moved not in reigning:
            yield moved


def _portfolio(task: Task, policy: SearchPolicy) -> Iterator[Recipe]:
    for name in policy.families:
        for params in FAMILIES[name].portfolio(task):
            yield Recipe.of(name, {**FAMILIES[name].default(task), **params})
