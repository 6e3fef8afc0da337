"""The sequential test: right about chance at any time, and soon sure of harm."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.benchmarks.losses import SHAPES, Shape
from tests.samples import autoregressive

from retuned_pipelines.evaluate.sequential import (
    BETS,
    Finding,
    Pace,
    Probation,
    begun,
    finding,
    pace,
    update,
)

LEVEL = 0.05
ONE = Pace(rows=1, spread=1 / 3)
"""Blocks of one row, and a clip of 1."""


def after(differences: NDArray[np.float64], *, paced: Pace = ONE, level: float = LEVEL) -> Finding:
    return finding(update(begun(paced, level), differences))


def capital(differences: NDArray[np.float64], mean: float = 0.0) -> float:
    """The definition: the mean of the capitals of constant bets against a mean."""
    clipped = np.clip(differences, -1, 1)
    return float(np.mean([np.prod(1 + bet * (clipped - mean)) for bet in BETS]))


# What it is


def test_the_e_value_is_the_mean_capital_of_constant_bets() -> None:
    differences = np.random.default_rng(0).normal(0.1, 0.6, 60)
    found = after(differences)
    assert found.e_value == pytest.approx(capital(differences))
    assert found.estimate == pytest.approx(np.clip(differences, -1, 1).mean())
    assert (found.rows, found.blocks, found.level) == (60, 60, LEVEL)


def test_the_capital_is_a_fair_bet_where_the_new_one_is_as_good() -> None:
    # All sequences of five differences, each as probable: the mean capital is exactly 1.
    values = [-1.0, 0.25, 0.75]
    found = [after(np.array(each)).e_value for each in itertools.product(values, repeat=5)]
    assert np.mean(found) == pytest.approx(1.0)


@given(
    st.lists(st.floats(-1, 1), min_size=1, max_size=40),
    st.floats(0.01, 0.9),
)
@settings(max_examples=60, deadline=None)
def test_the_lower_bound_never_says_more_than_bets_against_its_mean(
    values: list[float], level: float
) -> None:
    differences = np.array(values)
    lower = after(differences, level=level).lower
    if lower > -1:
        assert capital(differences, lower) >= (1 / level) * (1 - 1e-6)


@pytest.mark.parametrize("shift", [-0.3, 0.0, 0.3, 0.5])
def test_the_bound_is_above_0_exactly_where_the_e_value_is_above_its_threshold(
    shift: float,
) -> None:
    rng = np.random.default_rng(1)
    state = begun(ONE, LEVEL)
    for _ in range(80):
        state = update(state, rng.normal(shift, 1, 5))
        found = finding(state)
        assert (found.lower > 0) == (found.e_value > 1 / LEVEL)
        assert found.lower <= found.estimate


def test_the_bound_comes_near_to_the_truth() -> None:
    rng = np.random.default_rng(2)
    found = after(rng.uniform(-0.3, 0.5, 5000))
    # A one-sided interval of one look reaches .0054 below.
    assert 0.08 < found.lower < found.estimate == pytest.approx(0.1, abs=0.01)


# When it is looked at


@given(st.lists(st.integers(0, 17), min_size=1, max_size=12))
@settings(max_examples=40, deadline=None)
def test_label_by_label_is_the_same_as_all_at_once(sizes: list[int]) -> None:
    differences = np.random.default_rng(len(sizes)).normal(0.2, 1, sum(sizes))
    paced = Pace(rows=4, spread=0.5)
    state = begun(paced, LEVEL)
    for part in np.split(differences, np.cumsum(sizes)[:-1]):
        state = update(state, part)
    one, other = finding(state), after(differences, paced=paced)
    assert (one.is_worse, one.blocks, one.rows) == (other.is_worse, other.blocks, other.rows)
    assert (one.e_value, one.highest, one.lower) == pytest.approx(
        (other.e_value, other.highest, other.lower), rel=1e-9, abs=1e-12
    )


def test_what_was_found_stays_found() -> None:
    bad, good = np.full(40, 0.9), np.full(400, -0.9)
    found = finding(update(update(begun(ONE, LEVEL), bad), good))
    assert found.is_worse
    assert found.e_value < 1 < 1 / LEVEL <= found.highest


def test_the_state_is_small_and_survives_json() -> None:
    state = update(begun(ONE, LEVEL), np.random.default_rng(3).normal(0, 1, 100_000))
    text = json.dumps(state.to_json(), allow_nan=False)
    assert len(text) < 500
    assert Probation.from_json(json.loads(text)) == state


def test_nothing_is_said_before_the_first_block() -> None:
    for found in (
        finding(begun(ONE, LEVEL)),
        after(np.full(6, 9.0), paced=Pace(rows=7, spread=1.0)),
        after(np.empty(0)),
    ):
        assert not found.is_worse
        assert (found.e_value, found.estimate, found.rows) == (1.0, 0.0, 0)
        assert found.lower < 0


def test_who_does_away_with_huge_losses_is_not_called_worse() -> None:
    # A little worse nearly always; the old one loses 100 times as much in one row of fifty.
    differences = np.where(np.arange(4000) % 50 == 0, -10.0, 0.1)
    found = after(differences, paced=Pace(rows=1, spread=0.1))
    assert found.lower > 0
    assert found.mean < 0 < found.estimate
    assert not found.is_worse


# What comes in


@pytest.mark.parametrize(("huge", "clipped"), [(1e200, 1.0), (np.inf, 1.0), (-np.inf, -1.0)])
def test_a_difference_counts_up_to_the_clip(huge: float, clipped: float) -> None:
    found, other = (after(np.array([first, -0.5, 0.2])) for first in (huge, clipped))
    assert replace(found, mean=other.mean) == other
    # And is as much as JSON can hold.
    assert json.dumps(found.mean, allow_nan=False)


def test_infinite_losses_in_one_block_cancel_each_other_out() -> None:
    found = after(np.array([np.inf, -np.inf, np.inf, 0.0]), paced=Pace(rows=2, spread=1.0))
    assert found.estimate == pytest.approx(1.5)


def test_a_row_without_a_pair_is_refused() -> None:
    with pytest.raises(ValueError, match="leave out rows"):
        update(begun(ONE, LEVEL), np.array([0.1, np.nan]))


# Its pace


@pytest.mark.parametrize(("phi", "least", "most"), [(0.0, 5, 12), (0.5, 15, 60), (0.9, 60, 250)])
def test_blocks_are_longer_where_losses_depend_on_each_other(
    phi: float, least: int, most: int
) -> None:
    found = [
        pace(series, np.zeros(2000)).rows
        for series in autoregressive(np.random.default_rng(4), phi, 2000, 20)
    ]
    assert least <= np.median(found) <= most


def test_the_spread_is_that_of_blocks() -> None:
    found = pace(np.random.default_rng(5).normal(0, 2, 100_000), np.zeros(100_000))
    assert found.spread == pytest.approx(2 / np.sqrt(found.rows), rel=0.05)


@pytest.mark.parametrize(
    ("loss", "expected"), [(0.5, Pace(rows=5, spread=0.5)), (0.0, Pace(rows=5, spread=1.0))]
)
def test_models_that_never_differ_have_a_pace_too(loss: float, expected: Pace) -> None:
    assert pace(np.full(100, loss), np.full(100, loss)) == expected


@pytest.mark.parametrize("size", [1, 2, 7, 30])
def test_the_pace_of_a_few_rows_has_blocks_that_fit(size: int) -> None:
    found = pace(np.arange(size) + 1.0, np.zeros(size))
    assert 1 <= found.rows <= size
    assert found.spread > 0


# How often it errs; more of it in tests/benchmarks/promotion.py


def called_worse(shape: Shape, worse: float, labels: int, reigns: int) -> float:
    rng = np.random.default_rng(len(shape.name))
    found = [
        after(shape.differences(rng, labels, worse), paced=pace(*shape.draw(rng, 800, worse)))
        for _ in range(reigns)
    ]
    return float(np.mean([one.is_worse for one in found]))


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_a_champion_that_is_as_good_is_seldom_called_worse(shape: Shape) -> None:
    # At most 5 %, and three standard errors of 150 reigns (1.8 % each).
    assert called_worse(shape, 0.0, 5000, 150) <= LEVEL + 0.054


@pytest.mark.parametrize(
    ("name", "labels"), [("absolute errors", 1500), ("lognormal", 4000), ("AR(1), .5", 4000)]
)
def test_a_champion_that_loses_a_tenth_more_is_called_worse(name: str, labels: int) -> None:
    shape = next(shape for shape in SHAPES if shape.name == name)
    assert called_worse(shape, 0.1, labels, 40) >= 0.9
