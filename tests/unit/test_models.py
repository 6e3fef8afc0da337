"""Every family on every task: it learns, answers, and survives being kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from tests.samples import mixed, window_of

from retuned_pipelines.fitting import FittedModel, encoded_target, fit
from retuned_pipelines.models import artifact
from retuned_pipelines.models.families import FAMILIES, complexity, default_recipe
from retuned_pipelines.models.layout import MAX_CATEGORIES, Layout
from retuned_pipelines.recipe import Recipe, Scalar
from retuned_pipelines.schema import Feature, Kind, Schema, Task
from retuned_pipelines.search.space import Choice
from retuned_pipelines.window import Window

CASES = [(name, task) for name in FAMILIES for task in Task]
LEARNING = [(name, task) for name, task in CASES if name != "constant"]


def answers(model: FittedModel, window: Window) -> np.ndarray[Any, np.dtype[np.float64]]:
    return model.predict(model.layout.encode(window.features))


def is_sound(model: FittedModel, window: Window) -> bool:
    """Whether there is a finite answer for each row, and probabilities add up to 1."""
    found = answers(model, window)
    if not model.classes:
        return found.shape == (len(window),) and bool(np.isfinite(found).all())
    return found.shape == (len(window), len(model.classes)) and bool(
        np.allclose(found.sum(axis=1), 1.0)
    )


def extremes(name: str, task: Task) -> list[Mapping[str, Scalar]]:
    """The corners of a family's space: everything at its low end, and at its high end."""
    space = FAMILIES[name].space(task)
    return [
        {
            key: dimension.values[end]
            if isinstance(dimension, Choice)
            else (dimension.low, dimension.high)[end]
            for key, dimension in space.items()
        }
        for end in (0, -1)
    ]


@pytest.mark.parametrize(("name", "task"), CASES)
def test_a_model_answers_every_row(name: str, task: Task) -> None:
    window = mixed(task)
    assert is_sound(fit(default_recipe(task, name), window, task), window)


@pytest.mark.parametrize(("name", "task"), LEARNING)
def test_a_model_has_learned_something(name: str, task: Task) -> None:
    window = mixed(task, 600)
    model = fit(default_recipe(task, name), window.span(0, 400), task)
    found, unseen = answers(model, window.span(400, 600)), window.span(400, 600)
    target = encoded_target(unseen, model.classes)
    if task is Task.REGRESSION:
        assert np.abs(found - target).mean() < 0.6 * np.abs(np.median(target) - target).mean()
    else:
        assert (found.argmax(axis=1) == target).mean() > 0.7


@pytest.mark.parametrize(("name", "task"), CASES)
def test_a_kept_model_answers_bit_for_bit_the_same(name: str, task: Task) -> None:
    window = mixed(task)
    model = fit(default_recipe(task, name), window, task)
    again = artifact.load(artifact.dump(model))
    assert answers(again, window).tobytes() == answers(model, window).tobytes()
    assert (again.recipe, again.task, again.classes) == (model.recipe, task, model.classes)
    assert again.layout == model.layout


@pytest.mark.parametrize(("name", "task"), LEARNING)
def test_the_corners_of_the_search_space_can_be_fitted(name: str, task: Task) -> None:
    window = mixed(task, 120)
    for params in extremes(name, task):
        assert is_sound(fit(Recipe.of(name, params), window, task), window)


@pytest.mark.parametrize(("name", "task"), LEARNING)
def test_a_default_stays_within_the_names_of_its_space(name: str, task: Task) -> None:
    assert FAMILIES[name].default(task).keys() == FAMILIES[name].space(task).keys()


@pytest.mark.parametrize(("name", "task"), CASES)
def test_the_same_rows_and_seed_give_the_same_model(name: str, task: Task) -> None:
    window = mixed(task)
    recipe = Recipe.of(name, extremes(name, task)[0])
    one, other = (fit(recipe, window, task, seed=3) for _ in range(2))
    assert answers(one, window).tobytes() == answers(other, window).tobytes()


@pytest.mark.parametrize("task", [Task.BINARY, Task.MULTICLASS])
@pytest.mark.parametrize("name", FAMILIES)
def test_where_one_class_was_seen_it_is_always_the_answer(name: str, task: Task) -> None:
    window = window_of({"x": np.arange(40.0)}, ['"yes"'] * 40)
    model = fit(default_recipe(task, name), window, task)
    again = artifact.load(artifact.dump(model))
    for one in (model, again):
        assert one.classes == ('"yes"',)
        assert answers(one, window).tolist() == [[1.0]] * 40


