"""Ensembles: who is in, and how the weights follow the losses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retuned_pipelines.ensemble import MIN_ROWS, founded, joined, reweighted
from retuned_pipelines.models.families import default_recipe
from retuned_pipelines.schema import Task
from retuned_pipelines.version import Member, Standing


@pytest.mark.parametrize("task", list(Task))
def test_the_first_member_is_the_default_recipe_on_everything(task: Task) -> None:
    assert founded(task, 10_000, 9)[0].recipe == default_recipe(task)
    (only,) = founded(task, 10_000, 1)
    assert only == Member(recipe=default_recipe(task), weight=1.0)


def test_members_are_distinct_and_their_weights_add_up() -> None:
    members = founded(Task.REGRESSION, 10_000, 9)
    assert len({member.recipe for member in members}) == len(members) == 9
    assert sum(member.weight for member in members) == pytest.approx(1.0)
    assert {member.recipe.family for member in members} == {"lightgbm", "linear"}


def test_windows_that_are_too_short_are_left_out() -> None:
    members = founded(Task.BINARY, 3 * MIN_ROWS, 9)
    windows = [m.recipe.window_rows for m in members if m.recipe.window_rows is not None]
    assert min(windows) >= MIN_ROWS
    assert len(members) < 9


def test_a_new_member_gets_half_and_the_least_one_goes() -> None:
    old = founded(Task.BINARY, 10_000, 4)
    recipe = default_recipe(Task.BINARY, "linear")
    new = joined(old, recipe, 4)
    assert len(new) == 4
    assert new[0] == Member(recipe=recipe, weight=0.5)
    assert sum(member.weight for member in new) == pytest.approx(1.0)
    gone = {m.recipe for m in old} - {m.recipe for m in new}
    assert gone == {min(old, key=lambda member: member.weight).recipe}


def test_a_single_champion_is_simply_replaced() -> None:
    recipe = default_recipe(Task.BINARY, "linear")
    assert joined(founded(Task.BINARY, 1000, 1), recipe, 1) == (Member(recipe=recipe),)


weights = st.lists(st.floats(0.01, 1.0), min_size=2, max_size=9)


@given(weights, st.data())
def test_weights_stay_a_distribution_and_no_member_is_ever_lost(
    prior: list[float], data: st.DataObject
) -> None:
    share = np.array(prior) / sum(prior)
    losses = data.draw(
        st.lists(st.floats(0, 1e6), min_size=len(prior), max_size=len(prior)).map(np.array)
    )
    standing = Standing(weights=tuple(share))
    for _ in range(5):
        standing = reweighted(standing, share.tolist(), losses)
        assert sum(standing.weights) == pytest.approx(1.0)
        assert all(w >= 0.099 * p for w, p in zip(standing.weights, share, strict=True))


def test_equal_losses_change_nothing_and_better_ones_gain() -> None:
    prior = [0.5, 0.3, 0.2]
    same = reweighted(Standing(weights=(0.5, 0.3, 0.2)), prior, np.ones(3))
    assert same.weights == pytest.approx(prior)
    moved = reweighted(Standing(weights=(0.5, 0.3, 0.2)), prior, np.array([1.0, 1.0, 0.5]))
    assert moved.weights[2] > 0.2
    assert moved.weights[0] < 0.5


def test_perfect_members_are_no_division_by_zero() -> None:
    assert reweighted(Standing(weights=(0.5, 0.5)), [0.5, 0.5], np.zeros(2)).weights == (0.5, 0.5)


def test_weights_follow_the_best_member_when_it_changes() -> None:
    """Tracking regret: close to the best member of each half, and better than any for both."""
    rng = np.random.default_rng(0)
    standing, prior = Standing(weights=(0.5, 0.3, 0.2)), [0.5, 0.3, 0.2]
    ours, members = [], []
    for period in range(80):
        losses = np.array([1.0, 1.0, 1.2]) + rng.normal(0, 0.05, 3)
        losses[0 if period < 40 else 1] = 0.5 + rng.normal(0, 0.05)
        ours.append(float(np.dot(standing.weights, losses)))
        members.append(losses)
        standing = reweighted(standing, prior, losses)
    best_fixed = float(np.mean(members, axis=0).min())
    hindsight = float(np.mean(np.min(members, axis=1)))
    assert np.mean(ours) < best_fixed - 0.1
    assert np.mean(ours) < hindsight + 0.12
