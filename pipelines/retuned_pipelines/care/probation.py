"""After a promotion: the champion before stays in shadow, and comes back if it was better.

It is refitted likewise. What a study finds joins members that were there before, so nearly all
fits are those of the champion, and nearly all answers too; only who had to leave is fitted for the
shadow alone. Both are compared on every label that neither had learned from, by a test that may
be looked at at any time (`evaluate.sequential`).
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import numpy as np

from retuned_pipelines import upkeep
from retuned_pipelines.care.orders import Notify, Publish, Recall
from retuned_pipelines.care.state import OnProbation
from retuned_pipelines.care.step import Answer, decide_nothing, launch, next_id
from retuned_pipelines.evaluate.sequential import begun, finding, update
from retuned_pipelines.version import Shadow

if TYPE_CHECKING:
    from retuned_pipelines.care.orders import Refit
    from retuned_pipelines.care.state import CareState, Reign
    from retuned_pipelines.evaluate.sequential import Finding
    from retuned_pipelines.spec import ModelSpec
    from retuned_pipelines.version import Beside, Standing, Version

ALONE = 4.0
"""How much longer than usual members wait that are fitted for the shadow alone. They had to leave
because they carried the least weight, and a fit that is a little old makes the shadow no better."""

WHO = "retuned"
"""Who rolls back where no operator does."""


def beside(spec: ModelSpec, reign: Reign | None, version: Version) -> Shadow | None:
    """Who is to be refitted beside a version: the champion that it replaces, or replaced."""
    if reign is None:
        return None
    if reign.version.number == version.number:
        return None if reign.probation is None else reign.probation.shadow
    verdict = version.verdict
    if spec.gate.probation_rows == 0 or verdict.pace is None or verdict.metric != spec.metric:
        return None
    return Shadow(version=reign.version, revision=reign.revision, judged=reign.judged)


def compared_until(reign: Reign | None) -> int:
    """Newest sequence number of labels on which a champion on probation was compared."""
    return 0 if reign is None or reign.probation is None else reign.probation.compared


def shared(shadow: Shadow, version: Version, standing: Standing | None) -> dict[int, int]:
    """Which of the shadow's members are fitted for the champion anyway.

    Args:
        shadow: the one before.
        version: the champion's.
        standing: how its members stand; None where all are fitted for the first time.

    Returns:
        The champion's position for each of those positions of the shadow's.
    """
    gone = (False,) * len(version.members) if standing is None else standing.retired
    places = {
        member.recipe: position
        for position, member in enumerate(version.members)
        if not gone[position]
    }
    return {
        position: places[member.recipe]
        for position, member in enumerate(shadow.version.members)
        if member.recipe in places
    }


def alone(
    spec: ModelSpec, state: CareState, shadow: Shadow, version: Version, standing: Standing | None
) -> tuple[int, ...]:
    """Positions of the shadow's members to be fitted for it alone, now that others are fitted."""
    others = shared(shadow, version, standing)
    due = upkeep.due(
        shadow.version.members,
        shadow.revision.standing,
        state.labelled,
        ALONE * spec.watch.refresh_share,
    )
    return tuple(
        position
        for position in due
        if position not in others and not shadow.version.members[position].recipe.is_foreign
    )


def entered(spec: ModelSpec, state: CareState, order: Publish) -> OnProbation | None:
    """The probation of a champion that has just taken over, or has just been refitted."""
    reign, shadow = state.reign, order.shadow
    if shadow is None or reign is None:
        return None
    if reign.version.number == order.version.number:
        return None if reign.probation is None else replace(reign.probation, shadow=shadow)
    pace = order.version.verdict.pace
    if pace is None:
        return None
    return OnProbation(
        shadow=shadow,
        pairs=begun(pace, 1 - spec.gate.confidence),
        compared=order.revision.fitted_as_of,
    )


def after(
    spec: ModelSpec, state: CareState, order: Refit, beside: Beside | None, shadow: Shadow | None
) -> Answer:
    """Take in how both did on new labels; call the predecessor back, or let it go at last.

    Args:
        spec: the gate's policy.
        state: before that.
        order: the refit that has just come back.
        beside: how both did; None where they were not compared.
        shadow: the predecessor, as the order refitted it; None for none.

    Returns:
        The new state, with a takeover in flight where the predecessor comes back.
    """
    reign = state.reign
    if reign is None or reign.probation is None or reign.version.number != order.version.number:
        return state, ()
    void = _void(spec, reign)
    if void:
        return decide_nothing(_without(state, reign), void)
    reign = _compared(reign, reign.probation, beside)
    state = replace(state, reign=reign)
    if reign.probation is None or shadow is None:
        return state, ()
    found = finding(reign.probation.pairs)
    if found.is_worse:
        return _back(state, reign, order, shadow, found)
    if found.rows >= spec.gate.probation_rows:
        return _without(state, reign), (_confirmed(reign, shadow, found),)
    return state, ()


def is_kept(state: CareState, version: Version) -> bool:
    """Whether the shadow of a refit of that version is kept any longer."""
    reign = state.reign
    if reign is None:
        return False
    return reign.version.number != version.number or reign.probation is not None


def _void(spec: ModelSpec, reign: Reign) -> str:
    """Why a probation ends without a finding, now that the model file says something else."""
    ends = f"The probation of version {reign.version.number} ends without a finding"
    if spec.gate.probation_rows == 0:
        return f"{ends}: GATE__PROBATION_ROWS is 0 now."
    begun_by = reign.version.verdict.metric
    if begun_by != spec.metric:
        # Clip and length of blocks were told from losses in another unit, and so are the bets.
        return f"{ends}: it was begun by the losses of {begun_by}, and METRIC is {spec.metric} now."
    return ""


def _compared(reign: Reign, probation: OnProbation, beside: Beside | None) -> Reign:
    if beside is None or beside.until <= probation.compared:
        return reign
    pairs = update(probation.pairs, np.array(beside.differences))
    return replace(reign, probation=replace(probation, pairs=pairs, compared=beside.until))


def _without(state: CareState, reign: Reign) -> CareState:
    return replace(state, reign=replace(reign, probation=None))


def _back(state: CareState, reign: Reign, order: Refit, shadow: Shadow, found: Finding) -> Answer:
    reason = (
        f"Version {reign.version.number} is worse than {shadow.version.number} was: its loss is "
        f"larger by {found.mean:.4g} on {found.rows} rows that neither had learned from "
        f"(e-value {found.highest:.3g}; by chance in at most {found.level:.0%} of reigns)."
    )
    publish = Publish(
        id=next_id(state),
        version=shadow.version,
        revision=shadow.revision,
        expected=reign.revision.name,
        labelled=order.labelled,
        recall=Recall(who=WHO, reason=reason, is_rollback=True, evidence=asdict(found)),
    )
    return launch(state, publish)


def _confirmed(reign: Reign, shadow: Shadow, found: Finding) -> Notify:
    body = {
        "version": reign.version.number,
        "predecessor": shadow.version.number,
        "rows": found.rows,
        "difference": found.mean,
        "e_value": found.e_value,
    }
    return Notify(event="confirmed", body=body)
