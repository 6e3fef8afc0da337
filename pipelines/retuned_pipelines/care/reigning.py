"""From a verdict to a reign: the version that won, and what begins when it serves."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from retuned_pipelines import ensemble
from retuned_pipelines.care import probation, retune
from retuned_pipelines.care.orders import Publish, announcement
from retuned_pipelines.care.state import Reign
from retuned_pipelines.care.step import Answer, is_imported, landed, members
from retuned_pipelines.evaluate.metrics import is_squared
from retuned_pipelines.version import Member, Version

if TYPE_CHECKING:
    from retuned_pipelines.care.facts import Published
    from retuned_pipelines.care.orders import Judge
    from retuned_pipelines.care.state import CareState
    from retuned_pipelines.evaluate.verdict import Verdict
    from retuned_pipelines.spec import ModelSpec


def winner(
    spec: ModelSpec, state: CareState, order: Judge, verdict: Verdict, now: float
) -> Version:
    """The version of a challenger that has won, or of the first champion."""
    return Version(
        model=spec.name,
        number=state.next_version,
        members=_members(spec, state, order, verdict),
        verdict=verdict,
        study=order.study,
        parent=0 if state.reign is None else state.reign.version.number,
        created_at=now,
    )


def crowned(spec: ModelSpec, state: CareState, fact: Published) -> Answer:
    """Begin a reign, or go on with it, now that the registry has a new champion or revision."""
    order = state.in_flight(fact.order, Publish)
    if order is None and fact.order:
        return state, ()
    state = replace(
        state,
        versions=max(state.versions, fact.version.number, fact.versions),
        studies=max(state.studies, fact.studies),
    )
    if order is None and _is_known(state, fact):
        return state, ()
    is_first = state.reign is None
    reign = Reign(
        version=fact.version,
        revision=fact.revision,
        labelled=0 if order is None else order.labelled,
        judged=_judged_before(state.reign, fact.version.number),
        probation=None if order is None else probation.entered(spec, state, order),
    )
    state = replace(state, reign=reign)
    if is_first:
        state = replace(
            state,
            checked_rows=state.rows,
            checked_seq=fact.revision.fitted_as_of,
            ticked_at=fact.now,
        )
    if order is None or (is_first and order.recall is not None):
        # Found in the registry; how many labels its last study had is not known.
        known = max(state.studied_labelled, state.labelled, spec.watch.min_rows)
        state = replace(state, studied_labelled=known)
    if order is None:
        return state, ()
    state, told = landed(state, order), (announcement(order),)
    if state.studies or fact.version.parent or fact.revision.number > 1:
        return state, told
    state, orders = retune.first(spec, state)
    return state, (*told, *orders)


def _is_known(state: CareState, fact: Published) -> bool:
    """Whether what was found in the registry reigns, or an order in flight has put it there.

    A daemon that was killed in between carries that order out again, and learns then of what
    belongs to it: who stays in shadow, and why it took over.
    """
    known = [work.revision.name for work in state.flight if isinstance(work, Publish)]
    if state.reign is not None:
        known.append(state.reign.revision.name)
    return fact.revision.name in known


def _judged_before(reign: Reign | None, version: int) -> int:
    """Challengers that a reign has seen; a new version begins a new one, a recalled one goes on."""
    if reign is None:
        return 0
    if reign.version.number == version:
        return reign.judged
    shadow = None if reign.probation is None else reign.probation.shadow
    return shadow.judged if shadow is not None and shadow.version.number == version else 0


def _members(
    spec: ModelSpec, state: CareState, order: Judge, verdict: Verdict
) -> tuple[Member, ...]:
    """The members of the version that won, or of the first one."""
    most = spec.serve.max_members
    if state.reign is not None:
        # What was imported cannot be refitted with the others: it was met alone, and goes.
        others = () if is_imported(state.reign) else members(state.reign)
        return ensemble.joined(others, order.challenger, most)
    return ensemble.founded(
        spec.task,
        state.labelled,
        most,
        classes=state.classes,
        squares=is_squared(spec.metric),
        is_constant_better=not verdict.is_promoted,
    )
