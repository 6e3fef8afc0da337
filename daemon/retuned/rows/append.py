"""Appending to a row log's file, inside of a transaction."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from retuned.rows import arrival
from retuned.rows.batch import LabelBatch, Receipt, RowBatch
from retuned.rows.find import last_seq_of, segments_with
from retuned.rows.ids import digest
from retuned.rows.labels import CameLabels, adopt_orphans, insert_labels, newest_labels
from retuned.rows.place import Place, places_of
from retuned.rows.segment import (
    ID,
    LABEL,
    LABEL_SEQ,
    ORIGIN,
    SEQ,
    TIME,
    insert_segment,
    read_segments,
)

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from retuned.rows.form import Forms
    from retuned.rows.ids import IdIndex

Content = tuple[object, ...]
"""What a row says: its time, where that is content, and its features."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """What an append needs to know of the log.

    Attributes:
        db: in a transaction.
        index: finds rows by id.
        forms: of the log.
        at_us: now, microseconds since the epoch.
    """

    db: sqlite3.Connection
    index: IdIndex
    forms: Forms
    at_us: int


@dataclass(slots=True)
class Added:
    """Rows that the index does not know before the transaction is through."""

    digests: list[bytes] = field(default_factory=list)
    seqs: list[int] = field(default_factory=list)


def insert_rows(book: Book, batch: RowBatch) -> tuple[Receipt, Added]:
    """Append rows, with the labels that came along."""
    db = book.db
    digests = [digest(name) for name in batch.ids.to_pylist()]
    places = places_of(db, book.index, digests)
    first = last_seq_of(db) + 1
    plan = _plan(book, batch, places, first)
    last = first + len(plan.positions) - 1
    if plan.positions:
        insert_segment(db, _rows(batch, plan, first), book.forms.number)
    db.executemany("INSERT INTO superseded VALUES (?, ?, ?)", plan.superseded)
    db.executemany("INSERT OR IGNORE INTO label VALUES (?, ?, ?)", plan.unfolded)
    rows = len(plan.positions) - len(plan.superseded)
    if plan.positions:
        times = batch.time[np.asarray(plan.positions)]
        arrival.note_rows(db, first, times, new=rows, at_us=book.at_us)
    adopted = adopt_orphans(db, plan.new)
    arrival.note_labels(db, last + 1, last, adopted, at_us=book.at_us, is_measured=False)
    matured = len(adopted)
    labelled = np.flatnonzero(batch.labels.is_valid()).tolist()
    if labelled:
        values = batch.labels.drop_null().to_pylist()
        came = insert_labels(db, book.forms, [places[n] for n in labelled], values, last)
        _note_along(book, came, first, last)
        last, matured = came.last_seq, matured + len(came.matured)
    _count(db, rows=rows, labelled=matured, last_seq=last)
    receipt = Receipt(
        accepted=rows,
        duplicates=plan.duplicates,
        revised=len(plan.superseded),
        forgotten=plan.forgotten,
        last_seq=last,
    )
    seqs = list(range(first, first + len(plan.positions)))
    return receipt, Added([digests[n] for n in plan.positions], seqs)


def insert_label_batch(book: Book, batch: LabelBatch) -> Receipt:
    """Append labels; one whose row has not come yet waits for it."""
    places = places_of(book.db, book.index, [digest(name) for name in batch.ids.to_pylist()])
    values = batch.values.to_pylist()
    before = last_seq_of(book.db)
    came = insert_labels(book.db, book.forms, places, values, before)
    arrival.note_labels(book.db, before + 1, came.last_seq, came.matured, at_us=book.at_us)
    _count(book.db, rows=0, labelled=len(came.matured), last_seq=came.last_seq)
    return Receipt(
        accepted=came.accepted,
        duplicates=came.duplicates,
        revised=came.revised,
        forgotten=came.forgotten,
        last_seq=came.last_seq,
    )


def overdue(book: Book, ids: Sequence[str], horizon_us: int) -> frozenset[str]:
    """Those of the ids whose rows waited for a first label for longer than the horizon."""
    places = places_of(book.db, book.index, [digest(name) for name in ids])
    labelled = newest_labels(book.db, book.forms, places)
    waiting = [
        (name, place.origin)
        for name, place in zip(ids, places, strict=True)
        if place.origin is not None and place.origin not in labelled
    ]
    came = arrival.arrivals(book.db, np.array([origin for _, origin in waiting], dtype=np.int64))
    is_late = (came.at != arrival.UNKNOWN) & (came.due + horizon_us < book.at_us)
    return frozenset(waiting[n][0] for n in np.flatnonzero(is_late).tolist())


def _note_along(book: Book, came: CameLabels, first: int, last: int) -> None:
    """Note labels that came along with rows: those of rows that are new have no delay."""
    later = [origin for origin in came.matured if origin < first]
    along = [origin for origin in came.matured if origin >= first]
    arrival.note_labels(book.db, last + 1, came.last_seq, later, at_us=book.at_us)
    arrival.note_labels(book.db, last + 1, last, along, at_us=book.at_us, is_measured=False)


@dataclass(slots=True)
class _Plan:
    """What of a batch is new, what repeats, what is superseded.

    Attributes:
        positions: rows to be stored.
        origins: the sequence numbers under which their ids first came.
        new: places of the ids that were not there before.
        superseded: rows that are no longer what their ids say, by whom, and their origin.
        unfolded: labels that were stored with such rows: origin, sequence number, label.
        duplicates: rows that were there.
        forgotten: rows that may not come again.
    """

    positions: Sequence[int] = ()
    origins: Sequence[int] = ()
    new: Sequence[Place] = ()
    superseded: list[tuple[int, int, int]] = field(default_factory=list)
    unfolded: list[tuple[int, int, object]] = field(default_factory=list)
    duplicates: int = 0
    forgotten: int = 0


def _plan(book: Book, batch: RowBatch, places: Sequence[Place], first: int) -> _Plan:
    is_new = all(place.seq is None and not place.is_forgotten for place in places)
    if is_new and len({id(place) for place in places}) == len(places):
        seqs = range(first, first + len(places))
        for place, seq in zip(places, seqs, strict=True):
            place.seq = place.origin = seq
        return _Plan(positions=range(len(places)), origins=seqs, new=places)
    return _plan_one_by_one(book, batch, places, first)


def _plan_one_by_one(book: Book, batch: RowBatch, places: Sequence[Place], first: int) -> _Plan:
    plan = _Plan()
    stored = _stored(book, places, is_timed=batch.is_timed)
    positions: list[int] = []
    origins: list[int] = []
    new: list[Place] = []
    for position, (place, content) in enumerate(zip(places, _contents(batch), strict=True)):
        if place.is_forgotten:
            plan.forgotten += 1
            continue
        before = None if place.seq is None else stored[place.seq]
        if before is not None and before.content == content:
            plan.duplicates += 1
            continue
        seq = first + len(positions)
        if place.seq is None or place.origin is None:
            place.origin = seq
            new.append(place)
        else:
            plan.superseded.append((place.seq, seq, place.origin))
            if before is not None and before.label_seq is not None:
                plan.unfolded.append((place.origin, before.label_seq, before.label))
        place.seq = seq
        stored[seq] = _Stored(content)
        positions.append(position)
        origins.append(place.origin)
    plan.positions, plan.origins, plan.new = positions, origins, new
    return plan


@dataclass(frozen=True, slots=True)
class _Stored:
    """A row that is there, and the label that is stored with it."""

    content: Content
    label_seq: int | None = None
    label: object = None


def _stored(book: Book, places: Sequence[Place], *, is_timed: bool) -> dict[int, _Stored]:
    seqs = np.array(sorted({place.seq for place in places if place.seq is not None}), np.int64)
    found: dict[int, _Stored] = {}
    for segments in segments_with(book.db, seqs):
        table = read_segments(segments, book.forms)
        table = table.filter(pa.array(np.isin(table[SEQ].to_numpy(), seqs)))
        times = table[TIME].to_pylist() if is_timed else [None] * table.num_rows
        features = [table[name].to_pylist() for name in book.forms.newest.names]
        own = (table[name].to_pylist() for name in (SEQ, LABEL_SEQ, LABEL))
        contents = zip(times, *features, strict=True)
        for seq, label_seq, label, content in zip(*own, contents, strict=True):
            found[seq] = _Stored(content, label_seq, label)
    return found


def _contents(batch: RowBatch) -> list[Content]:
    times = batch.time.tolist() if batch.is_timed else [None] * len(batch)
    features = (column.to_pylist() for column in batch.features.columns)
    return list(zip(times, *features, strict=True))


def _rows(batch: RowBatch, plan: _Plan, first: int) -> pa.Table:
    """The rows to be stored, as a segment has them."""
    features, ids, time = batch.features, batch.ids, batch.time
    if len(plan.positions) < len(batch):
        index = pa.array(plan.positions, pa.int64())
        features, ids, time = features.take(index), ids.take(index), time[plan.positions]
    seq = np.arange(first, first + len(plan.positions), dtype=np.int64)
    head = {
        ID: ids,
        TIME: pa.array(time),
        ORIGIN: pa.array(plan.origins, pa.int64()) if plan.superseded else pa.array(seq),
        SEQ: pa.array(seq),
    }
    names = [*head, *features.column_names]
    return pa.table([*head.values(), *features.columns], names=names)


def _count(db: sqlite3.Connection, *, rows: int, labelled: int, last_seq: int) -> None:
    db.execute(
        "UPDATE total SET rows = rows + ?, labelled = labelled + ?, last_seq = ?",
        (rows, labelled, last_seq),
    )
