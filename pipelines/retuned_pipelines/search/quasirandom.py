"""Quasi-random search: points that fill the space more evenly than chance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import qmc

from retuned_pipelines.search.cube import recipe_at, width

if TYPE_CHECKING:
    from retuned_pipelines.recipe import Recipe
    from retuned_pipelines.search.space import Space


def spread(space: Space, position: int, *, seed: int) -> Recipe:
    """The recipe at a position of a scrambled Sobol sequence (Sobol 1967; Owen 1998).

    Bergstra & Bengio (2012) found such sequences no worse than random search, and better where
    few dimensions matter.

    Args:
        space: what may be chosen.
        position: from 0; each is another point.
        seed: of the scrambling; a study keeps to one.
    """
    engine = qmc.Sobol(width(space), scramble=True, rng=np.random.default_rng(seed))
    if position:
        engine.fast_forward(position)
    return recipe_at(space, engine.random(1)[0])
