"""What two versions are made of: which members both have, and how the others differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from retuned_pipelines.weights import serving

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from retuned_pipelines.recipe import Recipe, Scalar
    from retuned_pipelines.version import Revision, Version


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A member with what it has to say now.

    Attributes:
        recipe: how it is fitted.
        weight: its share in the answer; 0 for who is not asked, or has retired.
    """

    recipe: Recipe
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """A member that both have."""

    recipe: Recipe
    left: float
    right: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Lone:
    """A member that the other version has not.

    Attributes:
        part: the member.
        closest: the other's member of the same family that differs in the fewest settings; None
            where there is none of that family.
        differing: the settings in which they differ: the value here, and there; None where there
            is no such setting.
    """

    part: Part
    closest: Recipe | None
    differing: Mapping[str, tuple[Scalar, Scalar]]

    def to_json(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "recipe": self.part.recipe.to_json(),
            "weight": self.part.weight,
            "closest": None if self.closest is None else self.closest.to_json(),
            "differing": {
                name: {"here": here, "there": there}
                for name, (here, there) in self.differing.items()
            },
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeDiff:
    """How the members of two versions differ; the weightiest first."""

    both: tuple[Shared, ...]
    only_left: tuple[Lone, ...]
    only_right: tuple[Lone, ...]

    def to_json(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "both": [
                {"recipe": one.recipe.to_json(), "left": one.left, "right": one.right}
                for one in self.both
            ],
            "only_left": [one.to_json() for one in self.only_left],
            "only_right": [one.to_json() for one in self.only_right],
            "told": self.told,
        }

    @property
    def told(self) -> str:
        """In a sentence."""
        if not self.only_left and not self.only_right:
            return "Both have the same members."
        return (
            f"Members in both: {len(self.both)}; only on the left: {len(self.only_left)}; only on "
            f"the right: {len(self.only_right)}."
        )


def recipe_diff(left: tuple[Version, Revision], right: tuple[Version, Revision]) -> RecipeDiff:
    """Compare the members of two versions, with their weights in the given revisions."""
    ours, theirs = _parts(*left), _parts(*right)
    weights = {part.recipe: part.weight for part in theirs}
    known = {part.recipe for part in ours}
    return RecipeDiff(
        both=tuple(
            Shared(recipe=part.recipe, left=part.weight, right=weights[part.recipe])
            for part in ours
            if part.recipe in weights
        ),
        only_left=tuple(_lone(part, theirs) for part in ours if part.recipe not in weights),
        only_right=tuple(_lone(part, ours) for part in theirs if part.recipe not in known),
    )


def _parts(version: Version, revision: Revision) -> list[Part]:
    shares = serving(revision.standing)
    parts = [
        Part(recipe=member.recipe, weight=weight)
        for member, weight in zip(version.members, shares, strict=True)
    ]
    return sorted(parts, key=lambda part: -part.weight)


def _lone(part: Part, others: Sequence[Part]) -> Lone:
    known = [other.recipe for other in others if other.recipe.family == part.recipe.family]
    closest = _closest(part.recipe, known)
    differing = {} if closest is None else _differing(part.recipe, closest)
    return Lone(part=part, closest=closest, differing=differing)


def _closest(recipe: Recipe, others: Iterable[Recipe]) -> Recipe | None:
    return min(others, key=lambda other: len(_differing(recipe, other)), default=None)


def _differing(here: Recipe, there: Recipe) -> dict[str, tuple[Scalar, Scalar]]:
    ours, theirs = _settings(here), _settings(there)
    return {
        name: (ours.get(name), theirs.get(name))
        for name in sorted(ours.keys() | theirs.keys())
        if ours.get(name) != theirs.get(name)
    }


def _settings(recipe: Recipe) -> dict[str, Scalar]:
    """Hyperparameters and the past, by name."""
    past = {f"past.{name}": value for name, value in recipe.past.to_json().items()}
    return {**recipe.settings, **past}
