"""Change of inputs: SciPy's tests, false-discovery control, and no cry of wolf."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from tests.samples import window_of

from retuned_pipelines.drift.inputs import measure_inputs
from retuned_pipelines.drift.report import Aspect, Measurement
from retuned_pipelines.spec import WatchPolicy
from retuned_pipelines.window import Window

POLICY = WatchPolicy()


def windows(
    before: dict[str, NDArray[Any]], after: dict[str, NDArray[Any]]
) -> tuple[Window, Window]:
    return tuple(  # type: ignore[return-value] # two in, two out
        window_of(columns, np.zeros(len(next(iter(columns.values())))))
        for columns in (before, after)
    )


def measured(
    before: NDArray[Any], after: NDArray[Any], policy: WatchPolicy = POLICY
) -> dict[str, Measurement]:
    """Compare one feature; its measurements by method."""
    found = measure_inputs(*windows({"x": before}, {"x": after}), policy)
    return {measurement.method: measurement for measurement in found}


def letters(rng: np.random.Generator, size: int, shares: list[float]) -> NDArray[Any]:
    return rng.choice(list("abcdefgh")[: len(shares)], size, p=shares).astype(object)


def test_numbers_are_compared_by_scipy_s_kolmogorov_smirnov_test() -> None:
    rng = np.random.default_rng(0)
    before, after = rng.normal(size=300), rng.normal(0.2, 1, size=200)
    expected = stats.ks_2samp(before, after, method="asymp")
    found = measured(before, after)["ks"]
    assert found.aspect is Aspect.INPUT
    assert found.p_value == pytest.approx(expected.pvalue)
    assert found.statistic == found.effect == pytest.approx(expected.statistic)


def test_categories_are_compared_by_scipy_s_chi_square_test() -> None:
    rng = np.random.default_rng(0)
    before, after = letters(rng, 300, [0.5, 0.3, 0.2]), letters(rng, 200, [0.4, 0.3, 0.3])
    table = [[np.sum(column == name) for name in "abc"] for column in (before, after)]
    expected = stats.chi2_contingency(table, correction=False)
    found = measured(before, after)["chi2"]
    assert found.statistic == pytest.approx(expected.statistic)
    assert found.p_value == pytest.approx(expected.pvalue)


def test_the_effect_of_categories_is_cramer_s_v_less_what_chance_gives() -> None:
    found = measured(np.array(["a"] * 200, object), np.array(["b"] * 200, object))["chi2"]
    assert found.effect == pytest.approx(1.0, abs=0.01)
    rng = np.random.default_rng(1)
    effects = [
        measured(letters(rng, 200, [0.25] * 4), letters(rng, 200, [0.25] * 4))["chi2"].effect
        for _ in range(50)
    ]
    # Uncorrected, its mean would be about sqrt(3 / 400) = .09.
    assert np.mean(effects) < 0.05


def test_rare_categories_are_pooled_not_dropped() -> None:
    before = np.array(["a"] * 500 + [f"id{n}" for n in range(100)], object)
    after = np.array(["a"] * 300 + [f"new{n}" for n in range(100)], object)
    expected = stats.chi2_contingency([[500, 100], [300, 100]], correction=False)
    assert measured(before, after)["chi2"].p_value == pytest.approx(expected.pvalue)


def test_all_p_values_of_a_check_are_adjusted_together() -> None:
    rng = np.random.default_rng(3)
    shifts = np.linspace(0, 0.4, 8)
    before = {f"x{n}": rng.normal(size=200) for n in range(8)}
    after = {f"x{n}": rng.normal(shift, 1, size=200) for n, shift in enumerate(shifts)}
    raw = [stats.ks_2samp(before[name], after[name], method="asymp").pvalue for name in before]
    found = measure_inputs(*windows(before, after), POLICY)
    assert [m.p_value for m in found] == pytest.approx(stats.false_discovery_control(raw))


def test_truth_values_are_compared_like_categories() -> None:
    rng = np.random.default_rng(0)
    before, after = rng.random(400) < 0.2, rng.random(400) < 0.8
    found = measured(before, after)
    assert found.keys() == {"chi2"}
    assert found["chi2"].is_alarm
    text = measured(before.astype(str).astype(object), after.astype(str).astype(object))
    assert found["chi2"].statistic == text["chi2"].statistic


def test_moments_move_on_and_are_no_alarm() -> None:
    before = np.arange(1000, 1400).astype("datetime64[s]")
    (found,) = measured(before, before + np.timedelta64(10_000, "s")).values()
    assert (found.is_alarm, found.note) == (False, "moments move on by themselves")


def test_values_that_begin_to_be_missing_are_a_change_of_their_own() -> None:
    rng = np.random.default_rng(4)
    before, after = rng.normal(size=300), rng.normal(size=300)
    after[:90] = np.nan
    found = measured(before, after)
    assert found["missing"].is_alarm
    assert not found["ks"].is_alarm
    assert (found["ks"].reference_rows, found["ks"].current_rows) == (300, 210)


def test_where_nothing_is_missing_nothing_is_said_about_it() -> None:
    rng = np.random.default_rng(5)
    assert list(measured(rng.normal(size=100), rng.normal(size=100))) == ["ks"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (np.arange(300.0), np.arange(300.0) + 100),
        (np.array(["a", "b"] * 150, object), np.array(["a", "c"] * 150, object)),
        (np.array(["a", "b"] * 150, object), np.array(["a"] * 300, object)),
    ],
)
def test_a_large_change_is_found(before: NDArray[Any], after: NDArray[Any]) -> None:
    (found,) = measured(before, after).values()
    assert found.is_alarm


def test_a_significant_change_below_the_floor_is_no_alarm() -> None:
    rng = np.random.default_rng(6)
    before, after = rng.normal(size=20_000), rng.normal(0.1, 1, size=20_000)
    found = measured(before, after)["ks"]
    assert found.p_value < 1e-6
    assert not found.is_alarm
    assert measured(before, after, replace(POLICY, input_effect=0.01))["ks"].is_alarm


@pytest.mark.parametrize(
    ("before", "after", "note"),
    [
        (np.arange(300.0), np.arange(19.0), "fewer than 20"),
        (np.full(300, np.nan), np.arange(300.0), "fewer than 20"),
        (np.array(["a"] * 300, object), np.array(["a"] * 300, object), "constant"),
    ],
)
def test_what_cannot_be_compared_is_noted_and_no_alarm(
    before: NDArray[Any], after: NDArray[Any], note: str
) -> None:
    found = next(iter(measured(before, after).values()))
    assert note in found.note
    assert not found.is_alarm


def test_a_column_that_is_missing_on_both_sides_is_no_alarm() -> None:
    nothing = np.full(100, np.nan)
    assert not any(found.is_alarm for found in measured(nothing, nothing).values())


def test_constant_numbers_are_no_alarm() -> None:
    assert not measured(np.ones(100), np.ones(100))["ks"].is_alarm


def test_windows_without_rows_are_no_alarm() -> None:
    full = window_of({"x": np.arange(50.0)}, np.zeros(50))
    assert not any(found.is_alarm for found in measure_inputs(full, full.span(0, 0), POLICY))


def test_without_drift_a_check_of_many_features_seldom_alarms() -> None:
    # With no floor for the effect, the false-discovery rate is the rate of checks that alarm:
    # .05, and three standard errors of 200 checks.
    policy = replace(POLICY, input_effect=0.0)
    rng = np.random.default_rng(7)
    alarmed = 0
    for _ in range(200):
        before, after = (
            {f"x{n}": rng.normal(size=size) for n in range(5)}
            | {f"c{n}": letters(rng, size, [0.5, 0.3, 0.2]) for n in range(3)}
            for size in (400, 200)
        )
        alarmed += any(m.is_alarm for m in measure_inputs(*windows(before, after), policy))
    assert alarmed / 200 <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200)
