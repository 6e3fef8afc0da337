"""What doing without the daemon would have cost, on the same rows in the same order."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from retuned.demo.history import TARGET
from retuned_pipelines.fitting import fit
from retuned_pipelines.models.families import default_recipe
from retuned_pipelines.schema import Feature, Kind, Schema, Task
from retuned_pipelines.window import Window

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from retuned.demo.history import History


@dataclass(frozen=True, slots=True)
class Baseline:
    """A simple policy and its mean absolute error over all periods."""

    name: str
    loss: float
    fits: int


def baselines(history: History) -> tuple[Baseline, ...]:
    """Follow each simple policy through the periods; labels are known at a period's end.

    One thread: on a busy machine LightGBM's threads wait for each other most of the time.
    """
    window = _window(history.table)
    truth = window.target.to_numpy()
    edges = np.cumsum([len(history.bootstrap), *(len(p) for p in history.periods)])
    spans = list(pairwise(edges))
    first = edges[0]

    def predict(known: int, start: int, stop: int) -> NDArray[np.float64]:
        model = fit(
            default_recipe(Task.REGRESSION),
            window.span(0, known),
            Task.REGRESSION,
            seed=0,
            threads=1,
        )
        matrix = model.layout.encode(window.span(start, stop).features)
        return np.asarray(model.predict(matrix), dtype=np.float64)

    def loss(predicted: NDArray[np.float64]) -> float:
        return float(np.mean(np.abs(truth[first:] - predicted)))

    always = np.concatenate([predict(start, start, stop) for start, stop in spans])
    last = np.concatenate([np.full(stop - start, truth[start - 1]) for start, stop in spans])
    constant = np.full(len(truth) - first, np.median(truth[:first]))
    return (
        Baseline("first model, never refitted", loss(predict(first, first, len(truth))), 1),
        Baseline("refitted on everything, every period", loss(always), len(spans)),
        Baseline("persistence: the last label known", loss(last), 0),
        Baseline("constant: median of the bootstrap", loss(constant), 0),
    )


def _window(table: pa.Table) -> Window:
    names = [name for name in table.column_names if name not in {TARGET, "time"}]
    kinds = [
        Kind.CATEGORY if pa.types.is_string(t) or pa.types.is_large_string(t) else Kind.NUMBER
        for t in (table.schema.field(name).type for name in names)
    ]
    schema = Schema(tuple(Feature(n, k) for n, k in zip(names, kinds, strict=True)))
    count = table.num_rows
    order = np.arange(1, count + 1, dtype=np.int64)
    return Window(
        schema=schema,
        features=table.select(names).cast(schema.arrow),
        ids=pa.array([str(number) for number in range(count)]),
        time=order,
        seq=order,
        label_seq=order,
        target=table[TARGET].combine_chunks().cast(pa.float64()),
        as_of=count,
    )
