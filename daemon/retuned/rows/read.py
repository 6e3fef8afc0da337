"""Reading windows out of a row log's file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from retuned.rows.find import chunks, marks, segments_with
from retuned.rows.labels import known_labels
from retuned.rows.segment import (
    COLUMNS,
    ID,
    ORIGIN,
    SEQ,
    TIME,
    label_type,
    read_segments,
    segment_of,
)
from retuned_pipelines.window import NOT_LABELLED, Window

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from retuned.rows.form import Forms
    from retuned.rows.segment import Segment

_AT_ONCE = 10_000
"""Rows whose segments are read together: a query each would cost more than a small one."""

_EARLIEST = -(2**63)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which rows of a log are asked for; see `RowLog.window`."""

    as_of: int
    newest: int | None = None
    labelled: bool = False
    first_seq: int = 0
    since_us: int = _EARLIEST
    with_labels: bool = True


def read_window(db: sqlite3.Connection, forms: Forms, wanted: Wanted) -> Window:
    """Read a window.

    Segments are read from the newest time backwards, until there are enough rows and no older
    segment can hold a newer one.
    """
    parts: list[Window] = []
    rows, newest = 0, wanted.newest
    if newest == 0:
        return _empty(forms, wanted.as_of)
    for oldest, segments in _backwards(db, wanted):
        part = _window(db, forms, read_segments(segments, forms), wanted)
        parts.append(part)
        rows += len(part)
        if newest is not None and rows >= newest:
            times = np.concatenate([p.time for p in parts])
            if np.partition(times, rows - newest)[rows - newest] > oldest:
                break
    return _ordered(parts or [_empty(forms, wanted.as_of)]).newest(newest)


def read_matured(
    db: sqlite3.Connection, forms: Forms, after: int, until: int, most: int | None
) -> Window | None:
    """Read the rows whose newest label came after one sequence number, up to another.

    Of more than ``most``, about as many are read, evenly spaced, and the one of the newest label.
    """
    came = db.execute("SELECT origin FROM label WHERE seq > ? AND seq <= ?", (after, until))
    seqs = np.unique(np.fromiter((origin for (origin,) in came), np.int64))
    sample = _Sample(most)
    for segments in _matured_segments(db, _as_of(db, seqs, until), (after, until)):
        table = read_segments(segments, forms)
        window = _window(db, forms, table, Wanted(as_of=until, labelled=True))
        sample.add(window.take(np.flatnonzero(window.label_seq > after)))
    return _ordered(sample.parts) if sample.parts else None


def _matured_segments(
    db: sqlite3.Connection, seqs: NDArray[np.int64], labels: tuple[int, int]
) -> Iterator[list[Segment]]:
    """Segments of rows whose labels are apart, and those with labels of that span in them."""
    folded = db.execute(
        "SELECT first_seq FROM batch WHERE last_label > ? AND first_label <= ?", labels
    )
    firsts = np.fromiter((first for (first,) in folded), np.int64)
    yield from segments_with(db, np.union1d(seqs, firsts))


class _Sample:
    """Rows that come part by part, and how many of them are kept."""

    def __init__(self, most: int | None) -> None:
        self.parts: list[Window] = []
        self._most = most
        self._step = 1

    def add(self, part: Window) -> None:
        """Take a part in; where there are too many by now, every second row goes."""
        if not len(part):
            return
        self.parts.append(self._thinned(part, self._step))
        while self._most and sum(map(len, self.parts)) > 2 * self._most + 3 * len(self.parts):
            self._step *= 2
            self.parts = [self._thinned(one, 2) for one in self.parts]

    def _thinned(self, part: Window, step: int) -> Window:
        if step == 1:
            return part
        # The newest label tells how far one has come, so its row stays.
        kept = np.union1d(np.arange(0, len(part), step), [int(part.label_seq.argmax())])
        return part.take(kept)


