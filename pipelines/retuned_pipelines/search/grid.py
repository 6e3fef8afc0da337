"""Grid search, coarse before fine."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from retuned_pipelines.search.cube import value_at
from retuned_pipelines.search.sampler import FAMILY, PAST, chosen
from retuned_pipelines.search.space import Choice

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from retuned_pipelines.recipe import Recipe, Scalar
    from retuned_pipelines.search.space import Dimension, Space

LEVELS = 4
"""Grids of numbers: their middle; 3, 5 and 9 places with both ends."""

LOOKS = 20_000
"""Places of the grid that are looked at for one recipe, before there is said to be none."""

_GOLDEN = (math.sqrt(5) - 1) / 2


def nodes(space: Space, known: Collection[Recipe], start: int, *, seed: int) -> Recipe | None:
    """The next place of the grid that is not known, from a position on; None where there is none.

    A number has its middle at first, then 3, 5 and 9 places (on a log scale where the dimension
    has one); a choice and the past have all their values always. All families are visited in
    turn. Each grid is walked in steps of its golden section, so that every beginning of the
    walk is spread over the whole.

    Args:
        space: what may be chosen.
        known: recipes that were proposed already.
        start: how many places may be passed over, as they were visited before.
        seed: where each grid's walk begins.
    """
    for position, recipe in enumerate(_walk(space, start, seed)):
        if position >= LOOKS:
            return None
        if recipe not in known:
            return recipe
    return None


def _walk(space: Space, start: int, seed: int) -> Iterator[Recipe]:
    for level in range(LEVELS):
        sizes = {family: math.prod(_shape(space, family, level)) for family in space.families}
        longest = max(sizes.values())
        passed = sum(sizes.values())
        if start >= passed:
            start -= passed
            continue
        for turn in range(longest):
            for family, size in sizes.items():
                if turn >= size:
                    continue
                if start:
                    start -= 1
                    continue
                yield _node(space, family, level, _permuted(turn, size, seed))


def _node(space: Space, family: str, level: int, index: int) -> Recipe:
    shape = _shape(space, family, level)
    at = _digits(index, shape)
    names = list(space.families[family])

    def choose(name: str, dimension: Dimension) -> Scalar:
        if name == FAMILY:
            return family
        axis = 0 if name == PAST else 1 + names.index(name.partition(".")[2])
        if isinstance(dimension, Choice):
            return dimension.values[at[axis]]
        return value_at(dimension, at[axis] / (shape[axis] - 1) if level else 0.5)

    return chosen(space, choose)


def _shape(space: Space, family: str, level: int) -> tuple[int, ...]:
    """Places of each axis: the past, then the family's hyperparameters."""
    places = 2**level + 1 if level else 1
    dimensions = space.families[family].values()
    return (
        len(space.pasts),
        *(len(d.values) if isinstance(d, Choice) else places for d in dimensions),
    )


def _digits(index: int, shape: tuple[int, ...]) -> list[int]:
    digits = []
    for places in reversed(shape):
        index, digit = divmod(index, places)
        digits.append(digit)
    return digits[::-1]


def _permuted(turn: int, size: int, seed: int) -> int:
    """A walk through 0 .. size - 1 that visits each once, in steps of the golden section."""
    step = max(1, round(size * _GOLDEN))
    while math.gcd(step, size) > 1:
        step += 1
    return (seed + turn * step) % size
