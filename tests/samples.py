"""Windows and series that tests of the core are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from retuned_pipelines.schema import Feature, Kind, Schema, Task
from retuned_pipelines.window import NOT_LABELLED, Window


def window_of(
    features: Mapping[str, Sequence[Any] | NDArray[Any]],
    target: Sequence[Any] | NDArray[Any],
    *,
    seq: Sequence[int] | None = None,
    label_seq: Sequence[int] | None = None,
) -> Window:
    """Build a window in the order given; text columns are categories.

    Unless told otherwise each label came right after its row. A target of None is no label.
    """
    columns = {name: pa.array(values, from_pandas=True) for name, values in features.items()}
    kinds = {name: _kind(column.type) for name, column in columns.items()}
    schema = Schema(tuple(Feature(name, kind) for name, kind in kinds.items()))
    labels = pa.array(target, from_pandas=True)
    if not pa.types.is_string(labels.type):
        labels = labels.cast(pa.float64())
    size = len(labels)
    came = np.arange(1, 2 * size + 1, 2) if seq is None else np.asarray(seq)
    known = came + 1 if label_seq is None else np.asarray(label_seq)
    known = np.where(np.asarray(labels.is_null()), NOT_LABELLED, known)
    return Window(
        schema=schema,
        features=pa.table(
            {name: column.cast(kinds[name].arrow_type) for name, column in columns.items()}
        ),
        ids=pa.array([f"r{number}" for number in range(size)], pa.string()),
        time=np.arange(size, dtype=np.int64),
        seq=came.astype(np.int64),
        label_seq=known.astype(np.int64),
        target=labels,
        as_of=int(max(came.max(initial=0), known.max(initial=0))),
    )


def _kind(kind: pa.DataType) -> Kind:
    if pa.types.is_timestamp(kind):
        return Kind.TIMESTAMP
    if pa.types.is_boolean(kind):
        return Kind.BOOLEAN
    return Kind.CATEGORY if pa.types.is_string(kind) else Kind.NUMBER


def delayed(delays: Sequence[int | None]) -> Window:
    """Rows that come one by one, each label when so many more rows have come; None for never.

    Labels that are due at the end come then, in the order of their rows.
    """
    size, seq = len(delays), 0
    rows, labels = [0] * size, [NOT_LABELLED] * size
    for arrived in range(size + 1):
        if arrived:
            seq += 1
            rows[arrived - 1] = seq
        for row, delay in enumerate(delays[:arrived]):
            is_due = delay is not None and (row + 1 + delay == arrived or arrived == size)
            if is_due and labels[row] == NOT_LABELLED:
                seq += 1
                labels[row] = seq
    target = [None if label == NOT_LABELLED else 1.0 for label in labels]
    return window_of({"x": np.arange(size)}, target, seq=rows, label_seq=labels)


def mixed(task: Task, rows: int = 300, seed: int = 0) -> Window:
    """Rows with numbers, a category, missing values, and a target that depends on them."""
    rng = np.random.default_rng(seed)
    number, other = rng.normal(size=rows), rng.normal(size=rows)
    colour = rng.choice(["red", "green", "blue"], rows).astype(object)
    signal = number + 2.0 * (colour == "red") + 0.2 * rng.normal(size=rows)
    number[rng.random(rows) < 0.1] = np.nan
    colour[rng.random(rows) < 0.1] = None
    target: Sequence[Any] | NDArray[Any] = signal
    if task is not Task.REGRESSION:
        edges = [0.5] if task is Task.BINARY else [0.0, 1.5]
        names = np.array(["0", "1"] if task is Task.BINARY else ['"low"', '"mid"', '"top"'])
        target = names[np.digitize(signal, edges)].astype(object)
    return window_of({"number": number, "other": other, "colour": colour}, target)


def autoregressive(
    rng: np.random.Generator, phi: float, size: int, series: int = 1
) -> NDArray[np.float64]:
    """Gaussian AR(1) series (series, size) of variance 1."""
    noise = rng.normal(size=(series, size)) * np.sqrt(1 - phi**2)
    values = np.empty((series, size))
    values[:, 0] = rng.normal(size=series)
    for step in range(1, size):
        values[:, step] = phi * values[:, step - 1] + noise[:, step]
    return values
