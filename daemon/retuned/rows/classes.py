"""What the first labels decide about those that follow.

A class is kept as JSON text, so that ``1``, ``"1"`` and ``true`` are three classes: a client that
sends now one and now the other would have a model of three. The first label therefore fixes the
JSON type of all, and the first two classes are all that a binary task has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from retuned_pipelines.schema import Task

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pyarrow as pa

    from retuned.rows.batch import LabelValue

_PAIR = 2


def remembered(task: Task) -> int:
    """How many of the first classes decide about later ones."""
    if not task.is_classification:
        return 0
    return _PAIR if task is Task.BINARY else 1


def joined(known: Sequence[str], values: Iterable[LabelValue], task: Task) -> tuple[str, ...]:
    """The first classes, after more labels came."""
    if len(known) == remembered(task):
        return tuple(known)
    found = dict.fromkeys([*known, *(value for value in values if isinstance(value, str))])
    return tuple(found)[: remembered(task)]


def objection(value: LabelValue, known: Sequence[str], task: Task) -> str:
    """Why a label cannot follow the first classes; "" if it can."""
    if not known or not isinstance(value, str) or value in known:
        return ""
    if type_of(value) != type_of(known[0]):
        return (
            f"label {value} is {type_of(value)}, but the first label of this model, {known[0]}, "
            f"was {type_of(known[0])}: send all labels as one type"
        )
    if task is Task.BINARY and len(known) == _PAIR:
        return (
            f"label {value} is a third class: TASK=binary has two, here {known[0]} and {known[1]}, "
            "which came first; more classes are a task of their own, TASK=multiclass, in a model "
            "file of another name"
        )
    return ""


def objections(values: pa.Array, known: Sequence[str], task: Task) -> dict[str, str]:
    """Those of some labels, in the order in which they came, that cannot follow the first classes.

    Args:
        values: labels as they are stored, null where there is none.
        known: the first classes, as `RowLog.classes` remembers them.
        task: what they are labels of.

    Returns:
        The reason by label.
    """
    refused: dict[str, str] = {}
    if not task.is_classification:
        return refused
    for value in values.drop_null().unique().to_pylist():
        reason = objection(value, known, task)
        if reason:
            refused[value] = reason
        else:
            known = joined(known, [value], task)
    return refused


def type_of(value: str) -> str:
    """In words: text, a number, or true or false; of a class as JSON text."""
    if value.startswith('"'):
        return "text"
    return "true or false" if value in {"true", "false"} else "a number"
