"""Successive halving and Hyperband: many recipes on few rows, the best of them on more.

What is tried small is promoted between batches, whenever its score is among the best third of
its rung: so batches need not wait for a rung to be complete (ASHA; Li, L. et al. 2020), and
the number of trials may be any. Successive halving (Jamieson & Talwalkar 2016) begins with the
smallest share; Hyperband (Li, L. et al. 2018) begins some recipes on larger shares, in case
few rows mislead.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

from retuned_pipelines.models.families import FAMILIES
from retuned_pipelines.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from retuned_pipelines.search.trial import Trial

ETA = 3
"""Of so many recipes the best is promoted, to so many times the rows."""

LEAST_ROWS = 300
"""Rows of the smallest rung at the least; of a recipe's own past no fewer are left either."""

MOST_RUNGS = 4

ROUNDS_POWER = 0.25
"""A share s of the rows goes with s to this power of the boosting rounds. With fewer rounds what
learns fast wins whatever it would come to: on elec2 the rank correlation with scores on everything
was .82 for a ninth of the rows, .66 with rounds to this power, .08 to the power of 1/2 and -.44 in
proportion."""

_LEAST_ROUNDS = 5

ENOUGH = 30
"""Trials of a rung before a model learns from it rather than from a smaller one."""


def rungs(rows: int, least: int = LEAST_ROWS) -> tuple[float, ...]:
    """Shares of the rows, the smallest first, 1 the last.

    Args:
        rows: labelled rows of the study.
        least: rows of the smallest rung.
    """
    times = int(math.log(max(1.0, rows / least), ETA) + 1e-9)
    return tuple(1.0 / ETA**power for power in range(min(times, MOST_RUNGS - 1), -1, -1))


def small(recipe: Recipe, share: float, labelled: int) -> Recipe:
    """The recipe on a share of the rows that it would learn from, evenly spaced over them.

    Args:
        recipe: what is tried.
        share: of its rows; 1 leaves it as it is.
        labelled: labelled rows known.
    """
    if share >= 1:
        return recipe
    rows = max(LEAST_ROWS, round(share * recipe.past.size(labelled)))
    settings = dict(recipe.settings)
    family = FAMILIES.get(recipe.family)
    rounds = settings.get(family.rounds) if family is not None else None
    if family is not None and isinstance(rounds, int):
        settings[family.rounds] = max(
            min(rounds, _LEAST_ROUNDS), round(rounds * share**ROUNDS_POWER)
        )
    return Recipe.of(recipe.family, settings, replace(recipe.past, sample_rows=rows))


def promotions(
    shares: Sequence[float],
    earlier: Sequence[Trial],
    asked: Collection[tuple[Recipe, float]],
) -> list[tuple[Recipe, float]]:
    """Recipes that have earned more rows, with their new share; those with the most rows first.

    Args:
        shares: from `rungs`.
        earlier: trials of earlier batches.
        asked: recipes with their shares that were proposed already.
    """
    found: list[tuple[Recipe, float]] = []
    for share, larger in reversed(list(pairwise(shares))):
        rung = [trial for trial in earlier if trial.share == share]
        # One that failed counts in the rung, and is never promoted.
        ranked = sorted(
            (trial for trial in rung if trial.score is not None),
            key=lambda trial: (-(trial.score or 0.0), trial.number),
        )
        best = ranked[: len(rung) // ETA]
        found += [(t.recipe, larger) for t in best if (t.recipe, larger) not in asked]
    return found


def first_share(shares: Sequence[float], begun: int, *, has_brackets: bool) -> float:
    """The share on which a new recipe begins.

    Args:
        shares: from `rungs`.
        begun: new recipes before it.
        has_brackets: Hyperband: of each turn, as many begin on a share as that bracket would
            have, so that all brackets learn from as many rows.
    """
    if not has_brackets:
        return shares[0]
    last = len(shares) - 1
    sizes = [math.ceil((last + 1) / (power + 1) * ETA**power) for power in range(last, -1, -1)]
    place = begun % sum(sizes)
    for share, size in zip(shares, sizes, strict=True):
        if place < size:
            return share
        place -= size
    return shares[-1]


def comparable(earlier: Sequence[Trial]) -> list[Trial]:
    """The trials of one share from which a model learns: the largest with enough (BOHB).

    Scores on different shares are no scale (Falkner et al. 2018).
    """
    shares = sorted({trial.share for trial in earlier}, reverse=True)
    rung = {share: [t for t in earlier if t.share == share] for share in shares}
    enough = [share for share in shares if len(rung[share]) >= ENOUGH]
    if not enough:
        return max(rung.values(), key=len, default=[])
    return rung[enough[0]]
