"""The unit cube over a space: every dimension as a number from 0 to 1."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from retuned_pipelines.search.sampler import FAMILY, PAST, chosen
from retuned_pipelines.search.space import Choice, Real, Whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from retuned_pipelines.recipe import Recipe, Scalar
    from retuned_pipelines.search.space import Dimension, Space


def width(space: Space) -> int:
    """Coordinates of a point: family, past, and as many as the largest family has."""
    return 2 + max(map(len, space.families.values()), default=0)


def recipe_at(space: Space, point: Sequence[float]) -> Recipe:
    """The recipe at a point of the cube (`width` coordinates).

    The first coordinate is the family, the second the past; the others are the family's
    hyperparameters in their order, so that families share them.
    """
    return chosen(space, lambda name, dimension: value_at(dimension, point[_axis(space, name)]))


def value_at(dimension: Dimension, place: float) -> Scalar:
    """The value at a place from 0 to 1; whole numbers and choices have equal parts each."""
    match dimension:
        case Real(low, high, log):
            if place >= 1:
                return high
            if log:
                return float(low * (high / low) ** place)
            return low + place * (high - low)
        case Whole(low, high, log):
            first, last = _edges(low, high, log=log)
            raw = first + place * (last - first)
            return min(high, max(low, round(math.exp(raw) if log else raw)))
        case Choice(values):
            return values[min(int(place * len(values)), len(values) - 1)]


def place_of(dimension: Dimension, value: Scalar) -> float:
    """Where a value lies, from 0 to 1: one that `value_at` leads back to.

    Values outside of the dimension's range lie at its edge.

    Raises:
        ValueError: the value is none of a choice's, or no number.
    """
    if isinstance(dimension, Choice):
        return (dimension.values.index(value) + 0.5) / len(dimension.values)
    if not isinstance(value, int | float):
        message = f"{value!r} is no number"
        raise ValueError(message)  # noqa: TRY004 (as a choice's)
    inside = min(max(value, dimension.low), dimension.high)
    if isinstance(dimension, Whole):
        first, last = _edges(dimension.low, dimension.high, log=dimension.log)
    else:
        first, last = dimension.low, dimension.high
        if dimension.log:
            first, last = math.log(first), math.log(last)
    if first == last:
        return 0.5
    return ((math.log(inside) if dimension.log else inside) - first) / (last - first)


def _edges(low: int, high: int, *, log: bool) -> tuple[float, float]:
    """Half a number beyond both ends, so that the ends have as much room as the others."""
    first, last = low - 0.5, high + 0.5
    return (math.log(first), math.log(last)) if log else (first, last)


def _axis(space: Space, name: str) -> int:
    if name in {FAMILY, PAST}:
        return (FAMILY, PAST).index(name)
    family, _, parameter = name.partition(".")
    return 2 + list(space.families[family]).index(parameter)
