"""One recipe by a method, from the seed, the place in the study and earlier trials."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from retuned_pipelines.search import cmaes, genetic
from retuned_pipelines.search.grid import nodes
from retuned_pipelines.search.halving import comparable
from retuned_pipelines.search.quasirandom import spread
from retuned_pipelines.search.sampler import propose
from retuned_pipelines.search.trial import Origin
from retuned_pipelines.spec import Method

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from retuned_pipelines.recipe import Recipe
    from retuned_pipelines.search.space import Space
    from retuned_pipelines.search.trial import Trial
    from retuned_pipelines.spec import SearchPolicy

REDRAWS = 20
"""Draws for one recipe at the most, where what comes was proposed before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where in a study a recipe is wanted.

    Attributes:
        batch: number of the batch.
        number: of the trial.
        begun: recipes drawn before it, the firsts and those promoted aside.
        spared: random trials that are not made, as earlier finds take their place.
    """

    batch: int
    number: int
    begun: int
    spared: int = 0


def draw(
    space: Space,
    policy: SearchPolicy,
    earlier: Sequence[Trial],
    known: Collection[Recipe],
    place: Place,
) -> tuple[Origin, Recipe] | None:
    """Draw a recipe that is not known; None where there is none, or it was not found.

    Args:
        space: what may be chosen.
        policy: method and seed.
        earlier: trials of earlier batches.
        known: recipes that were proposed already, those of this batch too.
        place: where in the study it is wanted.
    """
    origin = _origin(policy, earlier, place)
    if origin is Origin.GRID:
        node = nodes(space, known, place.begun, seed=policy.seed)
        return None if node is None else (origin, node)
    for attempt in range(REDRAWS):
        recipe = _drawn(space, policy, earlier, place, origin=origin, attempt=attempt)
        if recipe not in known:
            return origin, recipe
    return None


def _origin(policy: SearchPolicy, earlier: Sequence[Trial], place: Place) -> Origin:
    match policy.method:
        case Method.RANDOM:
            return Origin.RANDOM
        case Method.GRID:
            return Origin.GRID
        case Method.QUASIRANDOM:
            return Origin.QUASIRANDOM
        case Method.CMAES:
            return Origin.CMAES
        case Method.GENETIC:
            scored = sum(trial.score is not None for trial in earlier)
            return Origin.RANDOM if scored < genetic.POPULATION else Origin.GENETIC
        case Method.BAYESIAN:
            return Origin.RANDOM if place.begun < policy.batch else Origin.BAYESIAN
        case Method.AUTO | Method.HALVING | Method.HYPERBAND:
            random = policy.random_trials - place.spared
            return Origin.RANDOM if place.begun < random else Origin.BAYESIAN


def _drawn(  # noqa: PLR0913 (what a draw depends on)
    space: Space,
    policy: SearchPolicy,
    earlier: Sequence[Trial],
    place: Place,
    *,
    origin: Origin,
    attempt: int,
) -> Recipe:
    seed = (policy.seed, place.batch, place.number, attempt)
    match origin:
        case Origin.QUASIRANDOM:
            position = place.begun + attempt * policy.trials
            return spread(space, position, seed=policy.seed)
        case Origin.GENETIC:
            return genetic.child(space, earlier, seed=seed)
        case Origin.CMAES:
            return cmaes.sample(space, earlier, place.number, seed=seed)
        case _:
            return propose(space, comparable(earlier), origin, seed=seed)
