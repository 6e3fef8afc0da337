"""How sure a mean of rows in time order is: the circular block bootstrap.

Politis & Romano (1992), the block length chosen from the data (Politis & White 2004, as corrected
by Patton, Politis & White 2009), the bounds those of a Student's t with fewer degrees of freedom
than there are blocks.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

RESAMPLES = 2000
SLOW_RESAMPLES = 300
"""Resamples for metrics that are no mean over rows and must be computed anew each time."""

BEYOND = 8
"""Resamples that must lie beyond a quantile for it to be read off; bounds of more confidence than
that are reached from there, as far as Student's t says."""

AS_ONE = 3
"""Blocks that count as one where bounds are widened for few of them.

The block length is the one that estimates the variance best; bounds that hold ask for more
smoothing than that, and for the quantiles of few degrees of freedom (Sun, Phillips & Jin 2008,
Econometrica 76 (1), 175-194; Lazarus, Lewis, Stock & Watson 2018, Journal of Business & Economic
Statistics 36 (4), 541-559). How many was chosen by simulation: docs/decisions/0025."""


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


def bounds(
    estimate: float, resampled: NDArray[np.float64], confidence: float, blocks: float
) -> tuple[float, float]:
    """Percentile bounds, widened for few blocks.

    With few blocks the bootstrap is too sure of itself; the distance from the estimate is
    stretched by the ratio of Student's to the normal quantile and by sqrt(b / (b - 1)), b being the
    blocks by `AS_ONE`. Where too few resamples lie beyond a bound, it is stretched from one that
    more lie beyond.

    Args:
        estimate: from the rows as they are.
        resampled: the same from each resample.
        confidence: one-sided, of each bound.
        blocks: rows by the block length.
    """
    from scipy.stats import norm, t  # noqa: PLC0415 (half a second that serving does not need)

    if len(resampled) == 0:
        return float("-inf"), float("inf")
    freedom = max(blocks / AS_ONE - 1, 1.0)
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


def resampled_means(
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


def resamples(
    size: int, length: int, times: int, rng: np.random.Generator
) -> Iterator[NDArray[np.int64]]:
    """Rows (size) of so many circular block resamples, one after the other."""
    count = math.ceil(size / length)
    offsets = np.arange(length)
    for _ in range(times):
        starts = rng.integers(0, size, count)
        yield ((starts[:, None] + offsets) % size).ravel()[:size]


def _autocovariance(centred: NDArray[np.float64], furthest: int) -> NDArray[np.float64]:
    size = len(centred)
    spectrum = np.fft.rfft(centred, 1 << (2 * size - 1).bit_length())
    return np.asarray(np.fft.irfft(np.abs(spectrum) ** 2)[: furthest + 1] / size)
