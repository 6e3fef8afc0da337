"""Windows: immutable rows in time order, and what was known when."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st
from tests.samples import delayed, mixed, window_of

from retuned_pipelines.schema import Schema, Task
from retuned_pipelines.window import Window, evenly, known_at


def ids(window: Window) -> list[str]:
    found: list[str] = window.ids.to_pylist()
    return found


def is_same(one: Window, other: Window) -> bool:
    return one.to_arrow().equals(other.to_arrow()) and one.schema == other.schema


@st.composite
def short_delays(draw: st.DrawFn) -> list[int]:
    size = draw(st.integers(1, 60))
    return draw(st.lists(st.integers(0, size // 4), min_size=size, max_size=size))


@given(short_delays())
def test_a_label_is_known_when_so_many_rows_had_come(delays: list[int]) -> None:
    size = len(delays)
    expected = [min(size, row + 1 + delay) for row, delay in enumerate(delays)]
    assert known_at(delayed(delays)).tolist() == expected


@given(st.lists(st.one_of(st.none(), st.integers(0, 80)), min_size=1, max_size=60))
def test_no_label_is_known_before_its_own_row(delays: list[int | None]) -> None:
    known = known_at(delayed(delays))
    for row, delay in enumerate(delays):
        if delay is None:
            assert known[row] == len(delays) + 1
        else:
            assert row + 1 <= known[row] <= len(delays)


@given(st.permutations(range(20)))
def test_rows_that_came_out_of_order_are_counted_as_they_came(order: list[int]) -> None:
    # Row i came as number order[i]; its label came before the next row.
    window = window_of(
        {"x": np.arange(20)},
        np.ones(20),
        seq=[2 * place + 1 for place in order],
        label_seq=[2 * place + 2 for place in order],
    )
    expected = [max(row, place) + 1 for row, place in enumerate(order)]
    if np.median(np.array(expected) - np.arange(1, 21)) <= 20 / 4:
        assert known_at(window).tolist() == expected


def test_a_history_whose_labels_all_came_at_its_end_says_nothing_of_the_delay() -> None:
    assert known_at(delayed([1000] * 40)).tolist() == list(range(1, 41))


def test_a_window_without_rows_knows_nothing() -> None:
    empty = mixed(Task.REGRESSION, 5).span(0, 0)
    assert len(empty) == 0
    assert known_at(empty).tolist() == []


@given(
    st.sampled_from([Task.REGRESSION, Task.MULTICLASS]),
    st.integers(0, 30),
    st.integers(0, 30),
)
def test_a_window_survives_being_written(task: Task, start: int, stop: int) -> None:
    window = mixed(task, 30).span(start, stop)
    again = Window.from_arrow(window.to_arrow(), window.schema)
    assert is_same(window, again)
    assert again.as_of == window.as_of
    assert ids(again) == ids(window)


def test_a_window_survives_arrow_s_file_format_in_several_chunks() -> None:
    window = mixed(Task.BINARY, 40)
    sink = pa.BufferOutputStream()
    table = window.to_arrow()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=7)
    read = pa.ipc.open_file(sink.getvalue()).read_all()
    assert is_same(window, Window.from_arrow(read, window.schema))


def test_the_newest_rows_are_the_last_ones() -> None:
    window = mixed(Task.REGRESSION, 10)
    assert ids(window.newest(3)) == ["r7", "r8", "r9"]
    assert window.newest(None) is window
    assert window.newest(10) is window
    assert len(window.newest(0)) == 0


def test_rows_are_taken_in_the_order_asked_for() -> None:
    window = mixed(Task.REGRESSION, 10).take(np.array([4, 1]))
    assert ids(window) == ["r4", "r1"]
    assert window.seq.tolist() == [9, 3]
    assert window.features.num_rows == 2


def test_only_labelled_rows_have_labels() -> None:
    window = window_of({"x": [1.0, 2.0, 3.0]}, [5.0, None, 7.0])
    assert window.is_labelled.tolist() == [True, False, True]
    assert window.labelled().target.to_pylist() == [5.0, 7.0]


def test_a_schema_says_the_same_after_json_and_its_order_counts() -> None:
    schema = mixed(Task.REGRESSION, 2).schema
    assert Schema.from_json(schema.to_json()) == schema
    assert Schema(schema.features[::-1]).digest != schema.digest


def test_positions_are_spread_evenly_from_end_to_end() -> None:
    assert evenly(1000, 11).tolist() == [0, 99, 199, 299, 399, 499, 599, 699, 799, 899, 999]
    assert evenly(3, 2000).tolist() == [0, 1, 2]
