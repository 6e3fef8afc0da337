"""From recipe and window to a fitted model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.samples import mixed, window_of

from retuned_pipelines.fitting import aligned, classes_of, encoded_target, fit, learned
from retuned_pipelines.models.families import FAMILIES, default_recipe
from retuned_pipelines.recipe import Past, Recipe
from retuned_pipelines.schema import Task
from retuned_pipelines.window import Window

CONSTANT = Recipe(family="constant")


def test_only_the_newest_labelled_rows_are_learned_from() -> None:
    window = window_of({"x": np.arange(6.0)}, [100.0, 100.0, 1.0, None, 1.0, None])
    model = fit(replace(CONSTANT, past=Past(rows=2)), window, Task.REGRESSION)
    assert model.predict(np.zeros((1, 1))).tolist() == [1.0]


def test_a_vocabulary_knows_only_what_was_learned_from() -> None:
    window = window_of({"c": ["old", "old", "new", "new"]}, [1.0, 2.0, 3.0, 4.0])
    model = fit(replace(CONSTANT, past=Past(rows=2)), window, Task.REGRESSION)
    assert model.layout.vocabularies == {"c": ("new",)}


def test_without_a_label_there_is_nothing_to_learn() -> None:
    with pytest.raises(ValueError, match="no labelled rows"):
        fit(CONSTANT, window_of({"x": [1.0, 2.0]}, [None, None]), Task.REGRESSION)


def test_classes_are_ordered_as_numbers_where_they_are_numbers() -> None:
    texts = ['"b"', "10", "9", "true", "false", '"a"', "-1"]
    window = window_of({"x": np.zeros(7)}, texts)
    assert classes_of(window) == ("-1", "false", "true", "9", "10", '"a"', '"b"')


def test_a_target_is_encoded_by_the_classes_asked_for() -> None:
    window = window_of({"x": np.zeros(4)}, ["1", "0", "7", None])
    assert encoded_target(window, ("0", "1")).tolist() == [1, 0, -1, -1]


def test_a_number_without_a_label_is_nan() -> None:
    target = encoded_target(window_of({"x": np.zeros(2)}, [1.5, None]), ())
    assert target[0] == 1.5
    assert np.isnan(target[1])


def test_probabilities_are_aligned_to_other_classes() -> None:
    output = np.array([[0.2, 0.8], [0.5, 0.5]])
    found = aligned(output, ("a", "b"), ("b", "c", "a"))
    assert found.tolist() == [[0.8, 0.0, 0.2], [0.5, 0.0, 0.5]]
    assert aligned(output, ("a", "b"), ("a", "b")) is output
    assert aligned(output, ("a", "b"), ("b",)).tolist() == [[0.8], [0.5]]


def test_a_class_that_is_seen_later_is_answered_later() -> None:
    window = window_of({"x": np.arange(60.0)}, ["0"] * 40 + ["1"] * 20)
    recipe = default_recipe(Task.BINARY, "linear")
    assert fit(recipe, window.span(0, 40), Task.BINARY).classes == ("0",)
    assert fit(recipe, window, Task.BINARY).classes == ("0", "1")


def test_fitting_does_not_change_its_window() -> None:
    window = mixed(Task.BINARY, 80)
    before = window.to_arrow()
    fit(default_recipe(Task.BINARY), window, Task.BINARY)
    assert window.to_arrow().equals(before)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_number_of_threads_changes_no_answer(threads: int) -> None:
    window = mixed(Task.REGRESSION, 400)
    recipe = default_recipe(Task.REGRESSION)
    one, other = (fit(recipe, window, Task.REGRESSION, threads=n) for n in (1, threads))
    matrix = one.layout.encode(window.features)
    assert one.predict(matrix).tobytes() == other.predict(matrix).tobytes()


def followed(past: Past, rows: int = 10) -> list[float]:
    """The rows (0, 1, ...) that a recipe learns from."""
    window = window_of({"x": np.arange(float(rows))}, np.arange(float(rows)).tolist())
    known, _ = learned(past, window, changed_seq=int(window.seq[5]))
    return encoded_target(known, ()).tolist()


@pytest.mark.parametrize(
    ("past", "rows"),
    [
        (Past(), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
        (Past(rows=3), [7, 8, 9]),
        (Past(sample_rows=4), [0, 3, 6, 9]),
        (Past(rows=5, sample_rows=3), [5, 7, 9]),
        # So few rows after a change are no window.
        (Past(since_change=True), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
    ],
)
def test_a_past_says_which_rows_are_learned_from(past: Past, rows: list[float]) -> None:
    assert followed(past) == rows


def test_after_a_change_only_newer_rows_are_learned_from_if_there_are_enough() -> None:
    assert followed(Past(since_change=True), 106) == list(range(6, 106))
    assert followed(Past(since_change=True), 105) == list(range(105))


def test_with_a_half_life_the_newest_rows_count_most() -> None:
    # The weighted median, of a constant that answers it: 9 old rows against 3 new ones.
    window = window_of({"x": np.zeros(12)}, [0.0] * 9 + [1.0] * 3)
    linear = default_recipe(Task.REGRESSION, "linear")
    for half_life, expected in ((None, 0.25), (1, 7 / 8)):
        recipe = replace(linear, past=Past(half_life_rows=half_life))
        model = fit(recipe, window, Task.REGRESSION)
        assert model.predict(np.zeros((1, 1)))[0] == pytest.approx(expected, abs=0.01)


def moved(task: Task) -> Window:
    """A line that turned round in the newest quarter of 1,200 rows."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=1200)
    y = np.where(np.arange(1200) < 900, 1.0, -1.0) * x
    labels = (y > 0).astype(str).tolist() if task.is_classification else y.tolist()
    texts = ["true" if label == "True" else "false" for label in labels]
    return window_of({"x": x}, texts if task.is_classification else labels)


