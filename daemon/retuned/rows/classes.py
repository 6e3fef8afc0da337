"""What the first labels decide about those that follow.

A class is kept as JSON text, so that ``1``, ``"1"`` and ``true`` are three classes: a client that
sends now one and now the other would have a model of three. The first label therefore fixes the
JSON type of all, and the first two classes are all that a binary task has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from retuned.rows.fields import label_value, refuse
from retuned_pipelines.schema import Task

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from retuned.rows.batch import LabelValue
    from retuned_pipelines.spec import ModelSpec

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
    if _type(value) != _type(known[0]):
        return (
            f"label {value} is {_type(value)}, but the first label of this model, {known[0]}, "
            f"was {_type(known[0])}: send all labels as one type"
        )
    if task is Task.BINARY and len(known) == _PAIR:
        return (
            f"label {value} is a third class: TASK=binary has two, here {known[0]} and {known[1]}, "
            "which came first; more classes are a task of their own, TASK=multiclass, in a model "
            "file of another name"
        )
    return ""


class LabelReader:
    """Reads the labels of one request, one after the other."""

    def __init__(self, spec: ModelSpec, known: Sequence[str]) -> None:
        """Begin with the classes that the log remembers."""
        self._spec = spec
        self._known = tuple(known)
        self._seen: set[LabelValue] = set(known)

    def read(self, given: object) -> LabelValue:
        """A label as it is stored; raises `Refusal`."""
        value = label_value(given, self._spec)
        if value in self._seen:
            return value
        reason = objection(value, self._known, self._spec.task)
        if reason:
            refuse(reason)
        self._known = joined(self._known, [value], self._spec.task)
        if isinstance(value, str):
            self._seen.add(value)
        return value


def _type(value: str) -> str:
    if value.startswith('"'):
        return "text"
    return "true or false" if value in {"true", "false"} else "a number"
