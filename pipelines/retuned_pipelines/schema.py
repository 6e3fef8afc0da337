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
    CATEGORY = "category"

    @property
    def arrow_type(self) -> pa.DataType:
        """The Arrow type that rows of this kind are stored as; null is missing."""
        return pa.float64() if self is Kind.NUMBER else pa.string()


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
    def digest(self) -> str:
        """SHA-256 over names, kinds and order, in hexadecimal."""
        return hashlib.sha256(json.dumps(self.to_json()).encode()).hexdigest()

    def continues(self, earlier: Schema) -> bool:
        """Whether rows of an earlier schema can be read under this one.

        Features may have been added at the end, and a number may have become a category.
        """
        return len(self.features) >= len(earlier.features) and all(
            now.name == before.name and (now.kind is before.kind or now.kind is Kind.CATEGORY)
            for before, now in zip(earlier.features, self.features, strict=False)
        )

    def to_json(self) -> list[dict[str, str]]:
        """JSON form, ``[{"name": ..., "kind": ...}, ...]``."""
        return [{"name": feature.name, "kind": feature.kind.value} for feature in self.features]

    @classmethod
    def from_json(cls, value: Sequence[Mapping[str, Any]]) -> Schema:
        """Read what `to_json` wrote."""
        return cls(tuple(Feature(item["name"], Kind(item["kind"])) for item in value))
