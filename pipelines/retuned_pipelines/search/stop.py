"""When more search is not worth it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from retuned_pipelines.evaluate.metrics import loss_of
from retuned_pipelines.search.firsts import spared
from retuned_pipelines.spec import Method

if TYPE_CHECKING:
    from collections.abc import Sequence

    from retuned_pipelines.recipe import Recipe
    from retuned_pipelines.search.trial import Origin, Trial
    from retuned_pipelines.spec import SearchPolicy

PATIENCE = 12
"""Trials whose gain tells what as many more would bring."""


def has_plateaued(
    trials: Sequence[Trial],
    policy: SearchPolicy,
    firsts: Sequence[tuple[Origin, Recipe]],
    metric: str,
) -> bool:
    """Whether so much more search is expected to gain less than ``policy.min_gain``.

    The expectation of the best of n draws is concave in n (order statistics; David & Nagaraja
    2003, section 4.2): so many more draws bring no more, on average, than the last ones did.
    What those brought therefore stands for what is to come, once the random trials are over.

    Args:
        trials: all trials of whole batches; those on a share of the rows do not count.
        policy: method, number of random trials, and the smallest gain, a share of the best
            trial's loss.
        firsts: from `firsts.first_recipes`.
        metric: what scores are in.
    """
    random = policy.batch
    if policy.method is Method.AUTO:
        random = max(0, policy.random_trials - spared(firsts))
    begun = len(firsts) + random
    ordered = sorted((t for t in trials if t.is_whole), key=lambda trial: trial.number)
    if policy.min_gain <= 0 or len(ordered) < begun + PATIENCE:
        return False
    before = max((_score(trial) for trial in ordered[:-PATIENCE]), default=-math.inf)
    since = max(_score(trial) for trial in ordered[-PATIENCE:])
    if not math.isfinite(before):
        return False
    return since - before < policy.min_gain * abs(loss_of(metric, before))


def stopped_by_gain(policy: SearchPolicy) -> str:
    """The reason in plain words."""
    return (
        f"{PATIENCE} more trials were expected to cut the loss by less than {policy.min_gain:.2%} "
        "(SEARCH__MIN_GAIN), as the last ones did"
    )


def _score(trial: Trial) -> float:
    return -math.inf if trial.score is None else trial.score
