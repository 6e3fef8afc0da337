"""How rows become a matrix of numbers: the schema, and each category's vocabulary.

Estimators only ever see float64 matrices with columns by position. That keeps pandas off
the path of a prediction, and makes serving and fitting encode in the same way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from retuned_pipelines.column import instants, seconds, texts
from retuned_pipelines.schema import Kind, Schema

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

MAX_CATEGORIES = 254
"""Categories kept of one feature, the most frequent ones; LightGBM bins at most 255."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of the matrix that an estimator learns from.

    Attributes:
        schema: features in column order.
        vocabularies: for each category feature its known categories; a category is encoded
            as its position there. NaN stands for a missing value, and for a category that
            is not in the vocabulary.
    """

    schema: Schema
    vocabularies: Mapping[str, tuple[str, ...]]

    @classmethod
    def learned(cls, schema: Schema, features: pa.Table) -> Layout:
        """Learn vocabularies from a window's features: the most frequent first, then by name."""
        return cls(
            schema,
            {
                feature.name: _vocabulary(features[feature.name])
                for feature in schema.features
                if feature.kind is Kind.CATEGORY
            },
        )

    @property
    def category_columns(self) -> tuple[int, ...]:
        """Positions of the category features."""
        return self._columns(is_category=True)

    @property
    def number_columns(self) -> tuple[int, ...]:
        """Positions of the other features: numbers, truth values as 0 and 1, moments in seconds."""
        return self._columns(is_category=False)

    def encode(self, features: pa.Table) -> NDArray[np.float64]:
        """Encode a table of features: (n, features), float64.

        The table may be of a later schema than the layout: a column that is gone is missing,
        and one of a wider kind is read as what it was.
        """
        matrix = np.full((features.num_rows, len(self.schema.features)), np.nan)
        for position, feature in enumerate(self.schema.features):
            if feature.name not in features.column_names:
                continue
            column = features[feature.name]
            if feature.kind is Kind.CATEGORY:
                known = pa.array(self.vocabularies[feature.name], pa.string())
                column = pc.cast(pc.index_in(texts(column), known), pa.float64())
            elif feature.kind is Kind.TIMESTAMP and pa.types.is_string(column.type):
                column = seconds(instants(column))
            else:
                column = seconds(column)
            matrix[:, position] = pc.fill_null(column, float("nan")).to_numpy()
        return matrix

    def encode_records(self, records: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
        """Encode rows as a client sends them: (n, features), float64.

        A feature that a row does not have is missing. Names that are no features are left
        alone, so that a client may send its whole row.

        Raises:
            ValueError: a value is not of its feature's kind; names row and field.
        """
        matrix = np.empty((len(records), len(self.schema.features)))
        for position, feature in enumerate(self.schema.features):
            name = feature.name
            if feature.kind is Kind.CATEGORY:
                codes = {value: code for code, value in enumerate(self.vocabularies[name])}
                column = [_code(record.get(name), codes) for record in records]
            else:
                read = _READ.get(feature.kind, _number)
                column = [read(record.get(name)) for record in records]
            try:
                matrix[:, position] = np.asarray(column, dtype=np.float64)
            except (OverflowError, TypeError, ValueError) as error:
                raise ValueError(_complaint(records, name, feature.kind)) from error
        return matrix

    def to_json(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "schema": self.schema.to_json(),
            "vocabularies": {name: list(known) for name, known in self.vocabularies.items()},
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Layout:
        """Read what `to_json` wrote."""
        vocabularies = {name: tuple(known) for name, known in value["vocabularies"].items()}
        return cls(Schema.from_json(value["schema"]), vocabularies)

    def _columns(self, *, is_category: bool) -> tuple[int, ...]:
        return tuple(
            n
            for n, feature in enumerate(self.schema.features)
            if (feature.kind is Kind.CATEGORY) == is_category
        )


_MISSING = float("nan")
_REFUSED = object()


def _vocabulary(column: pa.ChunkedArray) -> tuple[str, ...]:
    counts = pc.value_counts(column.drop_null())
    pairs = zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True)
    ranked = sorted(pairs, key=lambda pair: (-pair[1], pair[0]))
    return tuple(value for value, _ in ranked[:MAX_CATEGORIES])


def _code(value: object, codes: Mapping[str, int]) -> object:
    if value is None:
        return _MISSING
    return codes.get(value, _MISSING) if isinstance(value, str) else _REFUSED


def _number(value: object) -> object:
    # Text such as "1.5" would be converted silently; it is told apart here.
    if value is None:
        return _MISSING
    return value if isinstance(value, int | float) else _REFUSED


def _integer(value: object) -> object:
    number = _number(value)
    is_fraction = isinstance(value, float) and not value.is_integer()
    return _REFUSED if is_fraction else number


def _boolean(value: object) -> object:
    number = _number(value)
    return number if value is None or number in {0, 1} else _REFUSED


def _moment(value: object) -> object:
    if not isinstance(value, str):
        return _number(value)
    found = seconds(instants(pa.array([value], pa.string())))[0].as_py()
    return _REFUSED if found is None else found


_READ = {Kind.INTEGER: _integer, Kind.BOOLEAN: _boolean, Kind.TIMESTAMP: _moment}


def _complaint(records: Sequence[Mapping[str, Any]], name: str, kind: Kind) -> str:
    for number, record in enumerate(records):
        value = record.get(name)
        read = _READ.get(kind, _number)
        code = _code(value, {}) if kind is Kind.CATEGORY else read(value)
        if code is _REFUSED:
            return f"row {number}, field {name!r}: {value!r} is not {kind.in_words} or null"
    return f"field {name!r} has a number that is too large"
