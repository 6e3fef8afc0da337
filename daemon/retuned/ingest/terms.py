"""What records are read by: the model's fields, its features, and what is done about changes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from retuned.ingest.fields import refuse
from retuned_pipelines.column import FIRST_US, LAST_US

if TYPE_CHECKING:
    from retuned_pipelines.schema import Kind, Schema
    from retuned_pipelines.spec import ModelSpec, Reaction


class Happened(StrEnum):
    """How the columns of rows can differ from what is known."""

    APPEARED = "appeared"
    VANISHED = "vanished"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A column that is not as it was.

    Attributes:
        happened: what happened to it.
        column: its name.
        reaction: what was done about it.
        was: its kind until now; None where it is new.
        found: the kind of what came; None where nothing did, or nothing of any kind.
    """

    happened: Happened
    column: str
    reaction: Reaction
    was: Kind | None
    found: Kind | None

    @property
    def key(self) -> str:
        """The same for the same change of the same column."""
        return f"schema-{self.happened}-{self.column}-{self.was}-{self.found}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The times that a row may have, microseconds since the epoch, and what sets them."""

    first_us: int = FIRST_US
    last_us: int = LAST_US

    @classmethod
    def around(cls, now_us: int, spec: ModelSpec) -> Span:
        """What a model takes now."""
        ahead, age = spec.rows.max_ahead_s, spec.rows.max_age_s
        return cls(
            first_us=now_us - round(age * 1e6) if age else FIRST_US,
            last_us=now_us + round(ahead * 1e6) if ahead else LAST_US,
        )

    def check(self, moment: int, field: str) -> None:
        """Refuse a time that is not within; raises `Refusal`."""
        if moment > self.last_us:
            refuse(
                f"field {field!r} (the row's time) is {_told(moment)}, which is too far ahead: "
                f"until {_told(self.last_us)} is taken now (ROWS__MAX_AHEAD_S)"
            )
        if moment < self.first_us:
            refuse(
                f"field {field!r} (the row's time) is {_told(moment)}, which is too long ago: "
                f"from {_told(self.first_us)} is taken now (ROWS__MAX_AGE_S)"
            )


ANY_TIME = Span()


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What rows are read by.

    Attributes:
        spec: the names of the fields.
        schema: the features; None before the first row.
        appeared: what is done about unknown columns.
        vanished: what is done about columns that no row has.
        changed: what is done about values of another kind.
        now_us: the time of rows without one.
        span: the times that are taken.
    """

    spec: ModelSpec
    schema: Schema | None
    appeared: Reaction
    vanished: Reaction
    changed: Reaction
    now_us: int
    span: Span = ANY_TIME

    @classmethod
    def of(
        cls, spec: ModelSpec, schema: Schema | None, now_us: int, span: Span = ANY_TIME
    ) -> Terms:
        """A model's own."""
        policy = spec.schema
        return cls(
            spec=spec,
            schema=schema,
            appeared=policy.appeared,
            vanished=policy.vanished,
            changed=policy.changed,
            now_us=now_us,
            span=span,
        )

    def under(self, schema: Schema) -> Terms:
        """The same with other features."""
        return replace(self, schema=schema)


def _told(moment: int) -> str:
    inside = min(max(moment, FIRST_US), LAST_US)
    return datetime.fromtimestamp(inside // 1_000_000, UTC).isoformat()
