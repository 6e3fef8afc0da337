"""Two versions side by side: members, scores on the same rows, and training data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.reigns import reign_of
from tests.samples import window_of

from retuned_pipelines.contrast import scores as scoring
from retuned_pipelines.contrast.recipes import RecipeDiff, recipe_diff
from retuned_pipelines.contrast.scores import MIN_ROWS, Scores, impossible, too_few
from retuned_pipelines.contrast.training import STRONGEST, training_drift
from retuned_pipelines.evaluate.metrics import score
from retuned_pipelines.recipe import Past, Recipe
from retuned_pipelines.schema import Task
from retuned_pipelines.spec import ModelSpec, WatchPolicy
from retuned_pipelines.version import Revision

NUMBERS = ModelSpec(name="m", task=Task.REGRESSION, target="y", metric="neg_mean_absolute_error")
CLASSES = ModelSpec(name="m", task=Task.BINARY, target="y", metric="roc_auc")
TREES = Recipe.of("lightgbm", {"num_leaves": 31, "learning_rate": 0.1})
SMALLER = Recipe.of("lightgbm", {"num_leaves": 8, "learning_rate": 0.1})
NEWEST = Recipe.of("lightgbm", {"num_leaves": 31, "learning_rate": 0.02}, Past(rows=500))
LINE = Recipe.of("linear", {"alpha": 1.0})


def diff(left: list[Recipe], right: list[Recipe]) -> RecipeDiff:
    one, other = reign_of(left, as_of=1), reign_of(right, as_of=1)
    return recipe_diff((one.version, one.revision), (other.version, other.revision))


# Members


def test_a_member_of_both_is_told_with_its_weight_in_each() -> None:
    left = reign_of([TREES, LINE], as_of=1, weights=(0.7, 0.3))
    right = reign_of([LINE, TREES], as_of=1, weights=(0.6, 0.4))
    found = recipe_diff((left.version, left.revision), (right.version, right.revision))
    assert [(one.recipe, one.left, one.right) for one in found.both] == [
        (TREES, pytest.approx(0.7), pytest.approx(0.4)),
        (LINE, pytest.approx(0.3), pytest.approx(0.6)),
    ]
    assert found.told == "Both have the same members."


def test_the_others_are_told_with_what_differs_from_the_closest_of_their_family() -> None:
    found = diff([TREES, LINE], [SMALLER, NEWEST, LINE])
    (lone,) = found.only_left
    assert lone.closest == SMALLER
    assert lone.differing == {"num_leaves": (31, 8)}
    smaller, newest = found.only_right
    assert smaller.differing == {"num_leaves": (8, 31)}
    assert newest.closest == TREES
    assert newest.differing == {"learning_rate": (0.02, 0.1), "past.rows": (500, None)}
    assert found.told == "Members in both: 1; only on the left: 1; only on the right: 2."


def test_of_another_family_there_is_nothing_to_be_close_to() -> None:
    (lone,) = diff([LINE], [TREES]).only_left
    assert lone.closest is None
    assert lone.to_json()["differing"] == {}


def test_a_retired_member_has_nothing_to_say() -> None:
    left = reign_of([TREES, LINE], as_of=1)
    gone = replace(left.revision.standing, weights=(1.0, 0.0), gone=(False, True))
    found = recipe_diff(
        (left.version, replace(left.revision, standing=gone)), (left.version, left.revision)
    )
    assert [(one.left, one.right) for one in found.both] == [(1.0, 0.5), (0.0, 0.5)]


# Scores


def scored(left: float, right: float, rows: int = 400, *, seed: int = 0) -> Scores:
    """Both answer the truth but for noise of those sizes."""
    rng = np.random.default_rng(seed)
    target = rng.normal(size=rows)
    return scoring.scores(
        NUMBERS,
        target=target,
        left=target + left * rng.normal(size=rows),
        right=target + right * rng.normal(size=rows),
        classes=(),
        seq=np.arange(7, 7 + rows),
        names=("1.4", "2.1"),
        rng=rng,
    )


def test_a_better_one_is_called_better_with_how_much_it_is_at_least() -> None:
    found = scored(1.0, 0.7)
    own = found.metrics[0]
    assert own.metric == NUMBERS.metric
    assert own.lower is not None
    assert own.gain is not None
    assert 0.2 < own.lower < own.gain
    assert found.told.startswith("2.1 is better:")
    assert (found.rows, found.first_seq, found.last_seq) == (400, 7, 406)


def test_a_worse_one_is_called_worse() -> None:
    assert scored(0.7, 1.0).told.startswith("2.1 is worse:")


def test_of_equals_no_difference_is_told_but_rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    # What is told is by the model's own metric, which comes first; the others take a minute.
    monkeypatch.setitem(scoring.USUAL, Task.REGRESSION, ())
    told = [scored(1.0, 1.0, 200, seed=seed).told for seed in range(60)]
    wrong = sum(not one.startswith("No difference can be told") for one in told)
    # Each bound errs in 5 % of cases: ten in a hundred; 3 standard deviations of chance on top.
    assert wrong <= 60 * 0.1 + 3 * np.sqrt(60 * 0.1 * 0.9)


def test_scores_are_those_of_the_metrics() -> None:
    rng = np.random.default_rng(3)
    target = rng.normal(size=100)
    left, right = target + 1.0, target + 0.5
    found = scoring.scores(
        NUMBERS,
        target=target,
        left=left,
        right=right,
        classes=(),
        seq=np.arange(100),
        names=("1.1", "2.1"),
        rng=rng,
    )
    for one in found.metrics:
        assert one.left == pytest.approx(score(one.metric, NUMBERS.task, target, left, ()))
        assert one.right == pytest.approx(score(one.metric, NUMBERS.task, target, right, ()))
    assert [one.metric for one in found.metrics][1:] == ["neg_root_mean_squared_error", "r2"]


def test_a_metric_that_ranks_is_a_mean_over_parts_and_has_bounds() -> None:
    rng = np.random.default_rng(5)
    target = rng.integers(0, 2, 400)
    strength = 2.0 * target - 1.0
    outputs = [
        1 / (1 + np.exp(-(signal * strength + rng.normal(size=400)))) for signal in (0.3, 1.5)
    ]
    left, right = (np.column_stack([1 - p, p]) for p in outputs)
    found = scoring.scores(
        CLASSES,
        target=target,
        left=left,
        right=right,
        classes=("0", "1"),
        seq=np.arange(400),
        names=("1.1", "2.1"),
        rng=rng,
    )
    assert [one.metric for one in found.metrics] == [
        "roc_auc",
        "neg_log_loss",
        "accuracy",
        "average_precision",
    ]
    assert found.told.startswith("2.1 is better:")


def test_a_metric_without_a_value_is_told_and_is_null() -> None:
    """Of one class there is no order."""
    output = np.full((100, 2), 0.5)
    found = scoring.scores(
        CLASSES,
        target=np.zeros(100, dtype=np.int64),
        left=output,
        right=output,
        classes=("0", "1"),
        seq=np.arange(100),
        names=("1.1", "2.1"),
        rng=np.random.default_rng(0),
    )
    assert found.metrics[0].left is None
    assert found.told.startswith("roc_auc has no value")


@pytest.mark.parametrize(("rows", "told"), [(0, "No label"), (1, "One label"), (12, "12 labels")])
def test_too_few_rows_are_told(rows: int, told: str) -> None:
    found = too_few(NUMBERS, rows)
    assert found.told.startswith(f"{told} came that neither version had learned from")
    assert str(MIN_ROWS) in found.told
    assert (found.rows, found.metrics) == (rows, ())


def test_what_keeps_them_from_being_scored_is_told() -> None:
    assert impossible(NUMBERS, "Artifacts are gone.").told == "Artifacts are gone."


# Training data


def revision(first: int, last: int) -> Revision:
    crowned = reign_of([LINE], as_of=last, rows=(last - first + 1) // 2)
    return replace(crowned.revision, first_seq=first, last_seq=last)


def test_features_that_differ_are_counted_the_strongest_first() -> None:
    rng = np.random.default_rng(0)
    names = [f"x{n:02}" for n in range(STRONGEST + 2)]
    before = window_of({name: rng.normal(size=300) for name in names}, np.zeros(300))
    after = window_of(
        {name: rng.normal(size=300) + 0.3 * n for n, name in enumerate(names)}, np.zeros(300)
    )
    found = training_drift(WatchPolicy(), (revision(1, 600), revision(601, 1200)), (before, after))
    assert (found.features, found.left.rows, found.left.looked_at) == (12, 300, 300)
    assert found.differing > STRONGEST
    assert len(found.strongest) == STRONGEST
    assert found.strongest[0].name == "x11"
    effects = [one.effect for one in found.strongest]
    assert effects == sorted(effects, reverse=True)
    assert f"{found.differing} of 12 features are distributed otherwise" in found.told


def test_the_same_rows_do_not_differ() -> None:
    rows = window_of({"x": np.random.default_rng(0).normal(size=300)}, np.zeros(300))
    found = training_drift(WatchPolicy(), (revision(1, 600), revision(1, 600)), (rows, rows))
    assert (found.differing, found.strongest) == (0, ())
    assert found.told == "None of 1 features is distributed otherwise."


def test_rows_that_are_gone_are_told() -> None:
    rows = window_of({"x": np.arange(50.0)}, np.zeros(50))
    found = training_drift(
        WatchPolicy(), (revision(1, 100), revision(1, 200)), (rows.span(0, 0), rows)
    )
    assert "left one learned from is kept" in found.told
    assert found.left.looked_at == 0


def test_of_a_model_from_elsewhere_the_rows_are_not_known() -> None:
    rows = window_of({"x": np.arange(50.0)}, np.zeros(50))
    brought = replace(revision(1, 100), rows=0, first_seq=0, last_seq=0)
    found = training_drift(WatchPolicy(), (revision(1, 200), brought), (rows, rows.span(0, 0)))
    assert found.told == "What one of them learned from is not known: it was not fitted here."
