"""Paired comparison: honest about chance, able to see what is there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from arch.bootstrap import optimal_block_length
from numpy.typing import NDArray
from scipy.stats import norm, ttest_1samp
from sklearn.metrics import average_precision_score, roc_auc_score
from tests.samples import autoregressive

from retuned_pipelines.evaluate.compare import Comparison, compare
from retuned_pipelines.evaluate.resampling import block_length
from retuned_pipelines.schema import Task

MAE = "neg_mean_absolute_error"


def on_errors(
    challenger: NDArray[np.float64],
    rival: NDArray[np.float64],
    *,
    seed: int = 0,
    confidence: float = 0.95,
    metric: str = MAE,
) -> Comparison:
    """Compare two series of prediction errors."""
    return compare(
        metric,
        Task.REGRESSION,
        target=np.zeros(len(rival)),
        challenger=challenger,
        rival=rival,
        classes=(),
        lengths=(len(rival),),
        confidence=confidence,
        rng=np.random.default_rng(seed),
    )


# arch counts its cut-off from the first insignificant autocorrelation, the paper from the last
# significant one; short series of weak dependence differ most by that.
@pytest.mark.parametrize(("phi", "tolerance"), [(0.0, 0.0), (0.3, 0.35), (0.6, 0.15), (0.9, 0.1)])
def test_blocks_are_as_long_as_politis_and_white_have_them(phi: float, tolerance: float) -> None:
    rng = np.random.default_rng(5)
    close = []
    for series in autoregressive(rng, phi, 2000, 40):
        expected = float(optimal_block_length(series)["circular"].iloc[0])
        # Ours is rounded up.
        close.append(abs(block_length(series) - expected) <= 1 + tolerance * expected)
    assert np.mean(close) >= 0.9


@pytest.mark.parametrize("size", [1, 5, 9, 10, 11, 40])
def test_blocks_of_short_series_leave_several(size: int) -> None:
    series = autoregressive(np.random.default_rng(size), 0.95, size)[0]
    assert 1 <= block_length(series) <= max(1, size // 3)


def test_a_constant_difference_needs_no_blocks() -> None:
    assert block_length(np.full(500, 3.7)) == 1
    assert block_length(np.zeros(500)) == 1


# Two standard errors of the simulation are allowed for.
@pytest.mark.parametrize("confidence", [0.95, 0.9924])
@pytest.mark.parametrize(("phi", "rows"), [(0.0, 150), (0.5, 200), (0.75, 200), (0.9, 400)])
def test_a_challenger_that_is_no_better_is_seldom_taken_for_one(
    phi: float, rows: int, confidence: float
) -> None:
    rng, times, level = np.random.default_rng(3), 500, 1 - confidence
    pairs = zip(
        10 + autoregressive(rng, phi, rows, times),
        10 + autoregressive(rng, phi, rows, times),
        strict=True,
    )
    lower = [
        on_errors(one, other, seed=n, confidence=confidence).lower
        for n, (one, other) in enumerate(pairs)
    ]
    chance = 2 * np.sqrt(level * (1 - level) / times)
    assert np.mean(np.array(lower) > 0) <= level + chance


@pytest.mark.parametrize("phi", [0.0, 0.6])
def test_a_tenth_of_the_loss_removed_is_seen_on_500_rows(phi: float) -> None:
    rng = np.random.default_rng(4)
    seen, gains = [], []
    for _ in range(40):
        shared, own = autoregressive(rng, phi, 500, 2)
        found = on_errors(shared, shared + 0.5 * own)
        seen.append(found.lower > 0)
        gains.append(found.gain)
    assert np.mean(seen) >= 0.9
    # The closed form: two Gaussian errors of variance 1 and 1.25.
    assert np.mean(gains) == pytest.approx(1 - 1 / np.sqrt(1.25), abs=0.01)


def test_the_same_outputs_gain_nothing() -> None:
    errors = autoregressive(np.random.default_rng(1), 0.5, 300)[0]
    found = on_errors(errors, errors)
    assert (found.gain, found.lower, found.upper) == (0.0, 0.0, 0.0)


def test_the_bounds_lie_around_the_gain_and_widen_with_confidence() -> None:
    one, other = autoregressive(np.random.default_rng(2), 0.3, 300, 2)
    narrow, wide = (on_errors(one, other, confidence=level) for level in (0.8, 0.99))
    assert wide.lower < narrow.lower < narrow.gain < narrow.upper < wide.upper
    assert narrow.gain == wide.gain


def test_few_blocks_widen_the_bounds() -> None:
    rng = np.random.default_rng(8)
    few, many = (autoregressive(rng, 0.5, rows, 2) for rows in (12, 1200))
    widths = [
        found.upper - found.lower
        for found in (on_errors(10 + few[0], 10 + few[1]), on_errors(10 + many[0], 10 + many[1]))
    ]
    assert widths[0] > 5 * widths[1]


@pytest.mark.parametrize("confidence", [0.95, 0.9924, 0.9999])
def test_bounds_that_few_resamples_lie_beyond_are_as_far_as_the_normal_one_s(
    confidence: float,
) -> None:
    one, other = np.random.default_rng(11).normal(10, 1, (2, 1500))
    found = on_errors(one, other, confidence=confidence)
    error = np.std(other - one) / np.sqrt(1500) / np.mean(other)
    assert found.gain - found.lower == pytest.approx(norm.ppf(confidence) * error, rel=0.15)
    assert found.upper - found.gain == pytest.approx(norm.ppf(confidence) * error, rel=0.15)


def test_the_same_seed_gives_the_same_bounds() -> None:
    one, other = autoregressive(np.random.default_rng(2), 0.3, 300, 2)
    assert on_errors(one, other, seed=9) == on_errors(one, other, seed=9)


@pytest.mark.parametrize(("challenger", "gain"), [(0.0, 0.0), (2.0, -1.0)])
def test_a_rival_without_any_loss_cannot_be_beaten(challenger: float, gain: float) -> None:
    found = on_errors(np.full(50, challenger), np.zeros(50))
    assert (found.gain, found.lower, found.upper) == (gain, gain, gain)


def classified(metric: str, seed: int = 0) -> Comparison:
    """Compare a classifier with a much worse one."""
    rng = np.random.default_rng(seed)
    target = rng.integers(0, 2, 300)

    def answer(noise: float) -> NDArray[Any]:
        positive = 1 / (1 + np.exp(-(2.0 * target - 1.0 + noise * rng.normal(size=300))))
        return np.column_stack([1 - positive, positive])

    return compare(
        metric,
        Task.BINARY,
        target=target,
        challenger=answer(0.7),
        rival=answer(3.0),
        classes=("0", "1"),
        lengths=(50,) * 6,
        confidence=0.95,
        rng=rng,
    )


@pytest.mark.parametrize("metric", ["accuracy", "neg_log_loss", "roc_auc"])
def test_a_much_better_classifier_is_seen_by_every_kind_of_metric(metric: str) -> None:
    found = classified(metric)
    assert 0 < found.lower < found.gain < found.upper <= 1.5
    assert found.challenger_score > found.rival_score


def test_a_metric_of_all_rows_agrees_with_scores() -> None:
    found = on_errors(np.full(100, 0.5), np.full(100, 1.0), metric="neg_root_mean_squared_error")
    assert (found.challenger_score, found.rival_score) == (-0.5, -1.0)
    assert found.gain == found.lower == found.upper == pytest.approx(0.5)


def test_ranks_of_one_class_have_no_gain() -> None:
    output = np.array([[0.5, 0.5]] * 40)
    found = compare(
        "roc_auc",
        Task.BINARY,
        target=np.ones(40, dtype=np.int64),
        challenger=output,
        rival=output,
        classes=("0", "1"),
        lengths=(10,) * 4,
        confidence=0.95,
        rng=np.random.default_rng(0),
    )
    assert np.isnan(found.gain)
    assert found.blocks == 0


def ranked(
    metric: str,
    target: NDArray[np.int64],
    challenger: NDArray[np.float64],
    rival: NDArray[np.float64],
    lengths: tuple[int, ...],
) -> Comparison:
    """Compare two series of probabilities of the positive class."""
    return compare(
        metric,
        Task.BINARY,
        target=target,
        challenger=np.column_stack([1 - challenger, challenger]),
        rival=np.column_stack([1 - rival, rival]),
        classes=("0", "1"),
        lengths=lengths,
        confidence=0.95,
        rng=np.random.default_rng(0),
    )


def test_outputs_of_different_fits_are_not_ranked_together() -> None:
    rng = np.random.default_rng(6)
    target = rng.integers(0, 2, 400)
    order = target + rng.normal(size=400)
    # The same order in each block, at a level that says the opposite of the block's share.
    lengths = (100,) * 4
    level = np.repeat([0.1, 0.7, 0.2, 0.6], 100)
    found = ranked("roc_auc", target, level + 0.01 * order, order / 10, lengths)
    assert found.challenger_score == found.rival_score > 0.6
    assert (found.gain, found.lower, found.upper) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("metric", ["roc_auc", "average_precision"])
def test_a_block_without_every_class_is_left_out_of_ranks(metric: str) -> None:
    rng = np.random.default_rng(7)
    target = np.concatenate([rng.integers(0, 2, 150), np.zeros(50, dtype=np.int64)])
    one, other = rng.random(200), rng.random(200)
    whole = ranked(metric, target, one, other, (50,) * 4)
    part = ranked(metric, target[:150], one[:150], other[:150], (50,) * 3)
    assert whole == part
    assert whole.blocks == 3


def test_bounds_over_blocks_are_those_of_student_s_t_where_the_rival_is_constant() -> None:
    rng = np.random.default_rng(9)
    target = rng.integers(0, 2, 480)
    scores = target + 2 * rng.normal(size=480)
    found = ranked("roc_auc", target, scores, np.full(480, 0.3), (60,) * 8)
    parts = zip(np.split(target, 8), np.split(scores, 8), strict=True)
    # Of a loss of .5 everywhere the gain is twice the AUC less 1.
    gains = [2 * roc_auc_score(truth, output) - 1 for truth, output in parts]
    interval = ttest_1samp(gains, 0).confidence_interval(0.9)
    assert found.gain == pytest.approx(np.mean(gains))
    assert (found.lower, found.upper) == pytest.approx((interval.low, interval.high))


@pytest.mark.parametrize("positives", [1, 3, 20])
def test_what_orders_nothing_has_the_precision_of_a_random_order(positives: int) -> None:
    rng = np.random.default_rng(positives)
    truth = (np.arange(20) < positives).astype(np.int64) if positives < 20 else np.arange(20) % 2
    found = ranked("average_precision", truth, rng.random(20), np.full(20, 0.5), (20,))
    by_chance = [average_precision_score(truth, rng.random(20)) for _ in range(600)]
    assert found.rival_score == pytest.approx(np.mean(by_chance), abs=0.02)


def test_the_block_length_does_not_depend_on_the_scale() -> None:
    rng = np.random.default_rng(0)
    series = np.convolve(rng.normal(size=500), np.ones(5), mode="valid")
    lengths = {block_length(series * scale) for scale in (1e-30, 1.0, 1e30, 1e150)}
    assert len(lengths) == 1
    assert lengths.pop() > 1
