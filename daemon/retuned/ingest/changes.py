"""Columns that appear, vanish, or hold values of another kind than before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retuned.ingest.infer import LABEL, inferred, kinds_of
from retuned.ingest.terms import Change, Happened
from retuned_pipelines.spec import Reaction

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from retuned.ingest.piece import Piece
    from retuned.ingest.terms import Terms
    from retuned_pipelines.schema import Kind, Schema


MOST_FEATURES = 2000
"""Features of a model at the most that nobody declared: beyond that, names of fields are data."""


def agreed(piece: Piece, terms: Terms) -> tuple[Schema, tuple[Change, ...]]:
    """The features that a piece is read by, and the columns that are new or not there."""
    if terms.schema is None:
        return inferred(piece, terms.spec), ()
    if not len(piece):
        return terms.schema, ()
    spec, schema, names = terms.spec, terms.schema, piece.names
    apart = {*schema.names, spec.id, spec.target, spec.time, LABEL}
    new = kinds_of(piece, [name for name in names if name not in apart])
    changes = [_change(Happened.APPEARED, name, terms.appeared, found=new[name]) for name in new]
    here = set(names)
    changes += [
        _change(Happened.VANISHED, feature.name, terms.vanished, was=feature.kind)
        for feature in schema.features
        if feature.name not in here
    ]
    if terms.appeared is Reaction.ADOPT and len(schema.features) + len(new) <= MOST_FEATURES:
        schema = schema.grown(new)
    return schema, tuple(changes)


def types_changed(changed: Mapping[str, Kind], terms: Terms, schema: Schema) -> tuple[Change, ...]:
    """The columns with values of another kind than theirs."""
    known = (terms.schema or schema).kinds
    return tuple(
        _change(Happened.CHANGED, name, terms.changed, was=known.get(name), found=kind)
        for name, kind in changed.items()
    )


def claim_of(terms: Terms, schema: Schema, changes: Sequence[Change]) -> str:
    """Why no row of a piece can be taken; "" if it can.

    The model file claims a feature for something else, or declares it as what it is not, or
    a column is not there that has to be.
    """
    spec = terms.spec
    claims = {"ID": spec.id, "TARGET": spec.target, "TIME": spec.time}
    for key, name in claims.items():
        if name in schema.names:
            return (
                f"{key}={name} in {spec.name}.env names a feature that this model's rows have had "
                f"from the first: take {key} back, or give the new task a model file of another "
                "name"
            )
    kinds = schema.kinds
    for feature in spec.features:
        kind = kinds.get(feature.name, feature.kind)
        if kind.joined(feature.kind) not in {kind, feature.kind}:
            return (
                f"FEATURES in {spec.name}.env says {feature.name}:{feature.kind}, and in this "
                f"model's rows it has been a {kind}: take that back, or begin a model file of "
                "another name"
            )
    if terms.schema is None and len(schema.features) > MOST_FEATURES:
        return (
            f"the first rows have {len(schema.features)} features, and {MOST_FEATURES} are taken: "
            "are values used as names of fields? If not, declare them (FEATURES)"
        )
    gone = [
        change.column
        for change in changes
        if change.happened is Happened.VANISHED and change.reaction is Reaction.REFUSE
    ]
    if gone:
        names = ", ".join(map(repr, gone))
        return f"no row of the batch has field {names}, a feature of the model (SCHEMA__VANISHED)"
    return ""


def declared(schema: Schema | None, terms_features: Schema) -> Schema | None:
    """What the model file declares, beside what the rows have had so far."""
    if schema is None:
        return terms_features if terms_features.features else None
    known = schema.kinds
    kinds = {
        name: kind
        for name, kind in terms_features.kinds.items()
        if name not in known or known[name].joined(kind) is kind
    }
    return schema.grown(kinds)


def _change(
    happened: Happened,
    name: str,
    reaction: Reaction,
    *,
    was: Kind | None = None,
    found: Kind | None = None,
) -> Change:
    return Change(happened=happened, column=name, reaction=reaction, was=was, found=found)
