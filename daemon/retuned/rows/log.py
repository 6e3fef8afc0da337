"""The row log of one model: append-only, by id, readable as of any moment."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from retuned.rows.batch import Counts, LabelBatch, LabelValue, Losses, Receipt, RowBatch
from retuned.rows.file import LogFile
from retuned.rows.read import read_window
from retuned_pipelines.schema import Schema, Task

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from retuned_pipelines.window import Window

_CHUNK = 10_000


class RowLog:
    """Rows and labels of one model. May be used from many threads at once.

    What `append_rows` and `append_labels` have returned survives a crash of the process and
    of the machine; what they have not returned is stored as a whole or not at all.
    """

    def __init__(self, path: Path, task: Task) -> None:
        """Open the log, or begin one.

        Raises:
            PermanentError: the file is damaged or of a newer release.
            TransientError: the disk is full.
        """
        self._file = LogFile(path)
        self._task = task
        self._schema = self._stored_schema()

    @property
    def schema(self) -> Schema | None:
        """The features, fixed by the first batch; None before that."""
        return self._schema

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def append_rows(self, batch: RowBatch, schema: Schema) -> Receipt:
        """Append rows, with the labels that came along.

        Args:
            batch: valid rows of that schema.
            schema: becomes the log's own with the first batch.

        Raises:
            ValueError: the schema is not the log's.
            TransientError: the disk is full; nothing was stored.
        """
        digests = [_digest(name) for name in batch.ids]
        with self._file.write() as db:
            self._fix_schema(db, schema)
            first = _last_seq(db) + 1
            plan = _plan(batch, digests, dict(_identities(db, digests)), first)
            if plan.positions:
                _insert_batch(db, batch, plan, first)
            last = first + len(plan.positions) - 1
            db.executemany("INSERT OR REPLACE INTO identity VALUES (?, ?, ?, ?)", plan.identities)
            db.executemany("INSERT INTO superseded VALUES (?, ?)", plan.superseded)
            matured = self._adopt_orphans(db, plan)
            if batch.labels:
                ids = [digests[position] for position in batch.labels]
                came = _insert_labels(db, ids, list(batch.labels.values()), last)
                last, matured = came.last_seq, matured + came.matured
            rows = len(plan.positions) - len(plan.superseded)
            _count(db, rows=rows, labelled=matured, last_seq=last)
        self._schema = schema
        return Receipt(
            accepted=rows, duplicates=plan.duplicates, revised=len(plan.superseded), last_seq=last
        )

    def append_labels(self, batch: LabelBatch) -> Receipt:
        """Append labels; one whose row has not come yet is kept until it does.

        Raises:
            TransientError: the disk is full; nothing was stored.
        """
        digests = [_digest(name) for name in batch.ids]
        with self._file.write() as db:
            came = _insert_labels(db, digests, batch.values, _last_seq(db))
            _count(db, rows=0, labelled=came.matured, last_seq=came.last_seq)
        return Receipt(
            accepted=came.accepted,
            duplicates=came.duplicates,
            revised=came.revised,
            last_seq=came.last_seq,
        )

    def counts(self) -> Counts:
        """Count what the log holds, without looking at the rows."""
        with self._file.read() as db:
            row = db.execute("SELECT rows, labelled, last_seq FROM total").fetchone()
        return Counts(rows=row[0], labelled=row[1], last_seq=row[2])

    def window(
        self,
        *,
        as_of: int | None = None,
        newest: int | None = None,
        labelled: bool = False,
        first_seq: int = 0,
    ) -> Window:
        """Read rows in the order of time and sequence.

        Args:
            as_of: newest sequence number to be seen, of rows and of labels; None for all.
            newest: rows at the most, the newest ones, counted after ``labelled``.
            labelled: only rows whose labels are known.
            first_seq: only rows of this sequence number or a later one.

        Raises:
            ValueError: there is no schema yet: no row ever came.
        """
        if self._schema is None:
            message = "no row has come yet"
            raise ValueError(message)
        with self._file.read() as db:
            return read_window(
                db,
                self._schema,
                self._task,
                as_of=_last_seq(db) if as_of is None else as_of,
                newest=newest,
                labelled=labelled,
                first_seq=first_seq,
            )

    def matured(self, after: int, until: int) -> Window | None:
        """Read the rows whose newest label came after one sequence number, up to another."""
        with self._file.read() as db:
            (first,) = db.execute(
                "SELECT min(origin) FROM label WHERE seq > ? AND seq <= ?", (after, until)
            ).fetchone()
        if first is None:
            return None
        window = self.window(as_of=until, labelled=True, first_seq=first)
        return window.take(np.flatnonzero(window.label_seq > after))

    def append_losses(  # noqa: PLR0913 (what a loss is known by)
        self,
        row_seq: NDArray[np.int64],
        label_seq: NDArray[np.int64],
        loss: NDArray[np.float64],
        *,
        version: int,
        revision: int,
        metric: str,
    ) -> None:
        """Keep the loss of rows as served by a revision; the newest label of a row counts."""
        rows = zip(row_seq.tolist(), label_seq.tolist(), loss.tolist(), strict=True)
        with self._file.write() as db:
            db.executemany(
                "INSERT OR REPLACE INTO loss VALUES (?, ?, ?, ?, ?, ?)",
                [(row, label, version, revision, metric, value) for row, label, value in rows],
            )

    def losses(
        self, version: int, *, metric: str, after: int = 0, until: int | None = None
    ) -> Losses:
        """Read the losses under a version, of labels after one sequence number up to another.

        Args:
            version: what served.
            metric: only losses by this one: others have another unit.
            after: sequence number of labels, itself left out.
            until: sequence number of labels; None for all.
        """
        with self._file.read() as db:
            found = db.execute(
                "SELECT row_seq, label_seq, loss FROM loss "
                "WHERE version = ? AND metric = ? AND label_seq > ? AND label_seq <= ? "
                "ORDER BY label_seq, row_seq",
                (version, metric, after, _last_seq(db) if until is None else until),
            ).fetchall()
        return _losses(found)

    def newest_losses(self, limit: int, *, metric: str) -> Losses:
        """Read the newest losses as served by a metric, under whatever version."""
        with self._file.read() as db:
            found = db.execute(
                "SELECT row_seq, label_seq, loss FROM loss WHERE metric = ? "
                "ORDER BY label_seq DESC LIMIT ?",
                (metric, limit),
            ).fetchall()
        return _losses(found[::-1])

    def last_scored(self) -> int:
        """Sequence number of the newest label whose row has a loss; 0 without any."""
        with self._file.read() as db:
            (found,) = db.execute("SELECT coalesce(max(label_seq), 0) FROM loss").fetchone()
        return int(found)

    def _stored_schema(self) -> Schema | None:
        with self._file.read() as db:
            row = db.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone()
        return None if row is None else Schema.from_json(json.loads(row[0]))

    def _fix_schema(self, db: sqlite3.Connection, schema: Schema) -> None:
        row = db.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone()
        text = json.dumps(schema.to_json())
        if row is None:
            db.execute("INSERT INTO meta VALUES ('schema', ?)", (text,))
        elif row[0] != text:
            message = "the rows are not of the schema that the first rows of this model had"
            raise ValueError(message)

    def _adopt_orphans(self, db: sqlite3.Connection, plan: _Plan) -> int:
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


def _losses(found: Sequence[tuple[int, int, float]]) -> Losses:
    columns = np.array(found, dtype=np.float64).reshape(-1, 3)
    return Losses(
        row_seq=columns[:, 0].astype(np.int64),
        label_seq=columns[:, 1].astype(np.int64),
        loss=columns[:, 2],
    )


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
    for position, (digest, content) in enumerate(zip(digests, batch.contents, strict=True)):
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
    ids = [batch.ids[position] for position in plan.positions]
    columns = [column.combine_chunks() for column in table.columns]
    record = pa.record_batch(
        [pa.array(ids, pa.string()), pa.array(time), pa.array(plan.origins, pa.int64()), *columns],
        names=["__id", "__time", "__origin", *table.column_names],
    )
    last = first + len(plan.positions) - 1
    data = record.serialize().to_pybytes()
    times = (int(time.min()), int(time.max()))
    db.execute("INSERT INTO batch VALUES (?, ?, ?, ?, ?)", (first, last, *times, data))


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


def _last_seq(db: sqlite3.Connection) -> int:
    (found,) = db.execute("SELECT last_seq FROM total").fetchone()
    return int(found)


def _digest(name: str) -> bytes:
    return hashlib.blake2b(name.encode(), digest_size=16).digest()
