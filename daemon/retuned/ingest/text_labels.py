"""Labels in text formats."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from retuned.ingest.fields import typed
from retuned.rows.classes import type_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from retuned.ingest.fields import Value
    from retuned_pipelines.schema import Task

_TYPES: dict[str, tuple[type, ...]] = {
    "a number": (int, float),
    "true or false": (bool,),
    "text": (),
}


@dataclass(frozen=True, slots=True)
class TextLabels:
    """How labels are read in text formats, where ``1`` may be a number or text.

    Attributes:
        allowed: the types that a label may be read as, beside text.
    """

    allowed: tuple[type, ...]

    @classmethod
    def like(cls, column: pa.Array, known: Sequence[str], task: Task) -> TextLabels:
        """As the first classes were, and without any as all of a column can be read."""
        if not task.is_classification:
            return cls((bool, int, float))
        if known:
            kind = type_of(known[0])
            return cls(_TYPES[kind])
        found = {type(typed(text)) for text in column.drop_null().unique().to_pylist()}
        alike = [types for types in _TYPES.values() if found <= set(types)]
        return cls(alike[0] if alike else ())

    def read(self, text: object) -> Value:
        """A label's own value."""
        found = typed(text)
        return found if type(found) in self.allowed else text
