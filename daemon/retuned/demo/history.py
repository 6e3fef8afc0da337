"""The bundled stream: hourly bike rentals, cut into a history and periods."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Iterator

TARGET = "target"
BOOTSTRAP_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows as a client holds them.

    Attributes:
        rows: features with ``id`` and ``time``, one mapping a row.
        labels: ``id`` and ``label``, one mapping a row.
    """

    rows: tuple[dict[str, Any], ...]
    labels: tuple[dict[str, Any], ...]

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.rows)

    def split(self, size: int) -> Iterator[Batch]:
        """Cut into batches of at most ``size`` rows."""
        for start in range(0, len(self), size):
            stop = start + size
            yield Batch(self.rows[start:stop], self.labels[start:stop])


@dataclass(frozen=True, slots=True)
class History:
    """What is known at the start, and what comes later.

    Attributes:
        bootstrap: the first fifth.
        periods: the rest, in equal parts.
    """

    bootstrap: Batch
    periods: tuple[Batch, ...]


def read_history(periods: int) -> History:
    """Read the bundled data, oldest row first.

    Args:
        periods: into how many parts the rows after the bootstrap are cut.
    """
    source = files("retuned.demo") / "data" / "bike_sharing.parquet"
    table = pq.read_table(pa.BufferReader(source.read_bytes()))
    everything = _batch(table)
    first = int(BOOTSTRAP_SHARE * len(everything))
    edges = [first + (len(everything) - first) * n // periods for n in range(periods + 1)]
    cuts = pairwise(edges)
    return History(
        bootstrap=Batch(everything.rows[:first], everything.labels[:first]),
        periods=tuple(Batch(everything.rows[a:b], everything.labels[a:b]) for a, b in cuts),
    )


def _batch(table: pa.Table) -> Batch:
    rows, labels = [], []
    for number, record in enumerate(table.to_pylist()):
        label = record.pop(TARGET)
        name = f"hour-{number:05d}"
        rows.append({"id": name, **record, "time": record["time"].isoformat() + "Z"})
        labels.append({"id": name, "label": label})
    return Batch(tuple(rows), tuple(labels))
