"""Losses of rows as they were served."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from retuned.rows.batch import Losses

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
    version: int,
    revision: int,
    metric: str,
) -> None:
    """Keep losses; the newest label of a row counts."""
    rows = zip(row_seq.tolist(), label_seq.tolist(), loss.tolist(), strict=True)
    db.executemany(
        "INSERT OR REPLACE INTO loss VALUES (?, ?, ?, ?, ?, ?)",
        [(row, label, version, revision, metric, value) for row, label, value in rows],
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
