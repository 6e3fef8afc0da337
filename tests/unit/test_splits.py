"""Time-ordered splits: nothing is learned from what was not known yet."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tests.samples import delayed, mixed

from retuned_pipelines.evaluate.splits import MIN_TRAIN_ROWS, Fold, blocks, folds, reserve
from retuned_pipelines.schema import Task
from retuned_pipelines.spec import GatePolicy
from retuned_pipelines.window import Window


@st.composite
def matured(draw: st.DrawFn) -> Window:
    """Labelled rows whose labels came late, each after its own delay."""
    size = draw(st.integers(1, 160))
    longest = draw(st.integers(0, size // 4))
    return delayed(draw(st.lists(st.integers(0, longest), min_size=size, max_size=size)))


POLICIES = st.builds(
    GatePolicy,
    blocks=st.integers(1, 8),
    block_rows=st.integers(1, 30),
    max_rows=st.integers(10, 200),
    share=st.floats(0.05, 0.5),
)


def is_honest(window: Window, fold: Fold) -> bool:
    """Whether each label learned from came before the first row that is predicted."""
    return bool((window.label_seq[fold.train] < window.seq[fold.validation[0]]).all())


@given(matured(), st.integers(1, 6))
def test_folds_learn_only_from_labels_known_before_them(window: Window, count: int) -> None:
    for fold in folds(window, count):
        assert is_honest(window, fold)
        assert len(fold.train) >= MIN_TRAIN_ROWS


@given(matured(), st.integers(0, 160), POLICIES)
def test_blocks_learn_only_from_labels_known_before_them(
    window: Window, first: int, policy: GatePolicy
) -> None:
    for block in blocks(window, first, policy):
        assert is_honest(window, block)


@given(matured(), st.integers(0, 160), POLICIES)
def test_blocks_lie_after_the_boundary_and_are_large_enough(
    window: Window, first: int, policy: GatePolicy
) -> None:
    found = blocks(window, first, policy)
    assert len(found) <= policy.blocks
    assert sum(len(block.validation) for block in found) <= policy.max_rows
    for block in found:
        assert block.validation[0] >= first
        assert len(block.validation) >= policy.block_rows


@given(matured(), st.integers(1, 6))
def test_folds_follow_each_other_to_the_newest_row(window: Window, count: int) -> None:
    found = folds(window, count)
    for before, after in pairwise(found):
        assert before.validation[-1] + 1 == after.validation[0]
        assert set(before.train) <= set(after.train)
    if found:
        assert found[-1].validation[-1] == len(window) - 1
        assert found[0].validation[0] >= len(window) // 2


@given(st.integers(0, 5000), POLICIES)
def test_the_gate_gets_its_share_but_never_more_than_half(rows: int, policy: GatePolicy) -> None:
    window = mixed(Task.REGRESSION, 1).take(np.zeros(rows, dtype=np.int64))
    kept = rows - reserve(window, policy)
    assert 0 <= kept <= min(rows // 2, policy.max_rows)
    assert kept == rows // 2 or kept >= min(int(policy.share * rows), policy.max_rows)


def test_a_label_that_was_known_too_late_is_left_out() -> None:
    # Ten rows' labels come 30 rows late, the others at once.
    delays = [30 if row in range(60, 70) else 0 for row in range(200)]
    (fold, *_) = blocks(delayed(delays), 80, GatePolicy(blocks=2, block_rows=10))
    assert fold.validation[0] == 80
    assert set(range(80)) - set(fold.train.tolist()) == set(range(60, 70))


def test_too_few_rows_give_no_fold() -> None:
    assert folds(mixed(Task.REGRESSION, 15), 3) == ()
    assert folds(mixed(Task.REGRESSION, 0), 3) == ()
    assert blocks(mixed(Task.REGRESSION, 300), 299, GatePolicy()) == ()
