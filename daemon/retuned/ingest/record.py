"""Records one by one: slower than whole columns, and it knows the reason.

This is what decides: `retuned.ingest.columns` takes only what would be taken here too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from retuned.ingest.fields import (
    OtherKind,
    as_text,
    id_of,
    label_value,
    refuse,
    time_of,
    typed,
    value_of,
)
from retuned.ingest.infer import LABEL
from retuned_pipelines.schema import OWN, Feature, Kind
from retuned_pipelines.spec import Reaction

if TYPE_CHECKING:
    from retuned.ingest.fields import Value
    from retuned.ingest.terms import Terms
    from retuned.ingest.text_labels import TextLabels
    from retuned.rows.batch import LabelValue
    from retuned_pipelines.schema import Schema

Row = tuple[str, int, list[Any], "LabelValue | None"]

_LABELS_GO = "labels go to /labels"


class RecordReader:
    """Reads rows one after the other.

    Attributes:
        changed: the kinds of values that were of another kind than their feature.
    """

    def __init__(
        self, terms: Terms, schema: Schema, *, text: TextLabels | None, claim: str
    ) -> None:
        """Begin.

        Args:
            terms: what rows are read by.
            schema: the features.
            text: how labels are read where all values are text; None where they are not.
            claim: why no row can be taken; "" if it can.
        """
        self._terms, self._schema = terms, schema
        self._text, self._is_text, self._claim = text, text is not None, claim
        spec = terms.spec
        self._allowed = {*schema.names, spec.id, spec.target, *([spec.time] if spec.time else [])}
        self.changed: dict[str, Kind] = {}

    def read(self, record: dict[str, Any]) -> Row:
        """A row's id, time, values and label; raises `Refusal`."""
        terms = self._terms
        name = id_of(record, terms.spec)
        if self._claim:
            refuse(self._claim)
        time = self._time(record)
        if not self._schema.features:
            refuse("has no feature: expected fields beside id, time and label; " + _LABELS_GO)
        if not record.keys() <= self._allowed:
            self._check_fields(record)
        values = [self._value(record, feature) for feature in self._schema.features]
        label = record.get(terms.spec.target)
        if self._text is not None:
            label = self._text.read(label)
        return name, time, values, None if label is None else label_value(label, terms.spec)

    def _time(self, record: dict[str, Any]) -> int:
        terms = self._terms
        spec = terms.spec
        if self._is_text and spec.time:
            record = {**record, spec.time: typed(record.get(spec.time))}
        moment = time_of(record, spec, terms.now_us)
        if spec.time:
            terms.span.check(moment, spec.time)
        return moment

    def _check_fields(self, record: dict[str, Any]) -> None:
        unknown = {
            name
            for name, value in record.items()
            if name not in self._allowed and value is not None
        }
        own = {name for name in unknown if name.startswith(OWN)}
        if own:
            refuse(f"names of fields that begin with {OWN!r} are retuned's own")
        if unknown and (self._terms.appeared is not Reaction.IGNORE or LABEL in unknown):
            _refuse_fields(unknown)

    def _value(self, record: dict[str, Any], feature: Feature) -> Value:
        given = record.get(feature.name)
        if self._is_text and feature.kind is not Kind.CATEGORY:
            given = typed(given)
        try:
            return value_of(given, feature)
        except OtherKind as error:
            self._note(feature, error.kind)
            if self._terms.changed is Reaction.IGNORE:
                return None
            if self._terms.changed is Reaction.ADOPT and feature.kind is Kind.CATEGORY:
                return as_text(given, feature.name)
            raise

    def _note(self, feature: Feature, kind: Kind) -> None:
        found = self.changed.get(feature.name, kind)
        self.changed[feature.name] = found.joined(kind)


_NAMED = 10


def _refuse_fields(unknown: set[str]) -> NoReturn:
    names = sorted(repr(name) for name in unknown)
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    reason = (
        f"unknown field {', '.join(names[:_NAMED])}{more}: "
        "the model's features are fixed (SCHEMA__APPEARED), or too many"
    )
    refuse(f"{reason}; {_LABELS_GO}" if LABEL in unknown else reason)
