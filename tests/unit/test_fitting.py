"""From recipe and window to a fitted model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.samples import mixed, window_of

from retuned_pipelines.fitting import aligned, classes_of, encoded_target, fit
from retuned_pipelines.models.families import default_recipe
from retuned_pipelines.recipe import Past, Recipe
from retuned_pipelines.schema import Task

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
