"""What the first rows and labels of a log fixed for all that follow."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from retuned.errors import PermanentError, TransientError
from retuned.rows.classes import joined, objection

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection
    from pathlib import Path

    from retuned.rows.batch import LabelValue
    from retuned_pipelines.schema import Task


def fix_task(db: sqlite3.Connection, task: Task, path: Path) -> None:
    """Let labels be those of a task; as long as there are none, it may be another one.

    Raises:
        PermanentError: there are labels of another task.
    """
    stored = _read(db, "task")
    (has_labels,) = db.execute(
        "SELECT EXISTS (SELECT 1 FROM label) OR EXISTS (SELECT 1 FROM orphan) "
        "OR EXISTS (SELECT 1 FROM batch WHERE last_label IS NOT NULL)"
    ).fetchone()
    if stored is not None and stored != task and has_labels:
        message = (
            f"{path} holds labels of TASK={stored}, and {path.stem}.env says TASK={task}: "
            "set it back, or give the new task a model file of another name."
        )
        raise PermanentError(message)
    if stored != task:
        _write(db, "task", task)


def classes_of(db: sqlite3.Connection, task: Task) -> tuple[str, ...]:
    """The first classes among the labels; see `retuned.rows.classes`."""
    if not task.is_classification:
        return ()
    stored = _read(db, "classes")
    return () if stored is None else tuple(json.loads(stored))


def fix_classes(
    db: sqlite3.Connection, values: Collection[LabelValue], task: Task
) -> tuple[str, ...]:
    """Let labels go with the first ones; gives the first classes after these.

    Labels are read before they are stored: whoever read these may have known fewer classes.

    Raises:
        TransientError: one of the labels does not go with those that came in the meantime.
    """
    known = classes_of(db, task)
    classes = joined(known, values, task)
    for value in set(values) if classes else ():
        if reason := objection(value, classes, task):
            message = f"{reason}. Send the labels again: each is then taken or refused."
            raise TransientError(message, retry_after=1.0)
    if classes != known:
        _write(db, "classes", json.dumps(classes))
    return classes


def mark_of(db: sqlite3.Connection) -> bytes:
    """What tells this log from every other, 16 bytes."""
    return bytes.fromhex(str(_read(db, "mark")))


def _read(db: sqlite3.Connection, key: str) -> str | None:
    row = db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return None if row is None else str(row[0])


def _write(db: sqlite3.Connection, key: str, value: str) -> None:
    db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))
