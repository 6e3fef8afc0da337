"""Fits have come back: what they make of a version, and how its members stand now."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from retuned_pipelines import upkeep, weights
from retuned_pipelines.care.probation import shared
from retuned_pipelines.version import Revision, Shadow

if TYPE_CHECKING:
    from retuned_pipelines.care.facts import Fitted, Refitted
    from retuned_pipelines.care.orders import Refit
    from retuned_pipelines.spec import ModelSpec
    from retuned_pipelines.version import Came, Standing, Version


def revised(spec: ModelSpec, order: Refit, fact: Fitted) -> Revision:
    """The revision that a refit made of its version."""
    version, serving = order.version, order.serving
    if serving is None:
        is_single = spec.serve.max_members == 1
        standing = weights.begun(version.members, order.labelled, is_single=is_single)
        standing = weights.bounded(standing, fact.made.predict_ms, spec.serve.max_predict_ms)
    else:
        standing = _followed(spec, version, serving.standing, fact.made, fact.came)
        standing = upkeep.refitted(standing, order.members, order.labelled)
    number = 1 if serving is None else serving.number + 1
    return _revision(version, number, standing, order, fact, fact.made)


def shadowed(spec: ModelSpec, order: Refit, fact: Fitted) -> Shadow | None:
    """The order's shadow with the revision that the refit made of it; None for none."""
    shadow, made = order.shadow, fact.shadow
    if shadow is None or made is None:
        return None
    came = None if fact.beside is None else fact.beside.came
    standing = _followed(spec, shadow.version, shadow.revision.standing, made, came)
    standing = upkeep.refitted(standing, _fitted(order, shadow), order.labelled)
    number = shadow.revision.number + 1
    revision = _revision(shadow.version, number, standing, order, fact, made)
    if made.artifacts == shadow.revision.artifacts:
        # Nothing of it was fitted anew, an imported one never is: its features are what they were.
        revision = replace(revision, schema_digest=shadow.revision.schema_digest)
    return Shadow(version=shadow.version, revision=revision, judged=shadow.judged)


def _fitted(order: Refit, shadow: Shadow) -> list[int]:
    """Positions of the shadow's members that a refit fitted, for the champion or alone."""
    others = shared(shadow, order.version, order.standing)
    return [mine for mine, its in others.items() if its in order.members] + [*order.shadow_members]


def _followed(
    spec: ModelSpec, version: Version, standing: Standing, made: Refitted, came: Came | None
) -> Standing:
    """How members stand after the labels that came, before they are fitted anew."""
    if came is not None:
        prior = [member.weight for member in version.members]
        standing = weights.followed(standing, prior, came.losses)
        standing = upkeep.learned(standing, came)
    return weights.bounded(standing, made.predict_ms, spec.serve.max_predict_ms)


def _revision(  # noqa: PLR0913, PLR0917 (what a revision is made of)
    version: Version, number: int, standing: Standing, order: Refit, fact: Fitted, made: Refitted
) -> Revision:
    return Revision(
        model=version.model,
        version=version.number,
        number=number,
        artifacts=tuple(
            "" if is_gone else name
            for name, is_gone in zip(made.artifacts, standing.retired, strict=True)
        ),
        fitted_as_of=order.as_of,
        rows=made.rows,
        first_seq=made.first_seq,
        last_seq=made.last_seq,
        schema_digest=fact.schema_digest,
        libraries=dict(fact.libraries),
        created_at=fact.now,
        standing=standing,
        predict_ms=made.predict_ms,
        first_time=made.first_time,
        last_time=made.last_time,
        seed=fact.seed,
        provenance=made.provenance,
    )
