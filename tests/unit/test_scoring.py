"""Which rows are scored when labels come, and in which parts."""

from __future__ import annotations

import numpy as np
from tests.samples import window_of

from retuned_pipelines.schema import Task
from retuned_pipelines.scoring import MAX_SCORED, block_losses, sampled
from retuned_pipelines.spec import ModelSpec
from retuned_pipelines.weights import BLOCKS

SPEC = ModelSpec(name="demo", task=Task.REGRESSION, target="y", metric="neg_mean_absolute_error")


def test_few_labels_are_all_scored_and_none_are_none() -> None:
    window = window_of({"x": np.arange(50.0)}, np.arange(50.0))
    assert sampled(window) is window
    assert sampled(None) is None
    assert sampled(window.span(0, 0)) is None


def test_of_many_some_are_scored_evenly_in_time_and_the_newest_label_among_them() -> None:
    size = 10 * MAX_SCORED
    label_seq = np.arange(size) + size
    label_seq[1234] = 3 * size
    window = window_of(
        {"x": np.arange(size)}, np.zeros(size), seq=range(size), label_seq=label_seq.tolist()
    )
    found = sampled(window)
    assert found is not None
    assert MAX_SCORED <= len(found) <= MAX_SCORED + 1
    assert found.label_seq.max() == 3 * size
    gaps = np.diff(found.features["x"].to_numpy())
    assert gaps.max() <= 11


def test_losses_are_told_by_parts_and_who_does_not_answer_has_none() -> None:
    target = np.zeros(200)
    outputs = [np.repeat([1.0, 3.0], 100), None]
    blocks = np.array(block_losses(SPEC, target, outputs))
    assert blocks.shape == (BLOCKS, 2)
    assert blocks[:, 0].tolist() == [1.0] * 4 + [3.0] * 4
    assert np.isnan(blocks[:, 1]).all()
    assert block_losses(SPEC, target, []) == ()
    assert len(block_losses(SPEC, target[:25], [np.ones(25)])) == 2
