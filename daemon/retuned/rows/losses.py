"""Losses of rows as they were served."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from retuned.rows.batch import Losses, Score
from retuned.rows.find import chunks, marks

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from numpy.typing import NDArray


def insert_losses(  # noqa: PLR0913 (what a loss is known by)
    db: sqlite3.Connection,
    row_seq: NDArray[np.int64],
    label_seq: NDArray[np.int64],
    loss: NDArray[np.float64],
    *,
    version: int | NDArray[np.int64],
    revision: int | NDArray[np.int64],
    metric: str,
) -> None:
    """Keep losses; the newest label of a row counts."""
    columns = (row_seq, label_seq, *np.broadcast_arrays(version, revision, loss))
    rows = zip(*(column.tolist() for column in columns), strict=True)
    db.executemany(
        "INSERT OR REPLACE INTO loss (row_seq, label_seq, version, revision, metric, loss) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        [(row, label, by, number, metric, value) for row, label, by, number, value in rows],
    )


def losses_of(  # noqa: PLR0913 (what losses are asked by)
    db: sqlite3.Connection, version: int, metric: str, *, after: int, until: int, newest: int
) -> Losses:
    """Read the losses under a version; see `RowLog.losses`."""
    found = db.execute(
        "SELECT row_seq, label_seq, loss FROM loss "
        "WHERE version = ? AND metric = ? AND label_seq > ? AND label_seq <= ? "
        "ORDER BY label_seq DESC, row_seq DESC LIMIT ?",
        (version, metric, after, until, newest),
    ).fetchall()
    return _losses(found[::-1])


def newest_losses(db: sqlite3.Connection, limit: int, metric: str) -> Losses:
    """Read the newest losses by a metric, under whatever version."""
    found = db.execute(
        "SELECT row_seq, label_seq, loss FROM loss WHERE metric = ? "
        "ORDER BY label_seq DESC LIMIT ?",
        (metric, limit),
    ).fetchall()
    return _losses(found[::-1])


def newest_scores(db: sqlite3.Connection, limit: int) -> list[Score]:
    """Read the newest losses with what they were computed from, newest label first."""
    found = db.execute(
        "SELECT row_seq, label_seq, version, revision, metric, loss FROM loss "
        "ORDER BY label_seq DESC, row_seq DESC LIMIT ?",
        (limit,),
    ).fetchall()
    return [Score(*row) for row in found]


def scored_with(db: sqlite3.Connection, row_seq: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sequence number of the label that each row's loss used, int64 (n); -1 for none."""
    found: dict[int, int] = {}
    for part in chunks(row_seq.tolist()):
        query = f"SELECT row_seq, label_seq FROM loss WHERE row_seq IN ({marks(part)})"  # noqa: S608 (only question marks)
        found.update(db.execute(query, part))
    return np.array([found.get(seq, -1) for seq in row_seq.tolist()], dtype=np.int64)


def last_scored(db: sqlite3.Connection) -> int:
    """Sequence number of the newest label whose row has a loss; 0 without any."""
    (found,) = db.execute("SELECT coalesce(max(label_seq), 0) FROM loss").fetchone()
    return int(found)


def _losses(found: Sequence[tuple[int, int, float]]) -> Losses:
    columns = np.array(found, dtype=np.float64).reshape(-1, 3)
    return Losses(
        row_seq=columns[:, 0].astype(np.int64),
        label_seq=columns[:, 1].astype(np.int64),
        loss=columns[:, 2],
    )
