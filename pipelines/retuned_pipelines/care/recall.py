"""An operator's word: a version that is known takes over, without the gate."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from retuned_pipelines.care.orders import Judge, Publish, Recall, Refit
from retuned_pipelines.care.step import Answer, decide_nothing, landed, launch, next_id

if TYPE_CHECKING:
    from retuned_pipelines.care.facts import Called
    from retuned_pipelines.care.state import CareState, Reign


def recall(state: CareState, fact: Called) -> Answer:
    """Order a version to take over; what else was about to is let go.

    A pause does not keep an operator from it. Its newest revision serves as it is; new labels
    refit it as any champion. Nobody stays in shadow: what an operator says is not undone.
    """
    version, revision, reign = fact.version, fact.revision, state.reign
    if version is None or revision is None:
        return decide_nothing(state, "There is no such version whose artifacts are kept.")
    if reign is not None and reign.revision.name == revision.name:
        return decide_nothing(state, f"{revision.name} is the champion already.")
    if revision.number < _newest(reign, version.number):
        return decide_nothing(
            state, f"{revision.name} is not the newest revision any more: ask again."
        )
    if any(isinstance(work, Publish) for work in state.flight):
        return decide_nothing(
            state, "Another takeover is under way and cannot be stopped any more: ask again soon."
        )
    for work in state.flight:
        if isinstance(work, Judge | Refit):
            state = landed(state, work)
    publish = Publish(
        id=next_id(state),
        version=version,
        revision=revision,
        expected="" if reign is None else reign.revision.name,
        labelled=max(revision.standing.fitted, default=0),
        recall=Recall(
            who=fact.who, reason=fact.reason, is_rollback=fact.action == "rollback", at=fact.now
        ),
    )
    return launch(replace(state, challenger=None), publish)


def _newest(reign: Reign | None, version: int) -> int:
    """Number of a version's newest revision, as far as the care knows; 0 where it does not.

    Whoever asks has looked it up before: a refit may have come back since. Numbers within a version
    are never used twice, so that an older one could not be refitted.
    """
    if reign is None:
        return 0
    known = [reign.revision]
    if reign.probation is not None:
        known.append(reign.probation.shadow.revision)
    return max((one.number for one in known if one.version == version), default=0)
