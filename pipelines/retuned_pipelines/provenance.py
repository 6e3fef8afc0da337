"""From what a member was fitted, so that it can be fitted once more and compared."""

from __future__ import annotations

import hashlib
from copy import copy
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.pipeline import Pipeline

from retuned_pipelines.schema import Schema

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from retuned_pipelines.fitting import FittedModel
    from retuned_pipelines.window import Window

ANSWERED_ROWS = 200
"""Of the rows learned from, the newest ones whose predictions are remembered by a digest."""

_DIGITS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """From what a member was fitted; with its recipe and the rows it can be fitted again.

    Attributes:
        as_of: the newest sequence number that the fit knew.
        changed_seq: newest sequence number before the last detected change; 0 for none.
        seed: seed of everything random.
        rows: labelled rows learned from.
        first_seq: smallest sequence number among those.
        last_seq: largest sequence number among those.
        learned: digest of which rows and labels those were, by their sequence numbers.
        schema: digest of the features.
        answers: digest of the predictions for the newest of those rows, to the last bit.
    """

    as_of: int
    changed_seq: int
    seed: int
    rows: int
    first_seq: int
    last_seq: int
    learned: str
    schema: str
    answers: str

    def to_json(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Provenance:
        """Read what `to_json` wrote."""
        return cls(**value)


def rows_digest(rows: Window) -> str:
    """A digest that changes when a row or a label is another one, or is not there (16 digits)."""
    return _digest(rows.seq.astype("<i8").tobytes() + rows.label_seq.astype("<i8").tobytes())


def answers_digest(model: FittedModel, rows: Window) -> str:
    """A digest of what a model answers to the newest of the rows that it learned from."""
    return _digest(np.ascontiguousarray(answers(model, rows), "<f8").tobytes())


def answers(model: FittedModel, rows: Window) -> NDArray[np.float64]:
    """What a model answers to the newest of some rows, on one thread.

    A forest that predicts on several adds its trees up in whatever order they finish, and its
    last bits change from call to call.
    """
    *before, (name, last) = model.estimator.steps
    last = copy(last)
    if hasattr(last, "n_jobs"):
        last.n_jobs = 1
    alone = replace(model, estimator=Pipeline([*before, (name, last)]))
    return alone.predict(model.layout.encode(rows.newest(ANSWERED_ROWS).features))


def schema_digest(schema: Schema) -> str:
    """The beginning of a schema's digest."""
    return schema.digest[:_DIGITS]


def as_then(rows: Window, schema: str) -> Window | None:
    """Rows under the schema of an earlier time; None where a feature changed its kind since.

    Args:
        rows: under the schema of now, which may have more features at its end.
        schema: the earlier one's digest.
    """
    features = rows.schema.features
    for count in range(len(features), 0, -1):
        earlier = Schema(features[:count])
        if schema_digest(earlier) == schema:
            columns = rows.features.select(list(earlier.names))
            return replace(rows, schema=earlier, features=columns)
    return None


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:_DIGITS]