ODD: dict[str, dict[str, list[Any]]] = {
    "a constant number": {"odd": [1.0] * 60},
    "a constant category": {"odd": ["a"] * 60},
    "a number that is always missing": {"odd": [None] * 60},
    "huge and tiny numbers": {"odd": [1e150, -1e150, 1e-150] * 20},
    "a category that is never twice the same": {"odd": [f"id{n}" for n in range(60)]},
    "one value and else nothing": {"odd": [3.5] + [None] * 59},
}


@pytest.mark.parametrize("task", list(Task))
@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("odd", ODD)
def test_odd_columns_do_no_harm(odd: str, name: str, task: Task) -> None:
    target = np.arange(60) % (2 if task is Task.BINARY else 3)
    labels = target.astype(float) if task is Task.REGRESSION else target.astype(str).astype(object)
    window = window_of({"x": target + 0.01 * np.arange(60), **ODD[odd]}, labels)
    assert is_sound(fit(default_recipe(task, name), window, task), window)


@pytest.mark.parametrize(("name", "task"), CASES)
def test_a_category_that_is_always_missing_does_no_harm(name: str, task: Task) -> None:
    window = mixed(task, 60)
    place = window.schema.names.index("colour")
    column = pa.nulls(60, pa.string())
    nothing = replace(window, features=window.features.set_column(place, "colour", column))
    assert is_sound(fit(default_recipe(task, name), nothing, task), nothing)


@pytest.mark.parametrize(("name", "task"), CASES)
def test_one_row_is_enough_to_fit(name: str, task: Task) -> None:
    window = mixed(task, 1)
    assert is_sound(fit(default_recipe(task, name), window, task), window)


@pytest.mark.parametrize(("name", "task"), CASES)
def test_a_category_never_seen_is_answered_as_a_missing_one(name: str, task: Task) -> None:
    model = fit(default_recipe(task, name), mixed(task), task)
    rows = [{"number": 0.1, "other": 0.2, "colour": colour} for colour in ("mauve", None)]
    new, missing = model.predict(model.layout.encode_records(rows))
    assert np.array_equal(new, missing)


def test_a_constant_answers_the_median_and_the_frequencies() -> None:
    numbers = window_of({"x": np.arange(5.0)}, [1.0, 2.0, 3.0, 4.0, 100.0])
    model = fit(Recipe(family="constant"), numbers, Task.REGRESSION)
    assert answers(model, numbers).tolist() == [3.0] * 5
    classes = window_of({"x": np.arange(4.0)}, ["0", "1", "1", "1"])
    model = fit(Recipe(family="constant"), classes, Task.BINARY)
    assert answers(model, classes)[0].tolist() == [0.25, 0.75]


def test_simpler_families_have_a_lower_rank() -> None:
    ranks = [complexity(Recipe(family=name)) for name in ("constant", "linear", "lightgbm")]
    assert ranks == sorted(set(ranks))


def test_records_are_encoded_as_the_same_rows_of_a_table() -> None:
    window = mixed(Task.REGRESSION, 50)
    layout = Layout.learned(window.schema, window.features)
    from_table = layout.encode(window.features)
    records = [{**row, "unknown": [1]} for row in window.features.to_pylist()]
    assert np.array_equal(layout.encode_records(records), from_table, equal_nan=True)
    # What a record does not have is missing.
    sparse = [{name: v for name, v in row.items() if v is not None} for row in records]
    assert np.array_equal(layout.encode_records(sparse), from_table, equal_nan=True)


@pytest.mark.parametrize(
    ("record", "complaint"),
    [
        ({"number": "1.5"}, "row 1, field 'number': '1.5' is not a number or null"),
        ({"number": [1]}, "row 1, field 'number'"),
        ({"colour": 3}, "row 1, field 'colour': 3 is not text or null"),
        ({"colour": ["red"]}, "row 1, field 'colour'"),
        ({"number": 10**400}, "field 'number' has a number that is too large"),
    ],
)
def test_a_value_of_the_wrong_kind_is_named(record: dict[str, Any], complaint: str) -> None:
    window = mixed(Task.REGRESSION, 20)
    layout = Layout.learned(window.schema, window.features)
    with pytest.raises(ValueError) as caught:
        layout.encode_records([{"number": 1.0}, record])
    assert complaint in str(caught.value)


