"""Labels of stored rows: taking them in, and finding the one that was known by then."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from retuned.rows.find import chunks, marks, segments_with
from retuned.rows.segment import LABEL, LABEL_SEQ, SEQ, label_type, read_segments
from retuned_pipelines.window import NOT_LABELLED

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from retuned.rows.batch import LabelValue
    from retuned.rows.form import Forms
    from retuned.rows.place import Place
    from retuned_pipelines.schema import Task


class CameLabels:
    """What became of labels."""

    def __init__(self, last_seq: int) -> None:
        """Begin after a sequence number."""
        self.accepted = self.duplicates = self.revised = self.forgotten = 0
        self.matured: list[int] = []  # origins of rows whose first label this is
        self.last_seq = last_seq


def insert_labels(
    db: sqlite3.Connection,
    forms: Forms,
    places: Sequence[Place],
    values: Sequence[LabelValue],
    last_seq: int,
) -> CameLabels:
    """Append labels; one whose row has not come yet waits for it.

    Args:
        db: in a transaction.
        forms: of the log.
        places: where the rows of the labels are (n).
        values: the labels (n).
        last_seq: the log's newest sequence number.
    """
    came = CameLabels(last_seq)
    newest = newest_labels(db, forms, places)
    new: list[tuple[int, int, LabelValue]] = []
    orphans: list[tuple[int, bytes, LabelValue]] = []
    for place, value in zip(places, values, strict=True):
        if place.is_forgotten:
            came.forgotten += 1
            continue
        key = place.digest if place.origin is None else place.origin
        before = newest.get(key)
        if before == value:
            came.duplicates += 1
            continue
        came.last_seq += 1
        if place.origin is None:
            orphans.append((came.last_seq, place.digest, value))
        else:
            new.append((place.origin, came.last_seq, value))
        came.revised += before is not None
        came.accepted += before is None
        if before is None and place.origin is not None:
            came.matured.append(place.origin)
        newest[key] = value
    db.executemany("INSERT INTO label VALUES (?, ?, ?)", new)
    db.executemany("INSERT INTO orphan VALUES (?, ?, ?)", orphans)
    db.execute("UPDATE total SET orphans = orphans + ?", (len(orphans),))
    return came


def adopt_orphans(db: sqlite3.Connection, places: Sequence[Place]) -> list[int]:
    """Give labels that were there before their rows to those rows; names the rows' origins."""
    (orphans,) = db.execute("SELECT orphans FROM total").fetchone()
    if not orphans:
        return []
    origins = {place.digest: place.origin for place in places if place.origin is not None}
    adopted = [
        (origins[name], seq, value)
        for part in chunks(list(origins))
        for seq, name, value in db.execute(
            f"SELECT seq, digest, value FROM orphan WHERE digest IN ({marks(part)})",  # noqa: S608 (only question marks)
            part,
        ).fetchall()
    ]
    db.executemany("INSERT INTO label VALUES (?, ?, ?)", adopted)
    db.executemany("DELETE FROM orphan WHERE seq = ?", [(seq,) for _, seq, _ in adopted])
    db.execute("UPDATE total SET orphans = orphans - ?", (len(adopted),))
    return list({origin for origin, _, _ in adopted})


def known_labels(
    db: sqlite3.Connection, task: Task, table: pa.Table, origin: NDArray[np.int64], as_of: int
) -> tuple[NDArray[np.int64], pa.Array]:
    """The newest label of each row that was known by then.

    Args:
        db: a consistent state of the file.
        task: what labels are.
        table: rows in the columns of `folded_schema` (n).
        origin: under which sequence numbers their ids first came (n).
        as_of: newest sequence number of labels.

    Returns:
        Sequence numbers of the labels, -1 for none, int64 (n); the labels (n).
    """
    label_seq, target = _folded(table, as_of)
    limits = (int(origin.min()), int(origin.max())) if len(origin) else (0, -1)
    found = db.execute(
        "SELECT origin, seq, value FROM label "
        "WHERE origin >= ? AND origin <= ? AND seq <= ? ORDER BY origin, seq",
        (*limits, as_of),
    ).fetchall()
    if not found:
        return label_seq, target
    rows, numbers, values = zip(*found, strict=True)
    labelled, seqs = np.array(rows, np.int64), np.array(numbers, np.int64)
    # The last one of a row: the next larger row begins after it.
    place = np.searchsorted(labelled, origin, "right") - 1
    is_here = (place >= 0) & (labelled[place] == origin)
    place[~is_here] = 0
    is_here &= seqs[place] > label_seq
    label_seq = np.where(is_here, seqs[place], label_seq)
    apart = pa.array(values, label_type(task)).take(pa.array(place))
    return label_seq, pa.compute.if_else(pa.array(is_here), apart, target)


def _folded(table: pa.Table, as_of: int) -> tuple[NDArray[np.int64], pa.Array]:
    """The labels that are stored with their rows."""
    label_seq = table[LABEL_SEQ].combine_chunks().fill_null(NOT_LABELLED).to_numpy()
    target = table[LABEL].combine_chunks()
    is_later = label_seq > as_of
    if not is_later.any():
        return label_seq, target
    mask = pa.array(is_later)
    nothing = pa.scalar(None, target.type)
    return np.where(is_later, NOT_LABELLED, label_seq), pa.compute.if_else(mask, nothing, target)


def newest_labels(
    db: sqlite3.Connection, forms: Forms, places: Sequence[Place]
) -> dict[int | bytes, LabelValue]:
    """The newest labels that are there already, by origin, or by digest for orphans."""
    newest: dict[int | bytes, LabelValue] = {}
    rows = {place.origin: place.seq for place in places if place.origin is not None}
    for part in chunks(list(rows)):
        query = f"SELECT origin, value FROM label WHERE origin IN ({marks(part)}) ORDER BY seq"  # noqa: S608 (only question marks)
        newest.update(db.execute(query, part))
    newest |= _newest_folded(db, forms, {o: seq for o, seq in rows.items() if o not in newest})
    waiting = [place.digest for place in places if place.origin is None]
    for names in chunks(waiting):
        query = f"SELECT digest, value FROM orphan WHERE digest IN ({marks(names)}) ORDER BY seq"  # noqa: S608 (only question marks)
        newest.update(db.execute(query, names))
    return newest


def _newest_folded(
    db: sqlite3.Connection, forms: Forms, rows: dict[int, int | None]
) -> dict[int | bytes, LabelValue]:
    seqs = np.array(sorted(seq for seq in rows.values() if seq is not None), np.int64)
    if not len(seqs):
        return {}
    (has_any,) = db.execute(
        "SELECT EXISTS (SELECT 1 FROM batch WHERE last_label IS NOT NULL "
        "AND first_seq <= ? AND last_seq >= ?)",
        (int(seqs[-1]), int(seqs[0])),
    ).fetchone()
    if not has_any:
        return {}
    labels: dict[int, LabelValue] = {}
    for found in segments_with(db, seqs):
        segments = [segment for segment in found if segment.is_folded]
        if not segments:
            continue
        table = read_segments(segments, forms)
        keep = np.isin(table[SEQ].to_numpy(), seqs) & np.asarray(table[LABEL].is_valid())
        table = table.filter(pa.array(keep))
        labels.update(zip(table[SEQ].to_pylist(), table[LABEL].to_pylist(), strict=True))
    return {origin: labels[seq] for origin, seq in rows.items() if seq in labels}
