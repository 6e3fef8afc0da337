"""The row log of one model: append-only, by id, readable as of any moment."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np

from retuned.rows.append import insert_labels, insert_rows, last_seq_of
from retuned.rows.batch import Counts, LabelBatch, Losses, Receipt, RowBatch
from retuned.rows.file import LogFile
from retuned.rows.fixed import classes_of, fix_classes, fix_schema, fix_task, schema_of
from retuned.rows.read import read_window

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from retuned_pipelines.schema import Schema, Task
    from retuned_pipelines.window import Window


class RowLog:
    """Rows and labels of one model. May be used from many threads at once.

    What `append_rows` and `append_labels` have returned survives a crash of the process and
    of the machine; what they have not returned is stored as a whole or not at all.
    """

    def __init__(self, path: Path, task: Task) -> None:
        """Open the log, or begin one.

        Raises:
            PermanentError: the file is damaged or of a newer release, or it holds labels of
                another task.
            TransientError: the disk is full.
        """
        self._noting = threading.Lock()
        self._file = LogFile(path)
        try:
            self.take_task(task)
            with self._file.read() as db:
                self._schema, self._classes = schema_of(db), classes_of(db, task)
        except BaseException:
            self._file.close()
            raise

    def take_task(self, task: Task) -> None:
        """Let labels be those of a task; as long as there are none, it may be another one.

        Raises:
            PermanentError: it holds labels of another task.
            TransientError: the disk is full.
        """
        with self._file.write() as db:
            fix_task(db, task, self._file.path)
        self._task = task

    @property
    def schema(self) -> Schema | None:
        """The features, fixed by the first batch; None before that."""
        return self._schema

    @property
    def task(self) -> Task:
        """What the labels are."""
        return self._task

    @property
    def classes(self) -> tuple[str, ...]:
        """The first classes among the labels, which decide about later ones.

        Two of a binary task, one of a multiclass task, none of a regression; fewer as long as
        fewer have come.
        """
        return self._classes

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
            TransientError: the disk is full, or the labels do not go with those that came in
                the meantime; nothing was stored.
        """
        with self._file.write() as db:
            fix_schema(db, schema)
            classes = fix_classes(db, batch.labels.drop_null().unique().to_pylist(), self._task)
            receipt = insert_rows(db, batch)
        self._schema = schema
        self._note(classes)
        return receipt

    def append_labels(self, batch: LabelBatch) -> Receipt:
        """Append labels; one whose row has not come yet is kept until it does.

        Raises:
            TransientError: the disk is full, or the labels do not go with those that came in
                the meantime; nothing was stored.
        """
        with self._file.write() as db:
            classes = fix_classes(db, batch.values.unique().to_pylist(), self._task)
            receipt = insert_labels(db, batch)
        self._note(classes)
        return receipt

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
        with_labels: bool = True,
    ) -> Window:
        """Read rows in the order of time and sequence.

        Args:
            as_of: newest sequence number to be seen, of rows and of labels; None for all.
            newest: rows at the most, the newest ones, counted after ``labelled``.
            labelled: only rows whose labels are known.
            first_seq: only rows of this sequence number or a later one.
            with_labels: whether anybody wants to know the labels.

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
                as_of=last_seq_of(db) if as_of is None else as_of,
                newest=newest,
                labelled=labelled,
                first_seq=first_seq,
                with_labels=with_labels,
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
        self,
        version: int,
        *,
        metric: str,
        after: int = 0,
        until: int | None = None,
        newest: int = -1,
    ) -> Losses:
        """Read the losses under a version, of labels after one sequence number up to another.

        Args:
            version: what served.
            metric: only losses by this one: others have another unit.
            after: sequence number of labels, itself left out.
            until: sequence number of labels; None for all.
            newest: so many at the most, those of the newest labels; -1 for all.
        """
        with self._file.read() as db:
            found = db.execute(
                "SELECT row_seq, label_seq, loss FROM loss "
                "WHERE version = ? AND metric = ? AND label_seq > ? AND label_seq <= ? "
                "ORDER BY label_seq DESC, row_seq DESC LIMIT ?",
                (version, metric, after, last_seq_of(db) if until is None else until, newest),
            ).fetchall()
        return _losses(found[::-1])

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

    def _note(self, classes: tuple[str, ...]) -> None:
        # Appends may end here in another order than they were stored.
        with self._noting:
            self._classes = max(self._classes, classes, key=len)


def _losses(found: Sequence[tuple[int, int, float]]) -> Losses:
    columns = np.array(found, dtype=np.float64).reshape(-1, 3)
    return Losses(
        row_seq=columns[:, 0].astype(np.int64),
        label_seq=columns[:, 1].astype(np.int64),
        loss=columns[:, 2],
    )
