"""Bounds out of resamples: as far from the estimate as Student's t says."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm, t

from retuned_pipelines.evaluate.resampling import RESAMPLES, bounds, resampled_means

# What a bootstrap gives whose estimates are Gaussian about 3, with a standard error of 2.
GAUSSIAN = 3 + 2 * norm.ppf((np.arange(RESAMPLES) + 0.5) / RESAMPLES)


@pytest.mark.parametrize("confidence", [0.9, 0.9696, 0.9988])
@pytest.mark.parametrize("blocks", [9, 30, 300])
def test_three_blocks_count_as_one(blocks: int, confidence: float) -> None:
    lower, upper = bounds(3.0, GAUSSIAN, confidence, blocks)
    # The mean of so many independent blocks, whose deviation was taken without n / (n - 1).
    count = blocks / 3
    reach = t.ppf(confidence, count - 1) * 2 * np.sqrt(count / (count - 1))
    assert (3 - lower, upper - 3) == pytest.approx((reach, reach), rel=0.02)


@pytest.mark.parametrize("confidence", [0.9, 0.9696, 0.9988])
def test_a_thousand_independent_rows_leave_the_bounds_almost_as_they_are(
    confidence: float,
) -> None:
    lower, _ = bounds(3.0, GAUSSIAN, confidence, 1000)
    assert 3 - lower == pytest.approx(2 * norm.ppf(confidence), rel=0.02)


@pytest.mark.parametrize("blocks", [1, 3, 5])
def test_where_there_are_fewer_than_six_blocks_hardly_anything_is_certain(blocks: int) -> None:
    lower, upper = bounds(3.0, GAUSSIAN, 0.9696, blocks)
    reach = t.ppf(0.9696, 1) * 2 * np.sqrt(2)
    assert (3 - lower, upper - 3) == pytest.approx((reach, reach), rel=0.02)


def test_each_bound_keeps_its_own_distance() -> None:
    skewed = np.exp(GAUSSIAN)
    lower, upper = bounds(np.exp(3.0), skewed, 0.9696, 30)
    assert upper - np.exp(3.0) > 10 * (np.exp(3.0) - lower)


@pytest.mark.parametrize("count", [0, 1, 15])
def test_a_few_resamples_say_nothing(count: int) -> None:
    assert bounds(3.0, GAUSSIAN[:count], 0.95, 100) == (-np.inf, np.inf)


def test_resampled_means_scatter_as_the_mean_of_independent_rows_does() -> None:
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(400, 1))
    means = resampled_means(rows, 1, rng)
    assert means.shape == (RESAMPLES, 1)
    assert means.mean() == pytest.approx(rows.mean(), abs=0.005)
    assert means.std() == pytest.approx(rows.std() / 20, rel=0.06)
