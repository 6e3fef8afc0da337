"""New labels: fit what is worth it, let the weights follow; or meet a challenger at the gate."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from retuned_pipelines import upkeep
from retuned_pipelines.care import probation
from retuned_pipelines.care.orders import Judge, Refit
from retuned_pipelines.care.state import Choice
from retuned_pipelines.care.step import (
    Answer,
    decide,
    decide_nothing,
    is_imported,
    launch,
    members,
    next_id,
)
from retuned_pipelines.models.families import default_recipe

if TYPE_CHECKING:
    from retuned_pipelines.care.state import CareState, Reign
    from retuned_pipelines.spec import ModelSpec
    from retuned_pipelines.version import Version

JUDGED_MEMBERS = 3
"""Members of the champion that meet a challenger at the gate: those of the largest weights."""


def take_over(spec: ModelSpec, state: CareState, reign: Reign) -> Answer:
    """Let a waiting challenger meet the champion, or refit the champion on new labels."""
    if state.is_taking_over:
        return state, ()
    if state.challenger is not None:
        return _meet(spec, state, reign)
    new = state.labelled - reign.labelled
    if new < max(1.0, spec.watch.refresh_share * state.labelled):
        return state, ()
    share = f" ({new / reign.labelled:.0%} of what it knew)" if reign.labelled else ""
    reason = f"{new} labels came since {reign.revision.name} was made{share}."
    return refresh(spec, state, reign, reason)


def refresh(
    spec: ModelSpec, state: CareState, reign: Reign, reason: str, *, is_forced: bool = False
) -> Answer:
    """Fit the members that are worth it, or all, and let the weights follow the losses."""
    if is_imported(reign):
        state = replace(state, reign=replace(reign, labelled=state.labelled))
        return decide_nothing(state, reason, "It was imported, and stays as it is.")
    standing, everybody = reign.revision.standing, reign.version.members
    live = tuple(n for n, is_gone in enumerate(standing.retired) if not is_gone)
    worth = upkeep.due(everybody, standing, state.labelled, spec.watch.refresh_share)
    due = live if is_forced else worth
    rest = [n for n in live if n not in due]
    saved = upkeep.cost(everybody, rest, state.labelled, state.classes)
    if due:
        effort = upkeep.cost(everybody, due, state.labelled, state.classes)
        some = f" {len(due)} of {len(live)} members are worth a new fit." if rest else ""
        state, told = decide(
            state,
            Choice.REFRESH,
            reason + some,
            expected_cpu_s=state.refit_cpu_s,
            effort=effort,
            saved=saved,
        )
    else:
        why = "No gain: the last fits cut the loss by next to nothing, none is due; weights follow."
        state, told = decide_nothing(state, reason, why, saved=saved)
    state, orders = refit(spec, state, reign.version, due)
    return state, told + orders


def refit(
    spec: ModelSpec, state: CareState, version: Version, positions: tuple[int, ...] | None = None
) -> Answer:
    """Order a version's members to be fitted; all of them where none are named."""
    reign = state.reign
    is_serving = reign is not None and reign.version.number == version.number
    serving = reign.revision if reign is not None and is_serving else None
    shadow = probation.beside(spec, reign, version)
    order = Refit(
        id=next_id(state),
        as_of=state.last_seq,
        version=version,
        labelled=state.labelled,
        members=tuple(range(len(version.members))) if positions is None else positions,
        serving=serving,
        changed_seq=state.changed_seq,
        wants_elder=upkeep.is_dear(state.labelled),
        shadow=shadow,
        compared=probation.compared_until(reign),
    )
    if shadow is not None:
        members = probation.alone(spec, state, shadow, version, order.standing)
        order = replace(order, shadow_members=members)
    return launch(state, order)


def _meet(spec: ModelSpec, state: CareState, reign: Reign) -> Answer:
    """Let the waiting challenger meet the champion at the gate."""
    challenger = state.challenger
    if challenger is None:
        return state, ()
    default = default_recipe(spec.task, challenger.recipe.family)
    (rival, *_) = members(reign)
    judge = Judge(
        id=next_id(state),
        as_of=state.last_seq,
        challenger=challenger.recipe,
        rival=rival.recipe,
        rival_name="champion",
        study=challenger.study,
        boundary=challenger.boundary,
        champion=() if spec.serve.max_members == 1 else members(reign)[:JUDGED_MEMBERS],
        rows=spec.search.max_rows,
        changed_seq=state.changed_seq,
        number=reign.judged + 1,
        default=None if challenger.recipe == default else default,
        rival_artifact=reign.revision.artifacts[0] if is_imported(reign) else "",
    )
    return launch(replace(state, challenger=None), judge)
