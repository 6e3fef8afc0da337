"""How long labels take: the distribution of their delays, and rows that never got one."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from numpy.typing import NDArray

TABLES = """
-- Rows and those with a label, by the minute in which their labels could begin to come.
CREATE TABLE IF NOT EXISTS labelling (
    slot INTEGER PRIMARY KEY, rows INTEGER NOT NULL, labelled INTEGER NOT NULL
);
-- Delays of labels, in steps of a tenth.
CREATE TABLE IF NOT EXISTS label_delay (
    since TEXT NOT NULL, step INTEGER NOT NULL, labels REAL NOT NULL,
    PRIMARY KEY (since, step)
) WITHOUT ROWID;
"""

SLOT_US = 60_000_000

MEMORY = 20_000
"""When so many labels are counted, each counts half from then on: the newest matter most."""

_STEP = np.log(1.1)
_SHORTEST_S = 1e-3
_ARRIVAL, _TIME = "arrival", "time"
_FORGOTTEN = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantiles:
    """A distribution of seconds, each within 5 %."""

    median_s: float
    p90_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelDelay:
    """How labels come.

    Attributes:
        labels: labels that this was learned from, weighted: the newest count most. Labels
            that came with their rows or before them have no delay and are left out.
        since_arrival: from when the row came; None before the first label.
        since_time: from the row's own time.
        overdue: rows that are older than the horizon and have no label; None without one.
        in_time: share of the rows older than the horizon that have a label; None where there
            are none.
    """

    labels: float = 0.0
    since_arrival: Quantiles | None = None
    since_time: Quantiles | None = None
    overdue: int | None = None
    in_time: float | None = None


def slot(due_us: int) -> int:
    """The minute in which a row's label could begin to come."""
    return due_us // SLOT_US


def count(db: sqlite3.Connection, dues: Sequence[int], *, rows: int = 0, labelled: int = 0) -> None:
    """Count rows or labels, so many for each due time in microseconds."""
    found = Counter(slot(due) for due in dues)
    db.executemany(
        "INSERT INTO labelling VALUES (?, ?, ?) ON CONFLICT (slot) DO UPDATE SET "
        "rows = rows + excluded.rows, labelled = labelled + excluded.labelled",
        [(minute, rows * times, labelled * times) for minute, times in found.items()],
    )


def measure(
    db: sqlite3.Connection, since_arrival: NDArray[np.int64], since_time: NDArray[np.int64]
) -> None:
    """Take in the delays of labels, microseconds, int64 (n) each."""
    for since, found in ((_ARRIVAL, since_arrival), (_TIME, since_time)):
        steps = np.floor(np.log(np.maximum(found / 1e6, _SHORTEST_S)) / _STEP).astype(int)
        db.executemany(
            "INSERT INTO label_delay VALUES (?, ?, ?) "
            "ON CONFLICT (since, step) DO UPDATE SET labels = labels + excluded.labels",
            [(since, step, times) for step, times in Counter(steps.tolist()).items()],
        )
    (labels,) = db.execute(
        "SELECT coalesce(sum(labels), 0) FROM label_delay WHERE since = ?", (_ARRIVAL,)
    ).fetchone()
    if labels > MEMORY:
        db.execute("UPDATE label_delay SET labels = labels * ?", (MEMORY / 2 / labels,))
        db.execute("DELETE FROM label_delay WHERE labels < ?", (_FORGOTTEN,))


def read(db: sqlite3.Connection, *, now_us: int, horizon_us: int) -> LabelDelay:
    """How labels come; a horizon of 0 is none."""
    labels, since_arrival = _quantiles(db, _ARRIVAL)
    _, since_time = _quantiles(db, _TIME)
    overdue, in_time = None, None
    if horizon_us:
        rows, labelled = db.execute(
            "SELECT coalesce(sum(rows), 0), coalesce(sum(labelled), 0) FROM labelling "
            "WHERE slot < ?",
            (slot(now_us - horizon_us),),
        ).fetchone()
        overdue = max(0, rows - labelled)
        in_time = min(1.0, labelled / rows) if rows > 0 else None
    return LabelDelay(
        labels=labels,
        since_arrival=since_arrival,
        since_time=since_time,
        overdue=overdue,
        in_time=in_time,
    )


def _quantiles(db: sqlite3.Connection, since: str) -> tuple[float, Quantiles | None]:
    found = db.execute(
        "SELECT step, labels FROM label_delay WHERE since = ? ORDER BY step", (since,)
    ).fetchall()
    if not found:
        return 0.0, None
    steps, labels = np.array(found).T
    reached = np.cumsum(labels)
    median, p90 = (
        float(np.exp((steps[np.searchsorted(reached, share * reached[-1])] + 0.5) * _STEP))
        for share in (0.5, 0.9)
    )
    return float(reached[-1]), Quantiles(median_s=median, p90_s=p90)
