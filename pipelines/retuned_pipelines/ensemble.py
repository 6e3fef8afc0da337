"""A champion of several members: which ones, and how their weights follow the losses.

The most valuable hyperparameter of a model in a moving world is how much of the past it
learns from, and the right answer differs by stream and by moment. So one recipe is kept on
several training windows at once, beside a few recipes of another kind, and the weights
follow the losses on labels as they mature.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from retuned_pipelines.models.families import default_recipe
from retuned_pipelines.recipe import Recipe
from retuned_pipelines.schema import Task
from retuned_pipelines.version import Member, Standing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

RATE = 3.0
"""How fast weights follow losses."""

SHARE = 0.1
"""Share of the weight that goes back to the prior in each period (fixed share)."""

CLIP = 0.7
"""The largest relative loss of a period that counts."""

MIN_ROWS = 100
"""Shorter training windows than this are not kept."""

LADDER = ((None, 0.50), (1.0, 0.20), (0.5, 0.14), (0.25, 0.08), (0.1, 0.08))
"""Training windows as shares of the labelled rows known at the start, with their priors; None
is everything. It favours the long past, which is right most often."""

SECOND, LINEAR = 0.35, 0.15
"""Prior of the members of another kind, relative to that of the ladder."""


def founded(task: Task, labelled: int, most: int) -> tuple[Member, ...]:
    """The members to begin with, the most important first.

    Args:
        task: what is predicted.
        labelled: labelled rows known.
        most: members at the most; 1 is the default recipe on everything, alone.
    """
    default = default_recipe(task)
    windows = [(None if share is None else int(share * labelled), prior) for share, prior in LADDER]
    ladder = [(_on(default, rows), prior) for rows, prior in windows]
    longest = labelled
    wanted = [
        ladder[0],
        ladder[1],
        ladder[3],
        (_on(_second(task), None), SECOND / 2),
        (_on(default_recipe(task, "linear"), longest), LINEAR / 2),
        ladder[2],
        ladder[4],
        (_on(_second(task), longest), SECOND / 2),
        (_on(default_recipe(task, "linear"), labelled // 4), LINEAR / 2),
    ]
    kept = [
        (recipe, prior)
        for recipe, prior in wanted
        if recipe.window_rows is None or recipe.window_rows >= MIN_ROWS
    ][: max(1, most)]
    total = sum(prior for _, prior in kept)
    return tuple(Member(recipe=recipe, weight=prior / total) for recipe, prior in kept)


def joined(members: Sequence[Member], recipe: Recipe, most: int) -> tuple[Member, ...]:
    """The members with a new one, which gets half of the weight; the least one may have to go."""
    if most <= 1:
        return (Member(recipe=recipe),)
    kept = sorted(members, key=lambda member: -member.weight)[: most - 1]
    total = 2 * sum(member.weight for member in kept)
    others = (Member(recipe=m.recipe, weight=m.weight / total) for m in kept)
    return (Member(recipe=recipe, weight=0.5), *others)


def reweighted(standing: Standing, prior: Sequence[float], losses: NDArray[np.float64]) -> Standing:
    """Let the weights follow the losses of one period.

    Hedge (Freund & Schapire 1997) with fixed share (Herbster & Warmuth 1998), towards the
    prior. Losses are taken relative to the best member's, and bounded.

    Args:
        standing: before the period.
        prior: the weights that a share goes back to (members).
        losses: mean loss of each member over the period (members).
    """
    typical = float(np.median(losses))
    periods = standing.periods + 1
    mean_loss = standing.mean_loss + (typical - standing.mean_loss) / periods
    best = float(losses.min())
    scale = best + mean_loss
    relative = np.zeros_like(losses) if scale <= 0 else np.minimum(CLIP, (losses - best) / scale)
    weights = np.asarray(standing.weights) * np.exp(-RATE * relative)
    weights = (1 - SHARE) * weights / weights.sum() + SHARE * np.asarray(prior)
    return Standing(
        weights=tuple((weights / weights.sum()).tolist()), mean_loss=mean_loss, periods=periods
    )


def _on(recipe: Recipe, rows: int | None) -> Recipe:
    return Recipe.of(recipe.family, recipe.settings, rows)


def _second(task: Task) -> Recipe:
    """LightGBM of another kind: the absolute error for numbers, smaller trees for classes."""
    default = default_recipe(task)
    if task is Task.REGRESSION:
        changes: dict[str, str | int | float] = {"objective": "regression_l1"}
    else:
        changes = {
            "num_leaves": 15,
            "learning_rate": 0.05,
            "n_estimators": 150,
            "min_child_samples": 50,
        }
    return Recipe.of(default.family, {**default.settings, **changes})