def _as_of(db: sqlite3.Connection, origins: NDArray[np.int64], as_of: int) -> NDArray[np.int64]:
    """Under which sequence numbers rows were known by then, ascending."""
    (has_any,) = db.execute("SELECT EXISTS (SELECT 1 FROM superseded)").fetchone()
    if not has_any:
        return origins
    found = [origins]
    for part in chunks(origins.tolist()):
        query = (
            f"SELECT by_seq FROM superseded WHERE origin IN ({marks(part)}) "  # noqa: S608 (only question marks)
            f"AND by_seq <= {as_of:d}"
        )
        later = db.execute(query, part)
        found.append(np.fromiter((seq for (seq,) in later), np.int64))
    return np.unique(np.concatenate(found))


def _backwards(db: sqlite3.Connection, wanted: Wanted) -> Iterator[tuple[int, list[Segment]]]:
    """Yield segments, newest first: about so many rows at once, then more and more.

    With them comes the newest time that the segments after them can still have.
    """
    at_once = _AT_ONCE if wanted.newest is None else min(wanted.newest, _AT_ONCE)
    # The index gives the order: segments that are not needed are never read.
    found = db.execute(
        f"SELECT {COLUMNS} FROM batch INDEXED BY batch_by_time "  # noqa: S608 (names of columns)
        "WHERE max_time >= ? AND first_seq <= ? AND last_seq >= ? "
        "ORDER BY max_time DESC, first_seq DESC",
        (wanted.since_us, wanted.as_of, wanted.first_seq),
    )
    following = found.fetchone()
    while following is not None:
        segments: list[Segment] = []
        rows = 0
        while following is not None and rows < at_once:
            segments.append(segment_of(following))
            rows += segments[-1].rows
            following = found.fetchone()
        yield _EARLIEST if following is None else segment_of(following).max_time, segments
        at_once = min(2 * at_once, _AT_ONCE)


def _window(db: sqlite3.Connection, forms: Forms, table: pa.Table, wanted: Wanted) -> Window:
    """The rows of a table that are asked for, with their labels."""
    seq, time = table[SEQ].to_numpy(), table[TIME].to_numpy()
    gone = db.execute(
        "SELECT seq FROM superseded WHERE seq >= ? AND seq <= ? AND by_seq <= ?",
        (int(seq.min()), int(seq.max()), wanted.as_of),
    ).fetchall()
    is_visible = (seq <= wanted.as_of) & (seq >= wanted.first_seq) & (time >= wanted.since_us)
    is_visible &= np.isin(seq, np.array(gone, dtype=np.int64), invert=True)
    if not is_visible.all():
        table = table.filter(pa.array(is_visible)).combine_chunks()
    origin = table[ORIGIN].to_numpy()
    if wanted.with_labels:
        label_seq, target = known_labels(db, forms.task, table, origin, wanted.as_of)
    else:
        label_seq, target = _no_labels(forms, len(origin))
    window = Window(
        schema=forms.newest,
        features=table.select(list(forms.newest.names)),
        ids=_whole(table[ID]),
        time=table[TIME].to_numpy(),
        seq=table[SEQ].to_numpy(),
        label_seq=label_seq,
        target=target,
        as_of=wanted.as_of,
    )
    return window.labelled() if wanted.labelled else window


def _no_labels(forms: Forms, rows: int) -> tuple[NDArray[np.int64], pa.Array]:
    kind = label_type(forms.task)
    return np.full(rows, NOT_LABELLED, dtype=np.int64), pa.nulls(rows, kind)


def _ordered(parts: Sequence[Window]) -> Window:
    joined = parts[0]
    if len(parts) > 1:
        joined = replace(
            joined,
            features=pa.concat_tables([part.features for part in parts]).combine_chunks(),
            ids=pa.concat_arrays([part.ids for part in parts]),
            time=np.concatenate([part.time for part in parts]),
            seq=np.concatenate([part.seq for part in parts]),
            label_seq=np.concatenate([part.label_seq for part in parts]),
            target=pa.concat_arrays([part.target for part in parts]),
        )
    order = np.lexsort((joined.seq, joined.time))
    return joined if (np.diff(order) == 1).all() else joined.take(order)


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def _empty(forms: Forms, as_of: int) -> Window:
    nothing = np.empty(0, dtype=np.int64)
    return Window(
        schema=forms.newest,
        features=forms.newest.arrow.empty_table(),
        ids=pa.array([], pa.string()),
        time=nothing,
        seq=nothing,
        label_seq=nothing,
        target=pa.array([], label_type(forms.task)),
        as_of=as_of,
    )
