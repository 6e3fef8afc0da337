"""A file of history: its rows in order, a bootstrap, and periods."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from retuned.errors import PermanentError
from retuned_pipelines.schema import Feature, Kind, Schema
from retuned_pipelines.window import Window

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from retuned_pipelines.spec import ModelSpec

PERIOD_US = 3_600_000_000
"""Microseconds between two rows of a file without times."""


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """What happened, in order.

    Attributes:
        window: all rows with their labels; row i has sequence number and position i + 1.
        edges: positions (periods + 1): the first row after the bootstrap, then each period's
            end.
        label_delay: periods that pass between the end of a row's period and its label.
    """

    window: Window
    edges: tuple[int, ...]
    label_delay: int = 0

    @property
    def bootstrap(self) -> int:
        """Rows that are known with their labels before the first period."""
        return self.edges[0]

    def known(self, period: int) -> int:
        """How many of the oldest rows have known labels when a period begins."""
        return self.edges[max(0, period - self.label_delay)]

    @property
    def spans(self) -> tuple[tuple[int, int], ...]:
        """First and last position (exclusive) of each period."""
        return tuple(pairwise(self.edges))


def read_history(
    path: Path, spec: ModelSpec, *, periods: int, bootstrap: float, label_delay: int = 0
) -> History:
    """Read a Parquet or CSV file.

    Rows are ordered by the time field where the spec names one; rows of one time keep the
    file's order. Identity is the row's number, never its content.

    Args:
        path: the file.
        spec: names of the target, time and id fields.
        periods: into how many parts the rows after the bootstrap are cut.
        bootstrap: share of the rows that is known at the start.
        label_delay: periods that labels come later than at the end of their own.

    Raises:
        PermanentError: the file cannot be read, or lacks a field.
    """
    table = _read(path)
    for name in filter(None, (spec.target, spec.time)):
        if name not in table.column_names:
            message = f"{path} has no column {name!r}; it has {', '.join(table.column_names)}"
            raise PermanentError(message)
    time = _time(table, spec)
    order = np.argsort(time, kind="stable")
    if (order[1:] < order[:-1]).any():
        table, time = table.take(pa.array(order)), time[order]
    window = _window(table, time, spec)
    first = int(bootstrap * len(window))
    if first < 1 or len(window) - first < periods:
        message = f"{path} has {len(window)} rows: too few for {periods} periods"
        raise PermanentError(message)
    edges = [first + (len(window) - first) * number // periods for number in range(periods + 1)]
    return History(window, tuple(edges), label_delay)


def _read(path: Path) -> pa.Table:
    try:
        if path.suffix.lower() == ".csv":
            return pyarrow.csv.read_csv(path)
        return pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        message = f"{path} cannot be read as Parquet or CSV: {error}"
        raise PermanentError(message) from error


def _time(table: pa.Table, spec: ModelSpec) -> NDArray[np.int64]:
    if not spec.time:
        return np.arange(table.num_rows, dtype=np.int64) * PERIOD_US
    column = table[spec.time]
    try:
        moments = pc.cast(column, pa.timestamp("us"), safe=False)
    except pa.ArrowInvalid as error:
        message = f"column {spec.time!r} holds no times: {error}"
        raise PermanentError(message) from error
    return np.asarray(pc.cast(moments, pa.int64()).to_numpy(), dtype=np.int64)


def _window(table: pa.Table, time: NDArray[np.int64], spec: ModelSpec) -> Window:
    apart = {spec.target, spec.time, spec.id}
    columns = {name: _feature(table[name]) for name in table.column_names if name not in apart}
    schema = Schema(
        tuple(
            Feature(name, Kind.CATEGORY if pa.types.is_string(column.type) else Kind.NUMBER)
            for name, column in columns.items()
        )
    )
    order = np.arange(1, table.num_rows + 1, dtype=np.int64)
    return Window(
        schema=schema,
        features=pa.table(list(columns.values()), schema=schema.arrow),
        ids=pa.array([str(number) for number in range(table.num_rows)]),
        time=time,
        seq=order,
        label_seq=order,
        target=_target(table[spec.target], spec),
        as_of=table.num_rows,
    )


def _feature(column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = pc.cast(column, kind.value_type), kind.value_type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return pc.cast(column, pa.string())
    if pa.types.is_temporal(kind):
        column = pc.cast(pc.cast(column, pa.timestamp("us")), pa.int64())
    number = pc.cast(column, pa.float64())
    return pc.if_else(pc.is_finite(number), number, pa.scalar(None, pa.float64()))


def _target(column: pa.ChunkedArray, spec: ModelSpec) -> pa.Array:
    """Labels as the row log keeps them; see `Window.target`."""
    if not spec.task.is_classification:
        return pc.cast(column, pa.float64()).combine_chunks()
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = pc.cast(column, kind.value_type), kind.value_type
    if pa.types.is_floating(kind):
        column = pc.cast(column, pa.int64())
    text = pc.cast(column, pa.string())
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        text = pc.binary_join_element_wise('"', text, '"', "")
    return text.combine_chunks()