@pytest.mark.parametrize("task", [Task.REGRESSION, Task.BINARY])
@pytest.mark.parametrize("family", ["lightgbm", "forest"])
def test_with_time_as_a_feature_trees_follow_a_change_on_everything(
    family: str, task: Task
) -> None:
    window, new = moved(task), np.linspace(-2, 2, 9)[:, None]
    plain = default_recipe(task, family)
    timely = replace(plain, past=Past(time_feature=True))
    old, now = (fit(recipe, window, task).predict(new) for recipe in (plain, timely))
    if task is Task.REGRESSION:
        assert np.abs(now + new[:, 0]).mean() < 0.5 * np.abs(old + new[:, 0]).mean()
    else:
        truth = np.where(new[:, 0] < 0, 1, 0)[[0, 1, 2, 6, 7, 8]]
        assert (now.argmax(axis=1)[[0, 1, 2, 6, 7, 8]] == truth).mean() > 0.8


def test_what_would_extrapolate_leaves_time_out() -> None:
    window = moved(Task.REGRESSION)
    linear = default_recipe(Task.REGRESSION, "linear")
    plain, timely = (
        fit(recipe, window, Task.REGRESSION).predict(np.ones((1, 1)))
        for recipe in (linear, replace(linear, past=Past(time_feature=True)))
    )
    assert plain.tolist() == timely.tolist()


PASTS = (
    Past(),
    Past(rows=50, time_feature=True),
    Past(sample_rows=7, half_life_rows=3),
    Past(since_change=True, time_feature=True, half_life_rows=1),
)


@pytest.mark.parametrize("past", PASTS, ids=str)
@pytest.mark.parametrize("family", list(FAMILIES))
def test_one_class_or_one_row_is_always_the_answer(family: str, past: Past) -> None:
    recipe = Recipe.of(family, FAMILIES[family].default(Task.BINARY), past)
    columns = {"x": [0.5, None, 2.0] * 40, "c": ["a", None, "b"] * 40}
    new = window_of({"x": [None, 1e300], "c": ["never", None]}, [None, None]).features
    for rows in (1, 120):
        some = {name: values[:rows] for name, values in columns.items()}
        model = fit(recipe, window_of(some, ["1"] * rows), Task.BINARY, changed_seq=9)
        assert model.classes == ("1",)
        assert model.predict(model.layout.encode(new)).tolist() == [[1.0], [1.0]]
    recipe = Recipe.of(family, FAMILIES[family].default(Task.REGRESSION), past)
    model = fit(recipe, window_of({"x": [0.5], "c": ["a"]}, [7.0]), Task.REGRESSION)
    assert model.predict(model.layout.encode(new)).tolist() == [7.0, 7.0]


@pytest.mark.parametrize("past", PASTS, ids=str)
@pytest.mark.parametrize("family", list(FAMILIES))
@pytest.mark.parametrize("task", list(Task))
def test_every_past_can_be_learned_from_by_every_family(
    family: str, past: Past, task: Task
) -> None:
    window = mixed(task, 150)
    recipe = Recipe.of(family, FAMILIES[family].default(task), past)
    one, other = (fit(recipe, window, task, changed_seq=99) for _ in range(2))
    output = one.predict(one.layout.encode(window.features))
    assert np.isfinite(output).all()
    if task.is_classification:
        assert output.sum(axis=1) == pytest.approx(1.0)
    assert other.predict(other.layout.encode(window.features)).tobytes() == output.tobytes()


@given(st.integers(1, 60), st.integers(2, 60))
def test_a_sample_is_even_and_has_the_newest_row(rows: int, size: int) -> None:
    window = window_of({"x": np.arange(float(rows))}, np.arange(float(rows)).tolist())
    known, age = learned(Past(sample_rows=size), window)
    kept = encoded_target(known, ())
    assert len(kept) == min(rows, size)
    assert kept.tolist() == (rows - 1 - age).tolist()
    gaps = np.diff(kept)
    assert gaps.size == 0 or gaps.max() - gaps.min() <= 1
    assert kept[0] == 0
    assert kept[-1] == rows - 1


@pytest.mark.parametrize("task", list(Task))
def test_a_forest_answers_what_it_has_never_seen(task: Task) -> None:
    labels = [1.0, 2.0, 3.0] * 20 if task is Task.REGRESSION else ["1", "2"] * 30
    window = window_of({"c": ["a", "b", None] * 20, "x": [1.0, None, 1e300] * 20}, labels)
    model = fit(default_recipe(task, "forest"), window, task)
    unseen = window_of({"c": ["new", None], "x": [None, -1e300]}, [None, None])
    assert np.isfinite(model.predict(model.layout.encode(unseen.features))).all()
