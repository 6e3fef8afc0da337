"""Change of the loss: right about dependence in time, and no cry of wolf."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from tests.samples import autoregressive, mixed

from retuned_pipelines.drift.check import check
from retuned_pipelines.drift.performance import long_run_variance, measure_loss
from retuned_pipelines.drift.report import Aspect, DriftReport
from retuned_pipelines.schema import Task
from retuned_pipelines.spec import ModelSpec, WatchPolicy

METRIC = "neg_mean_absolute_error"
POLICY = WatchPolicy()


def newey_west(series: NDArray[np.float64], lags: int) -> float:
    """Variance of the mean by the definition, one product at a time."""
    size = len(series)
    centred = series - series.mean()

    def covariance(lag: int) -> float:
        return float(sum(centred[t] * centred[t - lag] for t in range(lag, size))) / size

    weighted = (2 * (1 - lag / (lags + 1)) * covariance(lag) for lag in range(1, lags + 1))
    return max(covariance(0) + sum(weighted), covariance(0)) / size


def andrews(series: NDArray[np.float64]) -> int:
    """The bandwidth for Bartlett weights, from a regression on the value before."""
    centred = series - series.mean()
    rho = min(max(np.sum(centred[1:] * centred[:-1]) / np.sum(centred**2), 0.0), 0.99)
    alpha = 4 * rho**2 / ((1 - rho) ** 2 * (1 + rho) ** 2)
    return int(min(max(1.0, 1.1447 * np.cbrt(alpha * len(series))), len(series) // 4))


@pytest.mark.parametrize("phi", [-0.5, 0.0, 0.5, 0.9])
@pytest.mark.parametrize("size", [60, 300])
def test_the_variance_is_that_of_newey_and_west(phi: float, size: int) -> None:
    series = autoregressive(np.random.default_rng(1), phi, size)[0]
    assert long_run_variance(series) == pytest.approx(newey_west(series, andrews(series)))


@given(st.lists(st.floats(-1e6, 1e6), min_size=4, max_size=60))
def test_the_variance_is_never_less_than_that_of_independent_rows(values: list[float]) -> None:
    series = np.array(values)
    assert long_run_variance(series) >= series.var() / len(series) * (1 - 1e-9)


def test_the_variance_of_dependent_rows_approaches_the_closed_form() -> None:
    series = autoregressive(np.random.default_rng(2), 0.5, 4000, 50)
    # An AR(1) of variance 1: (1 + phi) / (1 - phi) / n; Bartlett weights lose a little of it.
    found = np.mean([long_run_variance(one) for one in series])
    assert found == pytest.approx(3 / 4000, rel=0.1)


def test_independent_losses_are_compared_nearly_as_by_welch() -> None:
    rng = np.random.default_rng(3)
    before, after = rng.exponential(size=2000), rng.exponential(1.05, size=1500)
    expected = stats.ttest_ind(after, before, equal_var=False, alternative="greater")
    found = measure_loss(before, after, METRIC, POLICY)
    assert found.statistic == pytest.approx(expected.statistic, rel=0.1)
    assert found.p_value == pytest.approx(expected.pvalue, rel=0.3)
    assert found.effect == pytest.approx(after.mean() / before.mean() - 1)


# Nominal is 1 %. What the tolerance leaves room for: three standard errors of the simulation,
# and a long-run variance that few rows of strong dependence do not show in full.
@pytest.mark.parametrize(("phi", "at_most"), [(0.0, 0.02), (0.5, 0.025), (0.9, 0.03)])
@pytest.mark.parametrize(("reference", "current"), [(1000, 500), (300, 100)])
def test_a_loss_that_did_not_rise_seldom_alarms(
    phi: float, at_most: float, reference: int, current: int
) -> None:
    policy = replace(POLICY, loss_effect=0.0)
    losses = 10 + autoregressive(np.random.default_rng(4), phi, reference + current, 1000)
    alarms = [
        measure_loss(one[:reference], one[reference:], METRIC, policy).is_alarm for one in losses
    ]
    assert np.mean(alarms) <= at_most


@pytest.mark.parametrize("phi", [0.0, 0.5])
def test_a_loss_that_rose_by_a_fifth_alarms(phi: float) -> None:
    losses = 5 + autoregressive(np.random.default_rng(5), phi, 1500, 100)
    losses[:, 1000:] += 1.0
    alarms = [measure_loss(one[:1000], one[1000:], METRIC, POLICY).is_alarm for one in losses]
    assert np.mean(alarms) >= 0.95


def test_a_rise_below_the_floor_is_no_alarm() -> None:
    rng = np.random.default_rng(6)
    before, after = rng.normal(10, 0.1, 1000), rng.normal(10.3, 0.1, 1000)
    found = measure_loss(before, after, METRIC, POLICY)
    assert found.p_value < 1e-6
    assert not found.is_alarm


def test_a_loss_that_fell_is_no_alarm() -> None:
    rng = np.random.default_rng(7)
    found = measure_loss(rng.normal(10, 1, 500), rng.normal(5, 1, 500), METRIC, POLICY)
    assert found.p_value > 0.99
    assert found.effect == pytest.approx(-0.5, abs=0.02)
    assert not found.is_alarm


@pytest.mark.parametrize(
    ("before", "after", "is_alarm"), [(0.0, 0.0, False), (0.0, 1.0, True), (1.0, 0.0, False)]
)
def test_losses_without_any_spread_are_compared_too(
    *, before: float, after: float, is_alarm: bool
) -> None:
    found = measure_loss(np.full(100, before), np.full(100, after), METRIC, POLICY)
    assert found.is_alarm is is_alarm
    json.dumps(found.to_json(), allow_nan=False)


@pytest.mark.parametrize(("reference", "current"), [(49, 500), (500, 49), (0, 0)])
def test_few_losses_are_noted_and_no_alarm(reference: int, current: int) -> None:
    found = measure_loss(np.zeros(reference), np.ones(current), METRIC, POLICY)
    assert "fewer than 50" in found.note
    assert not found.is_alarm


def test_a_check_puts_all_measurements_into_one_report() -> None:
    window = mixed(Task.REGRESSION, 400)
    rng = np.random.default_rng(8)
    spec = ModelSpec(name="demo", task=Task.REGRESSION, target="y", metric=METRIC)
    report = check(
        spec,
        reference=window.span(0, 300),
        current=window.span(300, 400),
        reference_losses=rng.normal(1, 0.1, 200),
        current_losses=rng.normal(2, 0.1, 100),
    )
    assert [m.subject for m in report.alarms(Aspect.PERFORMANCE)] == [METRIC]
    assert {m.subject for m in report.measurements} == {METRIC, *window.schema.names}
    assert (report.reference.first_seq, report.reference.rows) == (1, 300)
    assert (report.current.first_seq, report.current.rows) == (601, 100)
    assert DriftReport.from_json(json.loads(json.dumps(report.to_json()))) == report


def test_a_check_without_rows_still_reports() -> None:
    window = mixed(Task.REGRESSION, 10)
    nothing = np.empty(0)
    spec = ModelSpec(name="demo", task=Task.REGRESSION, target="y", metric=METRIC)
    report = check(
        spec,
        reference=window,
        current=window.span(0, 0),
        reference_losses=nothing,
        current_losses=nothing,
    )
    assert report.current.rows == 0
    assert not report.alarms(Aspect.INPUT)
    assert not report.alarms(Aspect.PERFORMANCE)
