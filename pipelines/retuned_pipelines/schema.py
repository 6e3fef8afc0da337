"""What a row is: the features of a model, their kinds and their order."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Task(StrEnum):
    """What a model predicts."""

    BINARY = "binary"
    MULTICLASS = "multiclass"
    REGRESSION = "regression"

    @property
    def is_classification(self) -> bool:
        """Whether the target is a class and not a number."""
        return self is not Task.REGRESSION


class Kind(StrEnum):
    """How a feature is stored and encoded."""

    NUMBER = "number"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    CATEGORY = "category"
    TIMESTAMP = "timestamp"

    @property
    def arrow_type(self) -> pa.DataType:
        """The Arrow type that rows of this kind are stored as; null is missing."""
        return _ARROW[self]

    @property
    def in_words(self) -> str:
        """What a value of this kind is, for people."""
        return _IN_WORDS[self]

    def joined(self, other: Kind) -> Kind:
        """The narrowest kind that takes the values of both: a category takes all, as text."""
        if self is other:
            return self
        if self in _WIDENING and other in _WIDENING:
            return max(self, other, key=_WIDENING.index)
        return Kind.CATEGORY


OWN = "__"
"""Names of columns that begin with this are retuned's own."""

INSTANT = pa.timestamp("us", tz="UTC")
"""Moments: microseconds since the epoch, and Arrow, Parquet and pandas know that they are times."""

_ARROW = {
    Kind.NUMBER: pa.float64(),
    Kind.INTEGER: pa.int64(),
    Kind.BOOLEAN: pa.bool_(),
    Kind.CATEGORY: pa.string(),
    Kind.TIMESTAMP: INSTANT,
}

_IN_WORDS = {
    Kind.NUMBER: "a number",
    Kind.INTEGER: "a whole number",
    Kind.BOOLEAN: "true or false",
    Kind.CATEGORY: "text",
    Kind.TIMESTAMP: "a time (ISO 8601 text, or seconds since the epoch)",
}

_WIDENING = [Kind.BOOLEAN, Kind.INTEGER, Kind.NUMBER]


@dataclass(frozen=True, slots=True)
class Feature:
    """One column that a model learns from."""

    name: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Schema:
    """The features of a model in the order in which every matrix has them."""

    features: tuple[Feature, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Feature names, in order."""
        return tuple(feature.name for feature in self.features)

    @property
    def arrow(self) -> pa.Schema:
        """The Arrow schema of the feature columns."""
        return pa.schema([(feature.name, feature.kind.arrow_type) for feature in self.features])

    @property
    def kinds(self) -> dict[str, Kind]:
        """The kind of each feature by its name, in order."""
        return {feature.name: feature.kind for feature in self.features}

    def grown(self, kinds: Mapping[str, Kind]) -> Schema:
        """This schema, widened and extended so that it also takes columns of these kinds."""
        joined = self.kinds
        for name, kind in kinds.items():
            joined[name] = joined[name].joined(kind) if name in joined else kind
        return Schema(tuple(Feature(name, kind) for name, kind in joined.items()))

    @property
    def digest(self) -> str:
        """SHA-256 over names, kinds and order, in hexadecimal."""
        return hashlib.sha256(json.dumps(self.to_json()).encode()).hexdigest()

    def continues(self, earlier: Schema) -> bool:
        """Whether rows of an earlier schema can be read under this one.

        Features may have been added at the end, and some may be of a wider kind.
        """
        before = earlier.kinds
        return self.names[: len(before)] == earlier.names and all(
            kind.joined(before.get(name, kind)) is kind for name, kind in self.kinds.items()
        )

    def to_json(self) -> list[dict[str, str]]:
        """JSON form, ``[{"name": ..., "kind": ...}, ...]``."""
        return [{"name": feature.name, "kind": feature.kind.value} for feature in self.features]

    @classmethod
    def from_json(cls, value: Sequence[Mapping[str, Any]]) -> Schema:
        """Read what `to_json` wrote."""
        return cls(tuple(Feature(item["name"], Kind(item["kind"])) for item in value))
