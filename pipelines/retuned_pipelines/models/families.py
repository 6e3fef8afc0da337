"""All model families by name."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from retuned_pipelines.models.constant import CONSTANT
from retuned_pipelines.models.lightgbm import LIGHTGBM
from retuned_pipelines.models.linear import LINEAR
from retuned_pipelines.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Mapping

    from retuned_pipelines.models.family import Family
    from retuned_pipelines.schema import Task

FAMILIES: Mapping[str, Family] = MappingProxyType(
    {family.name: family for family in (CONSTANT, LINEAR, LIGHTGBM)}
)


def default_recipe(task: Task, family: str = "lightgbm") -> Recipe:
    """The family's default hyperparameters, learning from everything."""
    return Recipe.of(family, FAMILIES[family].default(task))


def complexity(recipe: Recipe) -> int:
    """Rank of the recipe's family; of equals the lower rank is preferred."""
    return FAMILIES[recipe.family].complexity
