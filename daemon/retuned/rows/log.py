"""The row log of one model: append-only, by id, readable as of any moment."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from retuned.rows import aside, delay
from retuned.rows.append import Added, Book, insert_label_batch, insert_rows, overdue
from retuned.rows.arrival import arrivals
from retuned.rows.batch import Counts, LabelBatch, Losses, Receipt, RowBatch, Score
from retuned.rows.commits import Append, Commits, attempt
from retuned.rows.compact import compact, fold
from retuned.rows.file import LogFile
from retuned.rows.find import last_seq_of, oldest_seq
from retuned.rows.fixed import classes_of, fix_classes, fix_task
from retuned.rows.forget import forget, wiped
from retuned.rows.form import Forms, schema_of, use_schema
from retuned.rows.ids import digest
from retuned.rows.index import filled
from retuned.rows.losses import (
    insert_losses,
    last_scored,
    losses_of,
    newest_losses,
    newest_scores,
    scored_with,
)
from retuned.rows.quarantine import Quarantine
from retuned.rows.read import Wanted, read_matured, read_window
from retuned.rows.retain import Dropped, Limits, retain

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from retuned.rows.delay import LabelDelay
    from retuned.rows.ids import IdIndex
    from retuned_pipelines.schema import Schema, Task
    from retuned_pipelines.window import Window

Came = tuple[Receipt, Added]
T = TypeVar("T")

_GIVEN_BACK_PAGES = 10_000
"""Unused pages of a file that are given back to the disk at a time: 40 MB."""


class RowLog:
    """Rows and labels of one model. May be used from many threads at once.

    What `append_rows` and `append_labels` have returned survives a crash of the process and
    of the machine; what they have not returned is stored as a whole or not at all. Threads
    that append at the same time share a commit.
    """

    def __init__(
        self, path: Path, task: Task, *, spare: int = 0, now: Callable[[], float] = time.time
    ) -> None:
        """Open the log, or begin one.

        Args:
            path: its file.
            task: what its labels are.
            spare: bytes of the disk that others need; nothing is stored where fewer are free.
            now: tells when rows and labels come, seconds since the epoch.

        Raises:
            PermanentError: the file is damaged or of another release, or it holds labels of
                another task.
            TransientError: the disk is full.
        """
        self._noting = threading.Lock()
        self._now = now
        self._file = LogFile(path, spare=spare)
        self.quarantine = Quarantine(self._file)
        self._index: IdIndex | None = None
        self._commits: Commits[Came] = Commits(self._commit)
        self._since_tidy = 1
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
        with self._file.write(needs_room=False) as db:
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
            schema: the log's own, or one that goes on from it; with the first batch it becomes
                the log's.

        Raises:
            ValueError: the schema does not go on from the log's.
            TransientError: the disk is full, or the labels do not go with those that came in
                the meantime; nothing was stored.
        """

        def append(db: sqlite3.Connection) -> Came:
            use_schema(db, schema)
            self._fix_classes(db, batch.labels)
            return insert_rows(self._book(db), batch)

        receipt, _ = self._commits.through(append)
        return receipt

    def append_labels(self, batch: LabelBatch) -> Receipt:
        """Append labels; one whose row has not come yet is kept until it does.

        Raises:
            TransientError: the disk is full, or the labels do not go with those that came in
                the meantime; nothing was stored.
        """

        def append(db: sqlite3.Connection) -> Came:
            self._fix_classes(db, batch.values)
            return insert_label_batch(self._book(db), batch), Added()

        receipt, _ = self._commits.through(append)
        return receipt

    def forget(self, name: str) -> bool:
        """Delete a row for good, by its id, with its labels and losses; it cannot come again.

        What was refused under its id leaves the quarantine.

        Returns:
            Whether there was anything of it.
        """

        def erase(db: sqlite3.Connection) -> Came:
            with wiped(db):
                is_known = forget(self._book(db), digest(name))
                is_known |= aside.forget(db, name) > 0
            return Receipt(forgotten=int(is_known), last_seq=last_seq_of(db)), Added()

        receipt, _ = self._commits.through(erase)
        # What the journal still holds of it goes with the journal.
        self._file.give_back(1)
        return receipt.forgotten > 0

    def tidy(self, limits: Limits) -> Dropped:
        """Merge small segments, store labels with their rows, and drop what is over limits.

        It takes turns with those who append.
        """
        before, self._since_tidy = self._since_tidy, 0
        if before:
            while self._making_room(compact):
                pass
            self._fold()
        rows = segments = 0
        while (dropped := self._making_room(lambda db, forms: retain(db, forms, limits))).segments:
            rows, segments = rows + dropped.rows, segments + dropped.segments
        while (before or segments) and self._file.give_back(_GIVEN_BACK_PAGES):
            pass
        return Dropped(rows=rows, segments=segments)

    def rest(self) -> None:
        """Close the file, and let the index go, until they are needed again."""
        with self._commits.paused():
            self._index = None
            self._file.rest()

    @property
    def uses(self) -> int:
        """Counts how often the file was used."""
        return self._file.uses

    def counts(self) -> Counts:
        """Count what the log holds, without looking at the rows."""
        with self._file.read() as db:
            row = db.execute("SELECT rows, labelled, last_seq FROM total").fetchone()
        return Counts(rows=row[0], labelled=row[1], last_seq=row[2])

    def label_delay(self, horizon_s: float = 0.0) -> LabelDelay:
        """How long labels take, and which never came; a horizon of 0 is none."""
        with self._file.read() as db:
            horizon_us = round(horizon_s * 1e6)
            return delay.read(db, now_us=self._now_us(), horizon_us=horizon_us)

    def overdue(self, ids: Sequence[str], horizon_s: float) -> frozenset[str]:
        """Those of the ids whose rows waited for a first label for longer than the horizon."""
        # The index is for whoever has the turn to commit.
        with self._commits.paused(), self._file.write(needs_room=False) as db:
            return overdue(self._book(db), ids, round(horizon_s * 1e6))

    def arrived(self, seqs: NDArray[np.int64]) -> NDArray[np.int64]:
        """When rows or labels came, int64 (n), microseconds since the epoch; -1: not known."""
        with self._file.read() as db:
            return arrivals(db, seqs).at

    def window(  # noqa: PLR0913 (what a window is asked by)
        self,
        *,
        as_of: int | None = None,
        newest: int | None = None,
        labelled: bool = False,
        first_seq: int = 0,
        since_us: int = -(2**63),
        with_labels: bool = True,
    ) -> Window:
        """Read rows in the order of time and sequence.

        Args:
            as_of: newest sequence number to be seen, of rows and of labels; None for all.
            newest: rows at the most, the newest ones, counted after ``labelled``.
            labelled: only rows whose labels are known.
            first_seq: only rows of this sequence number or a later one.
            since_us: only rows of this time or a later one, microseconds since the epoch.
            with_labels: whether anybody wants to know the labels.

        Raises:
            ValueError: there is no schema yet: no row ever came.
        """
        with self._file.read() as db:
            wanted = Wanted(
                as_of=last_seq_of(db) if as_of is None else as_of,
                newest=newest,
                labelled=labelled,
                first_seq=first_seq,
                since_us=since_us,
                with_labels=with_labels,
            )
            return read_window(db, Forms.read(db, self._task), wanted)

    def matured(self, after: int, until: int, *, most: int | None = None) -> Window | None:
        """Read the rows whose newest label came after one sequence number, up to another.

        Args:
            after: sequence number of labels, itself left out.
            until: and the last one.
            most: of more rows about so many are read, up to three times as many: evenly
                spaced, the one of the newest label among them; None for all.
        """
        with self._file.read() as db:
            return read_matured(db, Forms.read(db, self._task), after, until, most)

    def append_losses(  # noqa: PLR0913 (what a loss is known by)
        self,
        row_seq: NDArray[np.int64],
        label_seq: NDArray[np.int64],
        loss: NDArray[np.float64],
        *,
        version: int | NDArray[np.int64],
        revision: int | NDArray[np.int64],
        metric: str,
    ) -> None:
        """Keep the loss of rows as served by a revision; the newest label of a row counts."""
        with self._file.write() as db:
            insert_losses(
                db, row_seq, label_seq, loss, version=version, revision=revision, metric=metric
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
            last = last_seq_of(db) if until is None else until
            return losses_of(db, version, metric, after=after, until=last, newest=newest)

    def newest_losses(self, limit: int, *, metric: str) -> Losses:
        """Read the newest losses as served by a metric, under whatever version."""
        with self._file.read() as db:
            return newest_losses(db, limit, metric)

    def scores(self, limit: int) -> list[Score]:
        """The newest losses, newest label first."""
        with self._file.read() as db:
            return newest_scores(db, limit)

    def scored(self, row_seq: NDArray[np.int64]) -> NDArray[np.int64]:
        """Sequence number of the label that each row's stored loss used, int64 (n); -1: none."""
        with self._file.read() as db:
            return scored_with(db, row_seq)

    def last_scored(self) -> int:
        """Sequence number of the newest label whose row has a loss; 0 without any."""
        with self._file.read() as db:
            return last_scored(db)

    def _commit(self, appends: Sequence[Append[Came]]) -> None:
        """Carry out appends in one transaction; see `Commits`."""
        added: list[Added] = []
        try:
            with self._file.write() as db:
                index = self._index_of(db)
                for append in appends:
                    if attempt(db, append) and append.result is not None:
                        # Those that follow have to find what it brought.
                        added.append(append.result[1])
                        index.add(added[-1].digests, added[-1].seqs)
                last, schema, classes = last_seq_of(db), schema_of(db), classes_of(db, self._task)
        except BaseException:
            if self._index is not None:
                for one in reversed(added):
                    self._index.take_back(one.digests, one.seqs)
            raise
        self._schema = schema
        self._since_tidy += 1
        self._note(classes)
        # What cannot become a run now stays in memory; the next commit tries again.
        with suppress(OSError):
            index.settle(last, self._oldest)

    def _fold(self) -> None:
        """Store labels with their rows, segment by segment."""
        after: int | None = 0
        while after is not None:
            start = after
            after = self._making_room(lambda *of: fold(*of, after=start))  # noqa: B023 (called at once)

    def _making_room(self, work: Callable[[sqlite3.Connection, Forms], T]) -> T:
        with self._file.write(needs_room=False) as db:
            return work(db, Forms.read(db, self._task))

    def _index_of(self, db: sqlite3.Connection) -> IdIndex:
        if self._index is None:
            self._index = filled(db, self._file.path.with_suffix(".ids"), self._task)
        return self._index

    def _book(self, db: sqlite3.Connection) -> Book:
        return Book(
            db=db, index=self._index_of(db), forms=Forms.read(db, self._task), at_us=self._now_us()
        )

    def _now_us(self) -> int:
        return round(self._now() * 1e6)

    def _oldest(self) -> int:
        with self._file.read() as db:
            return oldest_seq(db)

    def _fix_classes(self, db: sqlite3.Connection, labels: pa.Array) -> None:
        fix_classes(db, labels.drop_null().unique().to_pylist(), self._task)

    def _note(self, classes: tuple[str, ...]) -> None:
        # Commits may end here in another order than they were stored.
        with self._noting:
            self._classes = max(self._classes, classes, key=len)
