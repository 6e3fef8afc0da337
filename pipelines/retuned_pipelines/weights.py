"""How the members' weights follow the losses of labels as they mature, and who leaves.

Hedge (Freund & Schapire 1997) with fixed share (Herbster & Warmuth 1998) towards a prior that
favours the long past: whatever the losses, the answers are nearly as good as those of the best
sequence of members that changes seldom. A single champion is switched by a paired test instead.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from retuned_pipelines.version import Standing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from retuned_pipelines.version import Blocks, Member

RATE = 3.0
"""How fast weights follow losses, in a step."""

SHARE = 0.1
"""Share of the weight that goes back to the prior in a step (fixed share)."""

CLIP = 0.7
"""The largest relative loss that counts."""

BLOCKS = 8
"""Parts into which the labels of a step are cut, in time order."""

HALVES = 2
"""Times that the weights move in a step: smaller parts are too few rows to follow."""

RETIRE_BELOW, RETIRE_AFTER = 0.02, 8
"""A member with less weight than this for so many steps in a row is retired."""

SILENT_BELOW = 0.01
"""A member with less weight than this is not asked for an answer."""

FIRST_PATIENCE = 8
"""How much longer than usual a member waits for its second fit, on many rows; see `upkeep`."""

RECENT_BLOCKS = 32
"""Blocks that a single champion is compared on with the others."""

SWITCH_T = 2.0
"""Paired t statistic beyond which a single champion is switched (one-sided 97 to 98 %)."""


def begun(members: Sequence[Member], labelled: int, *, is_single: bool) -> Standing:
    """The standing of members that are fitted for the first time."""
    count = len(members)
    return Standing(
        weights=tuple(member.weight for member in members),
        low=(0,) * count,
        fitted=(labelled,) * count,
        patience=(FIRST_PATIENCE,) * count,
        leader=0 if is_single else None,
    )


def followed(standing: Standing, prior: Sequence[float], losses: Blocks) -> Standing:
    """Let the weights follow the losses of a step; retire who has carried no weight for long.

    Losses are taken relative to the best member's, and bounded.

    Args:
        standing: before the step.
        prior: the weights that a share goes back to (members).
        losses: mean loss of each member on each block of labels (blocks, members); see
            `version.Came`.
    """
    live = np.array([not gone for gone in standing.retired])
    weights, anchor = np.array(standing.weights), _normalised(np.array(prior) * live)
    mean_loss, blocks = standing.mean_loss, standing.blocks
    parts = np.array_split(np.array(losses), min(HALVES, len(losses)))
    for part in parts:
        loss = part.mean(axis=0)
        blocks += 1
        mean_loss += (float(np.median(loss[live])) - mean_loss) / blocks
        rate, share = RATE / math.sqrt(len(parts)), SHARE / len(parts)
        weights = weights * np.exp(-rate * _relative(loss, live, mean_loss))
        weights = (1 - share) * _normalised(weights * live) + share * anchor
    standing = replace(
        standing,
        weights=tuple(weights.tolist()),
        mean_loss=mean_loss,
        blocks=blocks,
        low=tuple(
            n + 1 if weight < RETIRE_BELOW else 0
            for n, weight in zip(standing.low, weights, strict=True)
        ),
    )
    return _switched(standing, losses) if standing.leader is not None else _retired(standing)


def serving(standing: Standing) -> tuple[float, ...]:
    """The weights by which the members answer; 0 for who is not asked."""
    if standing.leader is not None:
        return tuple(float(n == standing.leader) for n in range(len(standing.weights)))
    weights = np.array(standing.weights)
    heard = np.where(weights < SILENT_BELOW, 0.0, weights)
    return tuple(_normalised(heard if heard.any() else weights).tolist())


def bounded(standing: Standing, predict_ms: Sequence[float], most: float) -> Standing:
    """Retire the least weighty members until one row is predicted in time.

    Args:
        standing: how the members stand.
        predict_ms: milliseconds that each takes for a row.
        most: milliseconds that all may take together; 0 for no limit.
    """
    if most <= 0 or standing.leader is not None:
        return standing
    gone, weights = list(standing.retired), np.array(standing.weights)
    for position in np.argsort(weights, kind="stable").tolist():
        live = [n for n, is_gone in enumerate(gone) if not is_gone]
        if len(live) == 1 or sum(predict_ms[n] for n in live) <= most:
            break
        gone[position] = True
    weights = _normalised(np.where(gone, 0.0, weights))
    return replace(standing, weights=tuple(weights.tolist()), gone=tuple(gone))


def _relative(
    loss: NDArray[np.float64], live: NDArray[np.bool_], mean_loss: float
) -> NDArray[np.float64]:
    best = float(loss[live].min())
    scale = best + mean_loss
    if scale <= np.finfo(np.float64).tiny:
        return np.zeros_like(loss)
    with np.errstate(over="ignore"):  # beyond all numbers is beyond the clip
        relative = (np.nan_to_num(loss) - best) / scale
    return np.where(live, np.minimum(CLIP, relative), 0.0)


def _retired(standing: Standing) -> Standing:
    gone = tuple(
        was or n >= RETIRE_AFTER for was, n in zip(standing.retired, standing.low, strict=True)
    )
    if not any(gone) or all(gone):
        return standing
    weights = _normalised(np.where(gone, 0.0, standing.weights))
    return replace(standing, weights=tuple(weights.tolist()), gone=gone)


def _switched(standing: Standing, losses: Blocks) -> Standing:
    """Change a single champion's leader where another is better on the recent blocks."""
    recent = (*standing.recent, *losses)[-RECENT_BLOCKS:]
    table, leader = np.array(recent), standing.leader or 0
    standing = replace(standing, recent=recent)
    gains = table[:, [leader]] - table
    mean = gains.mean(axis=0)
    error = gains.std(axis=0, ddof=1) / math.sqrt(len(gains)) if len(gains) > 1 else mean * np.inf
    is_better = (mean > SWITCH_T * error) & (mean > 0)
    if len(recent) < 2 * BLOCKS or not is_better.any():
        return standing
    return replace(standing, leader=int(np.where(is_better, mean, -np.inf).argmax()))


def _normalised(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(weights / weights.sum())
