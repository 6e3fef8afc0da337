"""Forms: the features that rows had, as they changed over time."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING

from retuned_pipelines.schema import Schema

if TYPE_CHECKING:
    import sqlite3

    from retuned_pipelines.schema import Task


class Forms:
    """All forms of a log, by number; the one with the largest number is in use."""

    def __init__(self, task: Task, forms: dict[int, Schema]) -> None:
        """Take the forms."""
        self.task = task
        self._forms = forms

    @classmethod
    def read(cls, db: sqlite3.Connection, task: Task) -> Forms:
        """Read the forms of a log."""
        found = db.execute("SELECT form, features FROM form").fetchall()
        return cls(task, {form: _schema(text) for form, text in found})

    @property
    def newest(self) -> Schema:
        """The features that rows have now.

        Raises:
            ValueError: no row ever came.
        """
        if not self._forms:
            message = "no row has come yet"
            raise ValueError(message)
        return self._forms[max(self._forms)]

    @property
    def number(self) -> int:
        """The number of the form in use; 0 before the first row."""
        return max(self._forms, default=0)

    def of(self, form: int) -> Schema:
        """The features of a form."""
        return self._forms[form]


def schema_of(db: sqlite3.Connection) -> Schema | None:
    """The features in use; None before the first row."""
    row = db.execute("SELECT features FROM form ORDER BY form DESC LIMIT 1").fetchone()
    return None if row is None else _schema(row[0])


def use_schema(db: sqlite3.Connection, schema: Schema) -> None:
    """Let rows have these features from now on.

    Raises:
        ValueError: the rows there are have others, and these do not go on from them.
    """
    stored = schema_of(db)
    if stored != schema:
        if stored is not None and not schema.continues(stored):
            message = "the rows are not of the schema that the rows of this model have"
            raise ValueError(message)
        text = json.dumps(schema.to_json())
        db.execute("INSERT INTO form (features) VALUES (?)", (text,))


@lru_cache(256)
def _schema(text: str) -> Schema:
    """A schema as it is stored; the same few are asked for with every append and window."""
    return Schema.from_json(json.loads(text))
