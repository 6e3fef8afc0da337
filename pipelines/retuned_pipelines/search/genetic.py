"""Genetic search: NSGA-II over recipes, for a high score and little effort."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from retuned_pipelines.models.families import effort
from retuned_pipelines.search.cube import place_of, value_at
from retuned_pipelines.search.sampler import FAMILY, PAST, chosen, has_place, nearest_past
from retuned_pipelines.search.space import Choice

if TYPE_CHECKING:
    from collections.abc import Sequence

    from retuned_pipelines.recipe import Recipe, Scalar
    from retuned_pipelines.search.space import Dimension, Space
    from retuned_pipelines.search.trial import Trial

POPULATION = 10
"""Recipes that may have children. The paper's 100 would be more than a study tries."""

CROSSOVER = 0.9
"""Probability that a child has two parents."""

SPREAD = 5.0
"""Distribution index of polynomial mutation (Deb & Agrawal 1999); larger keeps nearer."""


def child(space: Space, earlier: Sequence[Trial], *, seed: tuple[int, ...]) -> Recipe:
    """Breed a recipe from the best trials (NSGA-II; Deb et al. 2002).

    Parents are chosen by two tournaments among the `POPULATION` best: those that no other trial
    is better than in both score and effort come first, of them those with the fewest neighbours.
    All earlier trials compete (elitism), so nothing but the records is needed.

    Args:
        space: what may be chosen.
        earlier: trials to breed from; those that failed have no children.
        seed: of the draw; the same seed and trials give the same recipe.
    """
    rng = np.random.default_rng(seed)
    living = ranked(space, earlier)
    if not living:
        return chosen(space, lambda _, dimension: value_at(dimension, rng.random()))
    first, second = _tournament(living, rng), _tournament(living, rng)
    if rng.random() >= CROSSOVER:
        second = first
    genes = [_genes(space, parent.recipe) for parent in (first, second)]
    rate = 1.0 / max(3, len(genes[0]))

    def choose(name: str, dimension: Dimension) -> Scalar:
        carriers = [gene[name] for gene in genes if name in gene]
        if not carriers:
            return value_at(dimension, rng.random())
        value = carriers[int(rng.integers(len(carriers)))]
        return _mutated(dimension, value, rng) if rng.random() < rate else value

    return chosen(space, choose)


@dataclass(frozen=True, slots=True)
class Parent:
    """A trial that may have children.

    Attributes:
        recipe: what was tried.
        score: higher is better.
        effort: what a fit costs; see `models.families.effort`.
        rank: fronts of trials that are better in both.
        room: how far its neighbours in the front are apart.
    """

    recipe: Recipe
    score: float
    effort: float
    rank: int = 0
    room: float = 0.0


def ranked(space: Space, earlier: Sequence[Trial]) -> list[Parent]:
    """The `POPULATION` best trials: front by front, the last one's least crowded."""
    scored = [
        Parent(t.recipe, t.score, effort(t.recipe, space.rows))
        for t in earlier
        if t.score is not None and t.recipe.family in space.families
    ]
    left = sorted(scored, key=lambda one: (-one.score, one.effort))
    found: list[Parent] = []
    rank = 0
    while left and len(found) < POPULATION:
        front, left = _front(left)
        roomy = [
            Parent(one.recipe, one.score, one.effort, rank, room)
            for one, room in zip(front, _rooms(front), strict=True)
        ]
        found += sorted(roomy, key=lambda one: -one.room)[: POPULATION - len(found)]
        rank += 1
    return found


def _front(ordered: Sequence[Parent]) -> tuple[list[Parent], list[Parent]]:
    """Those than whom none is better in both, and the others; best scores first."""
    front: list[Parent] = []
    others: list[Parent] = []
    for one in ordered:
        last = front[-1] if front else None
        is_equal = last is not None and (one.score, one.effort) == (last.score, last.effort)
        is_in = last is None or one.effort < last.effort or is_equal
        (front if is_in else others).append(one)
    return front, others


def _rooms(front: Sequence[Parent]) -> list[float]:
    """Crowding distances: how far each one's neighbours are apart; infinite at both ends."""
    if len(front) < 3:  # noqa: PLR2004 (both ends)
        return [np.inf] * len(front)
    rooms = np.zeros(len(front))
    for values in ([one.score for one in front], [one.effort for one in front]):
        extent = abs(values[-1] - values[0]) or 1.0
        rooms[1:-1] += np.abs(np.subtract(values[2:], values[:-2])) / extent
    rooms[[0, -1]] = np.inf
    return [float(room) for room in rooms]


def _tournament(living: Sequence[Parent], rng: np.random.Generator) -> Parent:
    one, other = (living[int(rng.integers(len(living)))] for _ in range(2))
    return min((one, other), key=lambda contender: (contender.rank, -contender.room))


def _genes(space: Space, recipe: Recipe) -> dict[str, Scalar]:
    """A recipe's values as the space names them, those that have no place in it left out."""
    genes: dict[str, Scalar] = {FAMILY: recipe.family}
    past = nearest_past(space, recipe.past)
    if past is not None:
        genes[PAST] = str(past)
    for name, dimension in space.families[recipe.family].items():
        if name in recipe.settings and has_place(dimension, recipe.settings[name]):
            genes[f"{recipe.family}.{name}"] = recipe.settings[name]
    return genes


def _mutated(dimension: Dimension, value: Scalar, rng: np.random.Generator) -> Scalar:
    if isinstance(dimension, Choice):
        return value_at(dimension, rng.random())
    place, luck = place_of(dimension, value), rng.random()
    if luck < 0.5:  # noqa: PLR2004 (one side or the other)
        step = place * ((2 * luck) ** (1 / (SPREAD + 1)) - 1)
    else:
        step = (1 - place) * (1 - (2 * (1 - luck)) ** (1 / (SPREAD + 1)))
    return value_at(dimension, min(1.0, max(0.0, place + step)))
