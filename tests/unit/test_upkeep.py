"""Which members are worth a new fit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from retuned_pipelines.ensemble import LARGE_ROWS
from retuned_pipelines.models.families import default_recipe, effort
from retuned_pipelines.recipe import Past, Recipe
from retuned_pipelines.schema import Task
from retuned_pipelines.upkeep import LONGEST, cost, due, is_dear, learned, refitted
from retuned_pipelines.version import Came, Member
from retuned_pipelines.weights import BLOCKS, begun

DEFAULT = default_recipe(Task.BINARY)
SHORT = Recipe.of(DEFAULT.family, DEFAULT.settings, Past(rows=500))
MEMBERS = (Member(recipe=DEFAULT, weight=0.5), Member(recipe=SHORT, weight=0.5))


def came(old: float, new: float, noise: float = 0.0, seed: int = 0) -> Came:
    """Losses of two members, of which the first was fitted anew."""
    rng = np.random.default_rng(seed)
    elder = old + noise * rng.normal(size=BLOCKS)
    losses = new + noise * rng.normal(size=BLOCKS)
    return Came(
        losses=tuple((value, 1.0) for value in losses.tolist()),
        elder=tuple((value, float("nan")) for value in elder.tolist()),
    )


def test_on_few_rows_every_member_is_due_with_two_per_cent_of_new_labels() -> None:
    standing = replace(begun(MEMBERS, 1000, is_single=False), patience=(LONGEST, LONGEST))
    assert due(MEMBERS, standing, 1020, 0.02) == ()
    assert due(MEMBERS, standing, 1021, 0.02) == (0, 1)
    assert due(MEMBERS, standing, LARGE_ROWS, 0.02) == (0, 1)


def test_on_many_rows_patience_is_a_share_of_what_the_member_knew() -> None:
    standing = replace(begun(MEMBERS, 100_000, is_single=False), patience=(1, 16))
    assert due(MEMBERS, standing, 101_999, 0.02) == ()
    assert due(MEMBERS, standing, 102_000, 0.02) == (0,)
    assert due(MEMBERS, standing, 132_000, 0.02) == (0, 1)


def test_a_retired_member_is_never_due() -> None:
    standing = replace(begun(MEMBERS, 1000, is_single=False), gone=(False, True))
    assert due(MEMBERS, standing, 9000, 0.02) == (0,)


def test_a_fit_makes_a_member_fresh() -> None:
    standing = refitted(begun(MEMBERS, 1000, is_single=False), (1,), 5000)
    assert standing.fitted == (1000, 5000)


@pytest.mark.parametrize(
    ("found", "patience"),
    [
        (came(1.0, 1.0), 32),
        (came(1.0, 1.05), 32),
        (came(1.0, 0.995), 32),
        (came(1.0, 0.985), 2),
        (came(1.0, 0.5), 2),
        (came(0.0, 0.0), 8),
    ],
)
def test_patience_follows_what_the_last_fit_brought(found: Came, patience: int) -> None:
    standing = begun(MEMBERS, 100_000, is_single=False)
    # The second member was not fitted anew: nothing is known of it.
    assert learned(standing, found).patience == (patience, 8)


def test_what_may_be_noise_leaves_patience_as_it_is() -> None:
    # A mean gain below what is worth a fit, with a spread that does not rule more out.
    elder = (1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
    newer = (1.2, 0.8, 1.1, 0.9, 1.2, 0.8, 1.1, 0.9)
    found = Came(
        losses=tuple((value, 1.0) for value in newer),
        elder=tuple((value, float("nan")) for value in elder),
    )
    standing = begun(MEMBERS, 100_000, is_single=False)
    assert learned(standing, found) == standing


def test_one_block_has_no_spread_and_says_nothing() -> None:
    standing = begun(MEMBERS, 100_000, is_single=False)
    assert learned(standing, Came(((0.1, 1.0),), ((1.0, 1.0),))) == standing


def test_patience_has_bounds() -> None:
    standing = begun(MEMBERS, 100_000, is_single=False)
    for _ in range(9):
        standing = learned(standing, came(1.0, 1.0))
    assert standing.patience[0] == LONGEST
    for _ in range(9):
        standing = learned(standing, came(1.0, 0.9))
    assert standing.patience[0] == 1


def test_where_nobody_asked_patience_stays() -> None:
    standing = begun(MEMBERS, 100_000, is_single=False)
    assert learned(standing, Came(((1.0, 1.0),) * BLOCKS)) == standing


def test_gains_of_three_per_cent_are_seen_through_noise() -> None:
    """Of 200 steps with a true gain of 3 % and noise of 3 % a block, nine in ten shorten it."""
    standing = begun(MEMBERS, 100_000, is_single=False)
    found = [learned(standing, came(1.0, 0.97, 0.03, seed)).patience[0] for seed in range(200)]
    assert found.count(2) >= 180
    assert found.count(32) <= 10


def test_the_cost_model_counts_rows_trees_and_classes() -> None:
    assert effort(DEFAULT, 10_000) == 10_000
    assert effort(DEFAULT, 10_000, 40) == 400_000
    assert effort(SHORT, 10_000) == 500
    assert cost(MEMBERS, (0, 1), 10_000, 1) == 10_500
    assert cost(MEMBERS, (), 10_000, 1) == 0
    assert not is_dear(LARGE_ROWS)
    assert is_dear(LARGE_ROWS + 1)
