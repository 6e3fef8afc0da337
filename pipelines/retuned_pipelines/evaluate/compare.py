"""Paired comparison of two models on the same rows in time order.

Losses that follow each other in time are not independent, so rows are resampled in blocks:
the circular block bootstrap (Politis & Romano 1992), its block length chosen from the data
(Politis & White 2004, as corrected by Patton, Politis & White 2009).

A metric that ranks rows is scored block by block of the gate, each predicted by models of its
own, and its bounds are those of a mean over blocks.
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

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from retuned_pipelines.schema import Task

RESAMPLES = 2000
SLOW_RESAMPLES = 300
"""Resamples for metrics that are no mean over rows and must be computed anew each time."""

BEYOND = 8
"""Resamples that must lie beyond a quantile for it to be read off; bounds of more confidence than
that are reached from there, as far as Student's t says."""


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
        means = _resampled_means(np.column_stack([of_challenger, of_rival]), length, rng)
        gains = _gain(means[:, 0], means[:, 1])
    else:
        gains = np.array(
            [
                _gain(
                    loss_of(metric, score(metric, task, target[i], challenger[i], classes)),
                    loss_of(metric, score(metric, task, target[i], rival[i], classes)),
                )
                for i in _resamples(len(target), length, SLOW_RESAMPLES, rng)
            ]
        )
    gains = gains[np.isfinite(gains)]
    lower, upper = _bounds(gain, gains, confidence, len(target) / length)
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
    means = _resampled_means(losses, length, rng)
    gain = float(_gain(mean[0], mean[1]))
    lower, upper = _bounds(gain, _gain(means[:, 0], means[:, 1]), confidence, len(losses) / length)
    return Comparison(
        challenger_score=-float(mean[0]),
        rival_score=-float(mean[1]),
        gain=gain,
        lower=lower,
        upper=upper,
        blocks=1,
    )


def block_length(series: NDArray[np.float64]) -> int:
    """Length of the blocks of a circular block bootstrap of the series' mean (n).

    Politis & White (2004), section 3.2, with the correction of Patton, Politis & White (2009);
    between 1 and a third of the rows.
    """
    size = len(series)
    # The length does not depend on the scale, but squares of squares overflow.
    scale = float(np.max(np.abs(series), initial=0.0))
    series = series / scale if scale > 0 else series
    centred = series - series.mean()
    variance = float(np.mean(centred**2))
    if size < 10 or variance < 1e-12 * max(1.0, float(np.mean(series**2))):  # noqa: PLR2004
        return 1
    patience = max(5, int(math.sqrt(math.log10(size))))
    furthest = min(math.ceil(math.sqrt(size)) + patience, size - 1)
    covariance = _autocovariance(centred, furthest)
    bound = 2 * math.sqrt(math.log10(size) / size)
    small = np.abs(covariance[1:] / covariance[0]) < bound
    runs = np.convolve(small, np.ones(patience), mode="valid") == patience
    last = int(np.argmax(runs)) if runs.any() else furthest
    width = min(2 * max(last, 1), furthest)
    lags = np.arange(-width, width + 1)
    share = np.abs(lags) / width
    taper = np.where(share <= 0.5, 1.0, 2 * (1 - share))  # noqa: PLR2004 (flat-top kernel)
    weighted = taper * covariance[np.abs(lags)]
    bias = float(np.sum(weighted * np.abs(lags)))
    spread = 4.0 / 3.0 * float(np.sum(weighted)) ** 2
    if spread <= 0:
        return 1
    length = math.ceil((2 * bias**2 / spread) ** (1 / 3) * size ** (1 / 3))
    return int(min(max(length, 1), max(1, size // 3), math.ceil(3 * math.sqrt(size))))


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


def _bounds(
    estimate: float, resampled: NDArray[np.float64], confidence: float, blocks: float
) -> tuple[float, float]:
    """Percentile bounds, widened for few blocks.

    With few blocks the bootstrap is too sure of itself; the distance from the estimate is
    stretched by the ratio of Student's to the normal quantile and by sqrt(b / (b - 1)). Where
    too few resamples lie beyond a bound, it is stretched from one that more lie beyond.
    """
    from scipy.stats import norm, t  # noqa: PLC0415 (half a second that serving does not need)

    if len(resampled) == 0:
        return float("-inf"), float("inf")
    freedom = max(blocks - 1, 1.0)
    told = max(0.5, min(confidence, 1 - BEYOND / len(resampled)))
    if told == 0.5:  # noqa: PLR2004 (no quantile of a few values says anything)
        return float("-inf"), float("inf")
    stretch = float(t.ppf(confidence, freedom) / norm.ppf(told))
    stretch *= math.sqrt((freedom + 1) / freedom)
    low, high = np.quantile(resampled, [1 - told, told])
    return (
        estimate - stretch * (estimate - float(low)),
        estimate + stretch * (float(high) - estimate),
    )


def _autocovariance(centred: NDArray[np.float64], furthest: int) -> NDArray[np.float64]:
    size = len(centred)
    spectrum = np.fft.rfft(centred, 1 << (2 * size - 1).bit_length())
    return np.asarray(np.fft.irfft(np.abs(spectrum) ** 2)[: furthest + 1] / size)


def _resampled_means(
    series: NDArray[np.float64], length: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Means (RESAMPLES, columns) of circular block resamples of a series (n, columns)."""
    size, columns = series.shape
    count = math.ceil(size / length)
    wrapped = np.concatenate(
        [np.zeros((1, columns)), np.cumsum(np.concatenate([series] * 2), axis=0)]
    )
    sums = wrapped[length : length + size] - wrapped[:size]
    starts = rng.integers(0, size, (RESAMPLES, count))
    return np.asarray(sums[starts].sum(axis=1) / (count * length))


def _resamples(
    size: int, length: int, times: int, rng: np.random.Generator
) -> Iterator[NDArray[np.int64]]:
    count = math.ceil(size / length)
    offsets = np.arange(length)
    for _ in range(times):
        starts = rng.integers(0, size, count)
        yield ((starts[:, None] + offsets) % size).ravel()[:size]
