"""Paired comparison of two models on the same rows in time order.

Losses that follow each other in time are not independent, so rows are resampled in blocks
(`resampling`). A metric that ranks rows is scored block by block of the gate, each predicted by
models of its own, and its bounds are those of a mean over blocks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from retuned_pipelines.evaluate.metrics import (
    is_ranking,
    is_row_mean,
    loss_of,
    row_losses,
    score,
)
from retuned_pipelines.evaluate.resampling import (
    SLOW_RESAMPLES,
    block_length,
    bounds,
    resampled_means,
    resamples,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from retuned_pipelines.schema import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How much of the rival's loss a challenger removes.

    Attributes:
        challenger_score: over all rows, or the mean over blocks of a ranking metric; higher is
            better.
        rival_score: likewise.
        gain: share of the rival's loss removed.
        lower: lower bound of the gain.
        upper: upper bound of the gain.
        blocks: blocks of the gate in which the metric has a value.
    """

    challenger_score: float
    rival_score: float
    gain: float
    lower: float
    upper: float
    blocks: int


def compare(  # noqa: PLR0913 (what a comparison is made of)
    metric: str,
    task: Task,
    *,
    target: NDArray[Any],
    challenger: NDArray[np.float64],
    rival: NDArray[np.float64],
    classes: tuple[str, ...],
    lengths: Sequence[int],
    confidence: float,
    rng: np.random.Generator,
) -> Comparison:
    """Compare two models' outputs on the same rows.

    Args:
        metric: scikit-learn scorer name.
        task: what is predicted.
        target: truth (n), in time order; see `metrics`.
        challenger: outputs of the one.
        rival: outputs of the other.
        classes: what codes and columns stand for.
        lengths: rows of each block that one fitted model of either kind predicted, in order.
        confidence: one-sided confidence of each bound.
        rng: source of the resamples.
    """
    if is_ranking(metric):
        cuts = np.cumsum(lengths)[:-1]
        blocks = zip(*(np.split(part, cuts) for part in (target, challenger, rival)), strict=True)
        scored = [
            [_score_order(metric, task, truth, output, classes) for output in outputs]
            for truth, *outputs in blocks
            if len(np.unique(truth)) == len(classes)
        ]
        return _compare_blocks(np.array(scored).reshape(-1, 2), confidence)
    of_challenger = row_losses(metric, task, target, challenger)
    of_rival = row_losses(metric, task, target, rival)
    length = block_length(of_rival - of_challenger)
    scores = (
        score(metric, task, target, challenger, classes),
        score(metric, task, target, rival, classes),
    )
    gain = float(_gain(loss_of(metric, scores[0]), loss_of(metric, scores[1])))
    if is_row_mean(metric):
        means = resampled_means(np.column_stack([of_challenger, of_rival]), length, rng)
        gains = _gain(means[:, 0], means[:, 1])
    else:
        gains = np.array(
            [
                _gain(
                    loss_of(metric, score(metric, task, target[i], challenger[i], classes)),
                    loss_of(metric, score(metric, task, target[i], rival[i], classes)),
                )
                for i in resamples(len(target), length, SLOW_RESAMPLES, rng)
            ]
        )
    gains = gains[np.isfinite(gains)]
    lower, upper = bounds(gain, gains, confidence, len(target) / length)
    return Comparison(
        challenger_score=scores[0],
        rival_score=scores[1],
        gain=gain,
        lower=lower,
        upper=upper,
        blocks=len(lengths),
    )


def compare_losses(
    challenger: NDArray[np.float64],
    rival: NDArray[np.float64],
    *,
    confidence: float,
    rng: np.random.Generator,
) -> Comparison:
    """Compare losses of both on the same rows (n) in time order; a score is less their mean."""
    length = block_length(rival - challenger)
    losses = np.column_stack([challenger, rival])
    mean = losses.mean(axis=0)
    means = resampled_means(losses, length, rng)
    gain = float(_gain(mean[0], mean[1]))
    lower, upper = bounds(gain, _gain(means[:, 0], means[:, 1]), confidence, len(losses) / length)
    return Comparison(
        challenger_score=-float(mean[0]),
        rival_score=-float(mean[1]),
        gain=gain,
        lower=lower,
        upper=upper,
        blocks=1,
    )


def _score_order(
    metric: str,
    task: Task,
    truth: NDArray[Any],
    output: NDArray[np.float64],
    classes: tuple[str, ...],
) -> float:
    """Score the order of rows; rows that the outputs do not tell apart at all are in any order.

    Average precision is the share of the positives where all rows are tied, but more than that
    where they are ordered by chance.
    """
    if metric != "average_precision" or np.ptp(output, axis=0).any():
        return score(metric, task, truth, output, classes)
    positive = range(1, 2) if len(classes) == 2 else range(len(classes))  # noqa: PLR2004
    counts = np.array([np.sum(truth == code) for code in positive])
    return float(np.mean(_precision_by_chance(len(truth), counts)))


def _precision_by_chance(size: int, positives: NDArray[np.int64]) -> NDArray[np.float64]:
    """Expected average precision of a random order (Bestgen 2015)."""
    harmonic = float(np.sum(1.0 / np.arange(1, size + 1)))
    share = (positives - 1) / max(size - 1, 1)
    return np.asarray((share * (size - harmonic) + harmonic) / size)


def _compare_blocks(scores: NDArray[np.float64], confidence: float) -> Comparison:
    """Compare scores (blocks, challenger and rival) whose best value is 1.

    The gain is a ratio of means, its error that of the linearised ratio over blocks (Cochran
    1977, section 6.4), its bounds those of Student's t.
    """
    from scipy.stats import t  # noqa: PLC0415 (half a second that serving does not need)

    scores = scores[np.isfinite(scores).all(axis=1)]
    count, losses = len(scores), 1.0 - scores
    if count == 0:
        nothing = float("nan")
        return Comparison(
            challenger_score=nothing,
            rival_score=nothing,
            gain=nothing,
            lower=float("-inf"),
            upper=float("inf"),
            blocks=0,
        )
    challenger, rival = losses.mean(axis=0)
    gain, reach = float(_gain(challenger, rival)), 0.0
    if rival > 0:
        rest = losses[:, 1] * (1.0 - gain) - losses[:, 0]
        error = rest.std(ddof=1) / math.sqrt(count) / rival if count > 1 else math.inf
        reach = float(t.ppf(confidence, max(count - 1, 1)) * error)
    return Comparison(
        challenger_score=float(1.0 - challenger),
        rival_score=float(1.0 - rival),
        gain=gain,
        lower=gain - reach,
        upper=gain + reach,
        blocks=count,
    )


def _gain(
    challenger: float | NDArray[np.float64], rival: float | NDArray[np.float64]
) -> NDArray[np.float64]:
    """Share of the rival's loss removed; 0 where neither loses, -1 where only the first does."""
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.divide(np.subtract(rival, challenger), np.abs(rival))
    return np.where(np.equal(rival, 0), np.where(np.equal(challenger, 0), 0.0, -1.0), share)
