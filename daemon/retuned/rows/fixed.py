"""What the first rows and labels of a log fixed for all that follow."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from retuned.errors import PermanentError, TransientError
from retuned.rows.classes import joined, objection, remembered
from retuned_pipelines.schema import Schema, Task

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection
    from pathlib import Path

    from retuned.rows.batch import LabelValue


def fix_task(db: sqlite3.Connection, task: Task, path: Path) -> None:
    """Let labels be those of a task; as long as there are none, it may be another one.

    Raises:
        PermanentError: there are labels of another task.
    """
    stored = _read(db, "task")
    (has_labels,) = db.execute("SELECT EXISTS (SELECT 1 FROM label)").fetchone()
    if stored is not None and stored != task and has_labels:
        message = (
            f"{path} holds labels of TASK={stored}, and {path.stem}.env says TASK={task}: "
            "set it back, or give the new task a model file of another name."
        )
        raise PermanentError(message)
    if stored != task:
        _write(db, "task", task)


def schema_of(db: sqlite3.Connection) -> Schema | None:
    """The features; None before the first row."""
    text = _read(db, "schema")
    return None if text is None else Schema.from_json(json.loads(text))


def fix_schema(db: sqlite3.Connection, schema: Schema) -> None:
    """Let rows have these features.

    Raises:
        ValueError: the first rows had others.
    """
    stored, text = _read(db, "schema"), json.dumps(schema.to_json())
    if stored is None:
        _write(db, "schema", text)
    elif stored != text:
        message = "the rows are not of the schema that the first rows of this model had"
        raise ValueError(message)


def classes_of(db: sqlite3.Connection, task: Task) -> tuple[str, ...]:
    """The first classes among the labels; see `retuned.rows.classes`."""
    if not task.is_classification:
        return ()
    stored = _read(db, "classes")
    if stored is not None:
        return tuple(json.loads(stored))
    # A file of an older release has labels and has not written down which came first.
    found = db.execute(
        "SELECT value FROM label GROUP BY value ORDER BY min(seq) LIMIT ?", (remembered(task),)
    )
    return tuple(value for (value,) in found.fetchall())


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


def _read(db: sqlite3.Connection, key: str) -> str | None:
    row = db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return None if row is None else str(row[0])


def _write(db: sqlite3.Connection, key: str, value: str) -> None:
    db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))
