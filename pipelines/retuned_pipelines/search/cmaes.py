"""CMA-ES over each family's numbers, with its choices and the past beside them."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from cmaes import CatCMA

from retuned_pipelines.search.cube import place_of, value_at
from retuned_pipelines.search.sampler import FAMILY, PAST, chosen, has_place, nearest_past
from retuned_pipelines.search.space import Choice
from retuned_pipelines.search.trial import Origin

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from retuned_pipelines.recipe import Recipe, Scalar
    from retuned_pipelines.search.space import Dimension, Space
    from retuned_pipelines.search.trial import Trial

SIGMA = 0.25
"""How far the first generation is from its mean, where a dimension's whole range is 1."""

_TURNS = 3
"""Of so many trials one is of a family that does not lead."""


def sample(space: Space, earlier: Sequence[Trial], number: int, *, seed: tuple[int, ...]) -> Recipe:
    """Draw a recipe from a family's distribution (Hansen & Ostermeier 2001).

    Choices and the past, which have no order, follow a categorical distribution of their own
    (CatCMA; Hamano et al. 2024). A family begins around its best trial so far; then whole
    generations of its trials move the distribution, worst of all those that failed. Each
    family has a first generation; after that the one with the best trial has two trials of
    three, the others take turns.

    Args:
        space: what may be chosen.
        earlier: trials to learn from.
        number: of the trial.
        seed: of the draw; the same seed and trials give the same recipe.
    """
    family = _family(space, earlier, number)
    axes = _Axes.of(space, family)
    own = [t for t in earlier if t.recipe.family == family]
    bred = [t for t in own if t.origin is Origin.CMAES]
    begun = [t for t in own if t.origin is not Origin.CMAES]
    draw = int.from_bytes(hashlib.sha256(repr(seed).encode()).digest()[:4])
    optimizer = CatCMA(
        mean=_mean(axes, begun),
        sigma=SIGMA,
        cat_num=np.array([len(values) for values in axes.choices.values()]),
        bounds=np.tile([0.0, 1.0], (len(axes.numbers), 1)),
        population_size=generation(space, family),
        seed=draw,
    )
    size = optimizer.population_size
    for first in range(0, len(bred) - size + 1, size):
        optimizer.tell(_told(space, axes, bred[first : first + size], earlier))
    numbers, choices = optimizer.ask()
    values = dict(zip(axes.numbers, numbers, strict=True))
    picked = dict(zip(axes.choices, choices, strict=True))

    def choose(name: str, dimension: Dimension) -> Scalar:
        if name == FAMILY:
            return family
        if isinstance(dimension, Choice):
            index = int(np.argmax(picked[name])) if name in picked else 0
            return dimension.values[index]
        return value_at(dimension, float(np.clip(values[name], 0.0, 1.0)))

    return chosen(space, choose)


def generation(space: Space, family: str) -> int:
    """Trials of one generation of a family."""
    axes = _Axes.of(space, family)
    return 4 + math.floor(3 * math.log(len(axes.numbers) + len(axes.choices)))


@dataclass(frozen=True, slots=True)
class _Axes:
    """A family's dimensions: numbers by name, and choices (the past among them) with values.

    The optimizer wants two numbers and one choice at least; where there are fewer, it gets
    some that nothing depends on.
    """

    numbers: dict[str, Dimension | None]
    choices: dict[str, tuple[Scalar, ...]]

    @classmethod
    def of(cls, space: Space, family: str) -> _Axes:
        named = {f"{family}.{name}": d for name, d in space.families[family].items()}
        numbers: dict[str, Dimension | None] = {
            name: d for name, d in named.items() if not isinstance(d, Choice)
        }
        for spare in range(2 - len(numbers)):
            numbers[f"spare {spare}"] = None
        listed: dict[str, tuple[Scalar, ...]] = {PAST: tuple(str(past) for past in space.pasts)}
        listed |= {name: d.values for name, d in named.items() if isinstance(d, Choice)}
        choices = {name: values for name, values in listed.items() if len(values) > 1}
        return cls(numbers, choices or {"spare": (0, 1)})


def _family(space: Space, earlier: Sequence[Trial], number: int) -> str:
    families = list(space.families)
    bred = [t.recipe.family for t in earlier if t.origin is Origin.CMAES]
    for family in families:
        if bred.count(family) < generation(space, family):
            return family
    best = {
        family: max(
            (t.score for t in earlier if t.recipe.family == family and t.score is not None),
            default=-math.inf,
        )
        for family in families
    }
    leader = max(families, key=lambda family: best[family])
    others = [family for family in families if family != leader]
    if not others or number % _TURNS:
        return leader
    return others[number // _TURNS % len(others)]


def _mean(axes: _Axes, begun: Sequence[Trial]) -> NDArray[np.float64]:
    """Where a family's distribution begins: at its best trial, or in the middle."""
    scored = [(t.score, -t.number, t.recipe) for t in begun if t.score is not None]
    if not scored:
        return np.full(len(axes.numbers), 0.5)
    return _numbers(axes, max(scored, key=lambda one: one[:2])[2])


def _numbers(axes: _Axes, recipe: Recipe) -> NDArray[np.float64]:
    """A recipe's numbers as places; what it does not have lies in the middle."""
    places = []
    for name, dimension in axes.numbers.items():
        value = recipe.settings.get(name.partition(".")[2])
        is_known = dimension is not None and has_place(dimension, value)
        places.append(place_of(dimension, value) if dimension and is_known else 0.5)
    return np.array(places)


def _told(
    space: Space, axes: _Axes, trials: Sequence[Trial], earlier: Sequence[Trial]
) -> list[tuple[tuple[NDArray[np.float64], NDArray[np.float64]], float]]:
    """What became of a generation, as the optimizer takes it: losses, and choices as ones."""
    worst = min((t.score for t in earlier if t.score is not None), default=0.0)
    longest = max(map(len, axes.choices.values()))
    found = []
    for trial in trials:
        ones = np.zeros((len(axes.choices), longest))
        for row, (name, values) in enumerate(axes.choices.items()):
            value = (
                str(nearest_past(space, trial.recipe.past))
                if name == PAST
                else trial.recipe.settings.get(name.partition(".")[2])
            )
            ones[row, values.index(value) if value in values else 0] = 1.0
        score = worst if trial.score is None else trial.score
        found.append(((_numbers(axes, trial.recipe), ones), -score))
    return found
