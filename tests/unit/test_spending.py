"""A reign spends no more than it has, however many challengers come."""

from __future__ import annotations

import math

import pytest

from retuned_pipelines.evaluate.spending import level_of


@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_all_challengers_of_a_reign_together_spend_the_level(alpha: float) -> None:
    spent = [level_of(alpha, number) for number in range(1, 10_001)]
    assert sum(spent) < alpha
    # What is left is the tail of the sum of 1 / k^2, nearly 1 / 10,000 of it.
    assert sum(spent) == pytest.approx(alpha, rel=1e-4)


def test_the_first_has_most_and_each_less_than_the_one_before() -> None:
    levels = [level_of(0.05, number) for number in range(1, 6)]
    assert levels == sorted(levels, reverse=True)
    assert levels[0] == pytest.approx(0.05 * 6 / math.pi**2)


def test_where_nothing_reigns_one_comparison_may_spend_everything() -> None:
    assert level_of(0.05, 0) == 0.05
