"""An ask/tell study over recipes, without memory of its own.

What is tried next depends only on the study's seed, the batch's number and the trials of
earlier batches. So a study that was interrupted goes on from its recorded trials as if
nothing had happened, and the number of workers changes nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from retuned_pipelines.models.families import FAMILIES, complexity
from retuned_pipelines.recipe import EVERYTHING, Past
from retuned_pipelines.search.draw import Place, draw
from retuned_pipelines.search.firsts import spared
from retuned_pipelines.search.halving import first_share, promotions, rungs
from retuned_pipelines.search.space import Space
from retuned_pipelines.search.trial import Origin
from retuned_pipelines.spec import Method

if TYPE_CHECKING:
    from collections.abc import Sequence

    from retuned_pipelines.recipe import Recipe
    from retuned_pipelines.schema import Task
    from retuned_pipelines.search.trial import Trial
    from retuned_pipelines.spec import SearchPolicy

WINDOW_SHARES = (0.5, 0.2, 0.1, 0.05, 0.02)
"""Training windows offered, as shares of the labelled rows, beside everything."""

HALF_LIFE_SHARE = 0.2
"""Half-life of the rows' weights that is offered, as a share of the labelled rows."""

MIN_WINDOW_ROWS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A trial to be made.

    Attributes:
        number: position in the study.
        batch: the batch that asked for it.
        origin: where the recipe comes from.
        recipe: what to try.
        share: of the rows that it would learn from, the share that it is to.
    """

    number: int
    batch: int
    origin: Origin
    recipe: Recipe
    share: float = 1.0


def space_of(
    task: Task, policy: SearchPolicy, labelled_rows: int, *, has_changed: bool = False
) -> Space:
    """What a study may choose from.

    Args:
        task: what is predicted.
        policy: which families.
        labelled_rows: how many the study has.
        has_changed: whether a rise of the loss was ever detected.
    """
    sizes = {round(share * labelled_rows) for share in WINDOW_SHARES}
    windows = sorted((size for size in sizes if size >= MIN_WINDOW_ROWS), reverse=True)
    half_life = max(MIN_WINDOW_ROWS, round(HALF_LIFE_SHARE * labelled_rows))
    pasts = [
        EVERYTHING,
        Past(time_feature=True),
        *(Past(rows=rows) for rows in windows),
        Past(half_life_rows=half_life),
    ]
    if has_changed:
        pasts.append(Past(since_change=True))
    return Space(
        families={name: FAMILIES[name].space(task) for name in policy.families},
        pasts=tuple(pasts),
        rows=labelled_rows,
    )


def next_batch(  # noqa: PLR0913 (what a batch depends on)
    space: Space,
    policy: SearchPolicy,
    firsts: Sequence[tuple[Origin, Recipe]],
    trials: Sequence[Trial],
    batch: int,
    *,
    asked: Sequence[Proposal] = (),
) -> tuple[Proposal, ...]:
    """Propose a batch; no recipe is proposed twice in a study, but for more rows.

    Args:
        space: what may be chosen.
        policy: method, batch size, seed, number of trials.
        firsts: from `firsts.first_recipes`.
        trials: all trials recorded; those of this batch and later ones are not looked at.
        batch: number of the batch, from 0.
        asked: what the batches before have proposed, where their trials are not all recorded.

    Returns:
        At most ``policy.batch`` proposals; fewer at the end of the study or where nothing new
        was found in a bounded number of draws.
    """
    earlier = [trial for trial in trials if trial.batch < batch]
    numbered: dict[int, Proposal | Trial] = {one.number: one for one in asked}
    before = (numbered | {trial.number: trial for trial in earlier}).values()
    first = batch * policy.batch
    wanted = range(first, min(first + policy.batch, policy.trials))
    shares = _shares(policy, space)

    def proposal(number: int, origin: Origin, recipe: Recipe, share: float = 1.0) -> Proposal:
        return Proposal(number=number, batch=batch, origin=origin, recipe=recipe, share=share)

    proposals = [proposal(number, *firsts[number]) for number in wanted if number < len(firsts)]
    left = [number for number in wanted if number >= len(firsts)]
    due = promotions(shares, earlier, {(one.recipe, one.share) for one in before})
    for number, (recipe, share) in zip(left, due, strict=False):
        proposals.append(proposal(number, Origin.PROMOTED, recipe, share))
    known = {one.recipe for one in before} | {one.recipe for one in proposals}
    begun = sum(o.number >= len(firsts) and o.origin is not Origin.PROMOTED for o in before)
    for number in left[len(due) :]:
        place = Place(batch=batch, number=number, begun=begun, spared=spared(firsts))
        found = draw(space, policy, earlier, known, place)
        if found is not None:
            share = first_share(shares, begun, has_brackets=policy.method is Method.HYPERBAND)
            proposals.append(proposal(number, *found, share))
            known.add(found[1])
            begun += 1
    return tuple(proposals)


def _shares(policy: SearchPolicy, space: Space) -> tuple[float, ...]:
    if policy.method in {Method.HALVING, Method.HYPERBAND}:
        return rungs(space.rows)
    return (1.0,)


def best(trials: Sequence[Trial]) -> Trial | None:
    """The trial to put forward: the simplest that is as good as the best, of those on all rows.

    As good means within one standard error of the best trial's mean over its folds, the
    difference taken fold by fold (Breiman et al. 1984, section 3.4.3). Simpler means a
    family of lower complexity; within a family the higher score wins.
    """
    scored = [trial for trial in trials if trial.is_whole and trial.score is not None]
    if not scored:
        return None
    top = max(scored, key=_score)
    equals = [trial for trial in scored if _is_as_good(trial, top)]
    return min(equals, key=lambda t: (complexity(t.recipe), -_score(t), t.number))


def finds(trials: Sequence[Trial], most: int = 3) -> tuple[Recipe, ...]:
    """What the next studies should try: what is put forward, then those of the highest scores."""
    found = best(trials)
    if found is None:
        return ()
    whole = [trial for trial in trials if trial.is_whole and trial.score is not None]
    ordered = sorted(whole, key=lambda trial: (-_score(trial), trial.number))
    return tuple(dict.fromkeys(trial.recipe for trial in (found, *ordered)))[:most]


def _is_as_good(trial: Trial, top: Trial) -> bool:
    if trial is top:
        return True
    if complexity(trial.recipe) >= complexity(top.recipe):
        return False
    if len(trial.fold_scores) != len(top.fold_scores) or len(top.fold_scores) < 2:  # noqa: PLR2004
        return False
    behind = np.array(top.fold_scores) - np.array(trial.fold_scores)
    error = float(behind.std(ddof=1)) / math.sqrt(len(behind))
    return bool(behind.mean() <= error)


def _score(trial: Trial) -> float:
    return -math.inf if trial.score is None else trial.score
