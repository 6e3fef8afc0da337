"""A model from elsewhere becomes a version that does not serve."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from retuned_pipelines import weights
from retuned_pipelines.care.orders import Shelve, shelving
from retuned_pipelines.care.step import Answer, landed, launch, next_id
from retuned_pipelines.evaluate.verdict import Ruling, Verdict
from retuned_pipelines.version import Member, Revision, Version

if TYPE_CHECKING:
    from retuned_pipelines.care.facts import Brought
    from retuned_pipelines.care.state import CareState
    from retuned_pipelines.spec import ModelSpec

_NOT_JUDGED = "Imported; it has not met the champion at the gate."


def shelve(spec: ModelSpec, state: CareState, fact: Brought) -> Answer:
    """Order a model that was brought to be kept as a version of its own."""
    members = (Member(recipe=fact.recipe),)
    version = Version(
        model=spec.name,
        number=state.next_version,
        members=members,
        verdict=_not_judged(spec),
        study="",
        parent=0 if state.reign is None else state.reign.version.number,
        created_at=fact.now,
    )
    revision = Revision(
        model=spec.name,
        version=version.number,
        number=1,
        artifacts=(fact.artifact,),
        # What it learned from is not known: nothing of what we have counts as unseen.
        fitted_as_of=state.last_seq,
        rows=0,
        first_seq=0,
        last_seq=0,
        schema_digest=fact.schema_digest,
        libraries=dict(fact.libraries),
        created_at=fact.now,
        standing=weights.begun(members, state.labelled, is_single=False),
    )
    order = Shelve(
        id=next_id(state), version=version, revision=revision, who=fact.who, reason=fact.reason
    )
    return launch(state, order)


def shelved(state: CareState, order: Shelve) -> Answer:
    """Take in that the registry has it, and tell of it."""
    state = replace(landed(state, order), versions=max(state.versions, order.version.number))
    return state, (shelving(order),)


def _not_judged(spec: ModelSpec) -> Verdict:
    return Verdict(
        ruling=Ruling.REFUSED,
        metric=spec.metric,
        rival="champion",
        challenger_score=0.0,
        rival_score=0.0,
        gain=0.0,
        lower=0.0,
        upper=0.0,
        confidence=spec.gate.confidence,
        blocks=0,
        rows=0,
        first_seq=0,
        last_seq=0,
        reasons=(_NOT_JUDGED,),
    )