@given(st.lists(st.one_of(st.none(), st.text(max_size=3)), min_size=1, max_size=40))
def test_a_vocabulary_has_the_most_frequent_categories_first(values: list[str | None]) -> None:
    features = window_of({"c": [*values, "x"]}, np.zeros(len(values) + 1)).features
    schema = Schema((Feature("c", Kind.CATEGORY),))
    known = Layout.learned(schema, features).vocabularies["c"]
    counts = {value: [*values, "x"].count(value) for value in known}
    assert sorted(known, key=lambda value: (-counts[value], value)) == list(known)
    assert set(known) == {value for value in [*values, "x"] if value is not None}


def test_a_vocabulary_is_bounded_for_lightgbm_s_bins() -> None:
    features = window_of({"c": [f"v{n:04}" for n in range(600)]}, np.zeros(600)).features
    layout = Layout.learned(Schema((Feature("c", Kind.CATEGORY),)), features)
    assert len(layout.vocabularies["c"]) == MAX_CATEGORIES
    assert np.isnan(layout.encode(features)[-1, 0])


def test_a_layout_survives_json() -> None:
    window = mixed(Task.REGRESSION, 20)
    layout = Layout.learned(window.schema, window.features)
    assert Layout.from_json(layout.to_json()) == layout


KINDS = Schema(
    (
        Feature("i", Kind.INTEGER),
        Feature("b", Kind.BOOLEAN),
        Feature("m", Kind.TIMESTAMP),
        Feature("c", Kind.CATEGORY),
    )
)


def of_kinds(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=KINDS.arrow)


def test_every_kind_becomes_a_number_when_fitting_and_when_serving() -> None:
    moment = datetime(2026, 1, 31, 12, tzinfo=UTC)
    stored = of_kinds([{"i": 7, "b": True, "m": moment, "c": "x"}, {"i": None, "b": False}])
    layout = Layout.learned(KINDS, stored)
    sent = [
        {"i": 7, "b": True, "m": "2026-01-31T13:00:00+01:00", "c": "x"},
        {"i": None, "b": 0, "m": None},
    ]
    expected = np.array([[7.0, 1.0, moment.timestamp(), 0.0], [np.nan, 0.0, np.nan, np.nan]])
    assert_array_equal(layout.encode(stored), expected)
    assert_array_equal(layout.encode_records(sent), expected)
    seconds = layout.encode_records([{"m": moment.timestamp()}])
    assert seconds[0, 2] == moment.timestamp()
    assert layout.number_columns == (0, 1, 2)
    assert Layout.from_json(layout.to_json()) == layout


@pytest.mark.parametrize(
    ("record", "complaint"),
    [
        ({"i": 1.5}, "field 'i': 1.5 is not a whole number or null"),
        ({"i": "1"}, "field 'i': '1' is not a whole number"),
        ({"b": 2}, "field 'b': 2 is not true or false"),
        ({"b": [1]}, "field 'b': [1] is not true or false"),
        ({"m": "soon"}, "field 'm': 'soon' is not a time"),
        ({"m": {}}, "field 'm': {} is not a time"),
        ({"c": 3}, "field 'c': 3 is not text"),
    ],
)
def test_a_value_of_another_kind_is_refused_by_row_and_field(
    record: dict[str, Any], complaint: str
) -> None:
    layout = Layout.learned(KINDS, KINDS.arrow.empty_table())
    with pytest.raises(ValueError) as caught:
        layout.encode_records([{}, record])
    assert f"row 1, {complaint}" in str(caught.value)


def test_a_model_reads_rows_of_a_later_schema_as_it_knows_them() -> None:
    stored = of_kinds([{"i": 7, "b": True, "m": datetime(1970, 1, 2, tzinfo=UTC), "c": "x"}])
    layout = Layout.learned(KINDS, stored)
    wider = pa.table(
        {
            "new": [1.0, 2.0, 3.0],
            "i": [7.0, 1.5, None],
            "b": ["true", "maybe", "false"],
            "m": ["1970-01-02T00:00:00.000000Z", "soon", None],
        }
    )
    expected = [[7.0, 1.0, 86_400.0, np.nan], [1.5, *[np.nan] * 3], [np.nan, 0.0, *[np.nan] * 2]]
    assert_array_equal(layout.encode(wider), np.array(expected))
