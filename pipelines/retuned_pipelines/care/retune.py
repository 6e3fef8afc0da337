"""When to search: refreshing no longer recovers the loss, growth, the schedule, an operator."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from retuned_pipelines import upkeep
from retuned_pipelines.care.orders import Study
from retuned_pipelines.care.refresh import JUDGED_MEMBERS, refresh
from retuned_pipelines.care.state import Choice
from retuned_pipelines.care.step import (
    Answer,
    decide,
    decide_nothing,
    is_imported,
    launch,
    recipes,
)
from retuned_pipelines.drift.report import Aspect
from retuned_pipelines.models.families import default_recipe, effort

if TYPE_CHECKING:
    from collections.abc import Sequence

    from retuned_pipelines.care.orders import Measure
    from retuned_pipelines.care.state import CareState
    from retuned_pipelines.drift.report import DriftReport
    from retuned_pipelines.recipe import Recipe
    from retuned_pipelines.spec import ModelSpec

GROWTH = 4
"""A search is repeated when there are this many times the labelled rows of the last one."""

AMORTISED = 2.0
"""And when fits since then have cost this many times what it will cost. Renting until one has
paid the price of buying is at most twice as dear as knowing the future (Karlin et al. 1988)."""

FINDS = 4
"""Finds of earlier studies that the next one tries."""

STUDY_FITS_SHARE = 0.75
"""Mean share of a study's rows that a trial learns from on a fold."""


def respond(spec: ModelSpec, state: CareState, order: Measure, report: DriftReport) -> Answer:
    """Decide what a check asks for."""
    if state.is_paused:
        return decide_nothing(state, "Paused: whatever the check found, nothing is begun.")
    worse = report.alarms(Aspect.PERFORMANCE)
    if worse:
        found = worse[0]
        reason = (
            f"The champion's loss ({found.subject}) rose by {found.effect:.1%} "
            f"(p = {found.p_value:.2g}) on {found.current_rows} newly labelled rows."
        )
        return _worse(spec, state, order, reason)
    state = replace(state, is_worse=False)
    drifted = report.alarms(Aspect.INPUT)
    if drifted:
        names = ", ".join(m.subject for m in drifted[:3])
        more = f" and {len(drifted) - 3} more" if len(drifted) > 3 else ""  # noqa: PLR2004 (as shown)
        return decide_nothing(
            state,
            f"Inputs drifted ({names}{more}), but the champion's loss did not rise: "
            "no reason to search.",
            saved=study_effort(spec, state),
        )
    return decide_nothing(state, "No drift.")


def _worse(spec: ModelSpec, state: CareState, order: Measure, reason: str) -> Answer:
    """The loss rose: refresh first, and search where that did not recover it."""
    is_fixed = state.reign is not None and is_imported(state.reign)
    tried = "It was imported and is not refitted." if is_fixed else "Refitting did not recover it."
    if not state.is_worse:
        state = replace(state, is_worse=True, changed_seq=order.since_seq)
        saved = study_effort(spec, state)
        if state.reign is None or state.is_taking_over:
            return decide_nothing(state, reason, "A refit is under way already.", saved=saved)
        if state.labelled <= state.reign.labelled:
            why = "It knows all labels already; no study before the next check."
            return decide_nothing(state, reason, why, saved=saved)
        if is_fixed:
            why = f"{tried} A study follows if the next check finds it worse as well."
            return decide_nothing(state, reason, why, saved=saved)
        return refresh(
            spec, state, state.reign, f"{reason} Refit before searching.", is_forced=True
        )
    fresh = state.labelled - state.studied_labelled
    wait = max(spec.search.cooldown_rows, state.studied_labelled)
    if fresh < wait:
        return decide_nothing(
            state,
            f"{reason} {tried}",
            f"No new study yet: {fresh} labels came since the last one, it waits for {wait}.",
            saved=study_effort(spec, state),
        )
    return retune(spec, state, f"{reason} {tried}")


def first(spec: ModelSpec, state: CareState) -> Answer:
    """Decide on a study right after the first champion."""
    if state.is_paused:
        return decide_nothing(state, "Paused: no first study.", saved=study_effort(spec, state))
    if upkeep.is_dear(state.labelled):
        return decide_nothing(
            state,
            f"No first study yet: {state.labelled} labelled rows make it dear. It follows when "
            f"fits have cost {AMORTISED:g} times as much.",
            saved=study_effort(spec, state),
        )
    return retune(spec, state, "First study, now that the default recipe serves.")


def grow(spec: ModelSpec, state: CareState) -> Answer:
    """Search again once there is several times more to learn from, and it can be afforded."""
    has_grown = state.labelled >= state.studied_labelled * GROWTH
    if state.is_searching or not has_grown:
        return state, ()
    cost = study_effort(spec, state)
    is_fixed = state.reign is not None and is_imported(state.reign)
    if state.spent < AMORTISED * cost and not is_fixed:
        return state, ()
    before = f"the last study began with {state.studied_labelled}" if state.studies else "none yet"
    spent = (
        "the champion was imported and learns nothing from them"
        if is_fixed
        else f"fits since then have cost {state.spent / cost:.1f} times what a study costs"
    )
    reason = f"{state.labelled} labelled rows are known ({before}), and {spent}."
    return retune(spec, state, reason)


def retune(spec: ModelSpec, state: CareState, reason: str) -> Answer:
    """Order a study, where none is under way."""
    reign = state.reign
    if reign is None or state.is_searching:
        return decide_nothing(state, reason, "A study is already under way.")
    state, told = decide(
        state,
        Choice.RETUNE,
        reason,
        expected_cpu_s=state.study_cpu_s,
        effort=study_effort(spec, state),
    )
    study = Study(
        id=f"s{state.studies + 1}",
        as_of=state.last_seq,
        champion=recipes(reign)[:JUDGED_MEMBERS],
        changed_seq=state.changed_seq,
        finds=state.finds,
    )
    state = replace(
        state,
        studies=state.studies + 1,
        studied_labelled=max(1, state.labelled),
        spent=0.0,
    )
    state, orders = launch(state, study)
    return state, told + orders


def remembered(state: CareState, finds: Sequence[Recipe]) -> CareState:
    """Remember what a study found, the best first; the oldest finds are forgotten."""
    return replace(state, finds=tuple(dict.fromkeys((*finds, *state.finds)))[:FINDS])


def study_effort(spec: ModelSpec, state: CareState) -> float:
    """What a study would cost by the cost model, if every trial were as dear as the default."""
    rows = min(spec.search.max_rows, state.labelled)
    each = effort(default_recipe(spec.task), rows, state.classes)
    return spec.search.trials * spec.search.folds * STUDY_FITS_SHARE * each
