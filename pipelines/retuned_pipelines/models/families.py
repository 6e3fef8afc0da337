"""All model families by name."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from retuned_pipelines.models.constant import CONSTANT
from retuned_pipelines.models.forest import FOREST
from retuned_pipelines.models.imported import IMPORTED
from retuned_pipelines.models.lightgbm import LIGHTGBM
from retuned_pipelines.models.linear import LINEAR
from retuned_pipelines.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Mapping

    from retuned_pipelines.models.family import Family
    from retuned_pipelines.schema import Task

FAMILIES: Mapping[str, Family] = MappingProxyType(
    {family.name: family for family in (CONSTANT, LINEAR, LIGHTGBM, FOREST)}
)

SERVED: Mapping[str, Family] = MappingProxyType({**FAMILIES, IMPORTED.name: IMPORTED})
"""Families of models that may answer; a study may choose those of ``FAMILIES``."""


def default_recipe(task: Task, family: str = "lightgbm") -> Recipe:
    """The family's default hyperparameters, learning from everything."""
    return Recipe.of(family, FAMILIES[family].default(task))


def effort(recipe: Recipe, labelled: int, classes: int = 1) -> float:
    """What a fit costs: rows, each as dear as one of LightGBM's defaults.

    A cost model and no clock, so that what is decided by it is the same on every machine. A
    million is about seven CPU seconds.

    Args:
        recipe: what is fitted.
        labelled: labelled rows known.
        classes: how many there are; 1 for two, and for numbers.
    """
    each = SERVED[recipe.family].effort(recipe.settings, classes)
    return each * recipe.past.size(labelled)


def complexity(recipe: Recipe) -> int:
    """Rank of the recipe's family; of equals the lower rank is preferred."""
    return SERVED[recipe.family].complexity
