"""Appending to a row log's file, inside of a transaction."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import orjson
import pyarrow as pa

from retuned.rows.batch import LabelBatch, LabelValue, Receipt, RowBatch

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence

_CHUNK = 10_000


def insert_rows(db: sqlite3.Connection, batch: RowBatch) -> Receipt:
    """Append rows, with the labels that came along."""
    ids = batch.ids.to_pylist()
    digests = [_digest(name) for name in ids]
    first = last_seq_of(db) + 1
    plan = _plan(batch, digests, dict(_identities(db, digests)), first)
    if plan.positions:
        _insert_batch(db, batch, plan, first)
    last = first + len(plan.positions) - 1
    db.executemany("INSERT OR REPLACE INTO identity VALUES (?, ?, ?, ?)", plan.identities)
    db.executemany("INSERT INTO superseded VALUES (?, ?)", plan.superseded)
    matured = _adopt_orphans(db, plan)
    positions = np.flatnonzero(batch.labels.is_valid()).tolist()
    if positions:
        values = batch.labels.drop_null().to_pylist()
        came = _insert_labels(db, [digests[position] for position in positions], values, last)
        last, matured = came.last_seq, matured + came.matured
    rows = len(plan.positions) - len(plan.superseded)
    _count(db, rows=rows, labelled=matured, last_seq=last)
    return Receipt(
        accepted=rows, duplicates=plan.duplicates, revised=len(plan.superseded), last_seq=last
    )


def insert_labels(db: sqlite3.Connection, batch: LabelBatch) -> Receipt:
    """Append labels; one whose row has not come yet waits for it."""
    digests = [_digest(name) for name in batch.ids.to_pylist()]
    came = _insert_labels(db, digests, batch.values.to_pylist(), last_seq_of(db))
    _count(db, rows=0, labelled=came.matured, last_seq=came.last_seq)
    return Receipt(
        accepted=came.accepted,
        duplicates=came.duplicates,
        revised=came.revised,
        last_seq=came.last_seq,
    )


def last_seq_of(db: sqlite3.Connection) -> int:
    """The newest sequence number of the log."""
    (found,) = db.execute("SELECT last_seq FROM total").fetchone()
    return int(found)


class _Plan:
    """What of a batch is new, what repeats, what is superseded."""

    def __init__(self) -> None:
        self.positions: list[int] = []
        self.origins: list[int] = []
        self.identities: list[tuple[bytes, int, int, bytes]] = []
        self.superseded: list[tuple[int, int]] = []
        self.duplicates = 0


def _plan(
    batch: RowBatch,
    digests: Sequence[bytes],
    known: dict[bytes, tuple[int, int, bytes]],
    first: int,
) -> _Plan:
    plan = _Plan()
    for position, (digest, content) in enumerate(zip(digests, _contents(batch), strict=True)):
        before = known.get(digest)
        if before is not None and before[2] == content:
            plan.duplicates += 1
            continue
        seq = first + len(plan.positions)
        origin = seq if before is None else before[0]
        if before is not None:
            plan.superseded.append((before[1], seq))
        known[digest] = (origin, seq, content)
        plan.positions.append(position)
        plan.origins.append(origin)
        plan.identities.append((digest, origin, seq, content))
    return plan


def _insert_batch(db: sqlite3.Connection, batch: RowBatch, plan: _Plan, first: int) -> None:
    index = pa.array(plan.positions, pa.int64())
    time = batch.time[plan.positions]
    table = batch.features.take(index)
    columns = [column.combine_chunks() for column in table.columns]
    record = pa.record_batch(
        [batch.ids.take(index), pa.array(time), pa.array(plan.origins, pa.int64()), *columns],
        names=["__id", "__time", "__origin", *table.column_names],
    )
    last = first + len(plan.positions) - 1
    data = record.serialize().to_pybytes()
    times = (int(time.min()), int(time.max()))
    db.execute("INSERT INTO batch VALUES (?, ?, ?, ?, ?)", (first, last, *times, data))


def _adopt_orphans(db: sqlite3.Connection, plan: _Plan) -> int:
    """Give labels that were there before their rows to those rows; counts the rows."""
    (orphans,) = db.execute("SELECT orphans FROM total").fetchone()
    if not orphans:
        return 0
    matured = adopted = 0
    for digest, origin, _, _ in plan.identities:
        changed = db.execute(
            "UPDATE label SET origin = ? WHERE digest = ? AND origin IS NULL", (origin, digest)
        ).rowcount
        matured += changed > 0
        adopted += changed
    db.execute("UPDATE total SET orphans = orphans - ?", (adopted,))
    return matured


class _Labels:
    """What became of labels."""

    def __init__(self, last_seq: int) -> None:
        self.accepted = self.duplicates = self.revised = self.matured = 0
        self.last_seq = last_seq


def _insert_labels(
    db: sqlite3.Connection, digests: Sequence[bytes], values: Sequence[LabelValue], last_seq: int
) -> _Labels:
    came = _Labels(last_seq)
    rows = dict(_identities(db, digests))
    newest = dict(_newest_labels(db, digests))
    new: list[tuple[int, int | None, bytes, LabelValue]] = []
    orphans = 0
    for digest, value in zip(digests, values, strict=True):
        before, row = newest.get(digest), rows.get(digest)
        if before == value:
            came.duplicates += 1
            continue
        came.last_seq += 1
        new.append((came.last_seq, None if row is None else row[0], digest, value))
        came.revised += before is not None
        came.accepted += before is None
        came.matured += before is None and row is not None
        orphans += row is None
        newest[digest] = value
    db.executemany("INSERT INTO label VALUES (?, ?, ?, ?)", new)
    db.execute("UPDATE total SET orphans = orphans + ?", (orphans,))
    return came


def _identities(
    db: sqlite3.Connection, digests: Sequence[bytes]
) -> Iterator[tuple[bytes, tuple[int, int, bytes]]]:
    for part in _chunks(digests):
        marks = ",".join("?" * len(part))
        query = f"SELECT digest, origin, newest, content FROM identity WHERE digest IN ({marks})"  # noqa: S608 (only question marks)
        for digest, origin, newest, content in db.execute(query, part):
            yield digest, (origin, newest, content)


def _newest_labels(
    db: sqlite3.Connection, digests: Sequence[bytes]
) -> Iterator[tuple[bytes, LabelValue]]:
    for part in _chunks(digests):
        marks = ",".join("?" * len(part))
        query = f"SELECT digest, value FROM label WHERE digest IN ({marks}) ORDER BY seq"  # noqa: S608 (only question marks)
        yield from db.execute(query, part)


def _chunks(digests: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    for start in range(0, len(digests), _CHUNK):
        yield digests[start : start + _CHUNK]


def _count(db: sqlite3.Connection, *, rows: int, labelled: int, last_seq: int) -> None:
    db.execute(
        "UPDATE total SET rows = rows + ?, labelled = labelled + ?, last_seq = ?",
        (rows, labelled, last_seq),
    )


def _contents(batch: RowBatch) -> list[bytes]:
    times = batch.time.tolist() if batch.is_timed else [None] * len(batch)
    rows = zip(times, *(column.to_pylist() for column in batch.features.columns), strict=True)
    return [hashlib.blake2b(orjson.dumps(row), digest_size=8).digest() for row in rows]


def _digest(name: str) -> bytes:
    return hashlib.blake2b(name.encode(), digest_size=16).digest()
