"""Change of the champion's loss on labels that have matured."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from scipy import stats

from retuned_pipelines.drift.report import Aspect, Measurement

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from retuned_pipelines.spec import WatchPolicy

MIN_ROWS = 50
"""Fewer losses than this, on either side, are not compared."""


def measure_loss(
    reference: NDArray[np.float64],
    current: NDArray[np.float64],
    metric: str,
    policy: WatchPolicy,
) -> Measurement:
    """Test whether the mean loss rose.

    One-sided Welch test whose variances allow for autocorrelation (Newey & West 1987, with
    Bartlett weights and the bandwidth of Andrews 1991), with Student's t for as many degrees
    of freedom as the smaller sample has lengths of the bandwidth. An alarm is a p-value of at most
    ``loss_alpha`` with a relative rise of at least ``loss_effect``.

    Args:
        reference: losses earlier in the champion's reign (n), in order.
        current: losses of rows whose labels came since the last check (m), in order.
        metric: named in the measurement.
        policy: level and floor.
    """
    if min(len(reference), len(current)) < MIN_ROWS:
        note = f"fewer than {MIN_ROWS} scored rows to compare ({len(reference)}, {len(current)})"
        return _measurement(reference, current, metric, policy, note=note)
    rise = float(current.mean() - reference.mean())
    spread = math.sqrt(long_run_variance(reference) + long_run_variance(current))
    size = min(len(reference), len(current))
    bandwidth = max(_lags(reference), _lags(current)) + 1
    freedom = max(size / bandwidth - 1, 1.0)
    unsure = math.copysign(math.inf, rise) if rise else 0.0
    statistic = rise / spread if spread else unsure
    p_value = float(stats.t.sf(statistic, freedom))
    base = abs(float(reference.mean()))
    effect = rise / base if base > 0 else (1.0 if rise > 0 else 0.0)
    return _measurement(
        reference, current, metric, policy, statistic=statistic, p_value=p_value, effect=effect
    )


def long_run_variance(series: NDArray[np.float64]) -> float:
    """Variance of the mean of an autocorrelated series (n): Newey & West (1987)."""
    size = len(series)
    centred = series - series.mean()
    total = float(centred @ centred) / size
    lags = _lags(series)
    for lag in range(1, lags + 1):
        weight = 1 - lag / (lags + 1)
        total += 2 * weight * float(centred[lag:] @ centred[:-lag]) / size
    # Negative autocorrelation never makes a loss look surer than independent rows would.
    return max(total, float(centred @ centred) / size) / size


def _lags(series: NDArray[np.float64]) -> int:
    """Bandwidth for Bartlett weights if the series were AR(1): Andrews (1991), equation 6.4."""
    size = len(series)
    centred = series - series.mean()
    power = float(centred @ centred)
    if power == 0:
        return 1
    rho = min(max(float(centred[1:] @ centred[:-1]) / power, 0.0), 0.99)
    alpha = 4 * rho**2 / (1 - rho**2) ** 2
    return int(min(max(1.0, 1.1447 * (alpha * size) ** (1 / 3)), size // 4))


def _measurement(  # noqa: PLR0913 (what a measurement tells)
    reference: NDArray[np.float64],
    current: NDArray[np.float64],
    metric: str,
    policy: WatchPolicy,
    *,
    statistic: float = 0.0,
    p_value: float = 1.0,
    effect: float = 0.0,
    note: str = "",
) -> Measurement:
    return Measurement(
        aspect=Aspect.PERFORMANCE,
        subject=metric,
        method="welch_newey_west",
        statistic=statistic if math.isfinite(statistic) else math.copysign(1e300, statistic),
        p_value=p_value,
        threshold=policy.loss_alpha,
        effect=effect,
        effect_floor=policy.loss_effect,
        reference_rows=len(reference),
        current_rows=len(current),
        is_alarm=not note and p_value <= policy.loss_alpha and effect >= policy.loss_effect,
        note=note,
    )
