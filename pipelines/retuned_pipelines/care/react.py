"""The rules: from a state and a fact to a new state and orders.

In short. The first champion is the default recipe, as soon as it beats a constant.
New labels refit the champion's recipes (cheap). A search is begun by a significant rise
of the champion's loss, by the schedule, by an operator, after the first champion, and
when there is several times more to learn from than the last search had. Input drift
alone never begins a search: it hardly predicts loss of performance. What a search finds
meets the champion at the gate, and takes over only on evidence.
"""

from __future__ import annotations

from dataclasses import replace
from functools import singledispatch
from typing import TYPE_CHECKING

from retuned_pipelines import upkeep
from retuned_pipelines.care import probation, reigning, retune, revise, shelf
from retuned_pipelines.care.abandon import abandon
from retuned_pipelines.care.check import check, seen
from retuned_pipelines.care.facts import (
    Abandoned,
    Arrived,
    Brought,
    Called,
    Fact,
    Fitted,
    Judged,
    Measured,
    Published,
    Shelved,
    Studied,
    Ticked,
)
from retuned_pipelines.care.founding import found, is_evidence
from retuned_pipelines.care.orders import (
    Judge,
    Measure,
    Notify,
    Publish,
    Refit,
    Shelve,
    Study,
)
from retuned_pipelines.care.recall import recall
from retuned_pipelines.care.refresh import refit, take_over
from retuned_pipelines.care.state import CareState, Challenger, Reign
from retuned_pipelines.care.step import (
    Answer,
    decide_nothing,
    landed,
    launch,
    next_id,
    recipes,
)
from retuned_pipelines.spec import ModelSpec

if TYPE_CHECKING:
    from retuned_pipelines.evaluate.verdict import Verdict


def react(spec: ModelSpec, state: CareState, fact: Fact) -> Answer:
    """Decide what a fact changes and what is to be done about it.

    Args:
        spec: the model's task and policies.
        state: what is remembered.
        fact: what happened. A result whose order is not in flight changes nothing, so
            that results may be reported twice.

    Returns:
        The new state, and orders in the sequence in which they are to be carried out.
        Every order but Notify is in flight in the new state until its result is reported.
    """
    state, orders = _learn(fact, spec, state)
    state, more = _look(spec, state)
    return state, orders + more


@singledispatch
def _learn(fact: object, spec: ModelSpec, state: CareState) -> Answer:
    """Take in one kind of fact."""
    message = f"{fact!r} is no fact that the care of {spec.name} knows ({state!r})"
    raise TypeError(message)


@_learn.register
def _arrived(fact: Arrived, _spec: ModelSpec, state: CareState) -> Answer:
    return _counted(state, fact), ()


@_learn.register
def _ticked(fact: Ticked, spec: ModelSpec, state: CareState) -> Answer:
    if state.reign is None:
        return state, ()
    state = replace(state, ticked_at=fact.now)
    if state.is_paused:
        return state, ()
    new = state.labelled - state.studied_labelled
    if new <= 0:
        why = "The schedule came due, but no label came since the last study."
        return decide_nothing(state, why)
    reason = f"The schedule came due; {new} labels came since the last study."
    return retune.retune(spec, state, reason)


@_learn.register
def _called(fact: Called, spec: ModelSpec, state: CareState) -> Answer:
    wish: dict[str, object] = {"action": fact.action, "who": fact.who, "reason": fact.reason}
    if fact.version is not None:
        wish["version"] = fact.version.number
    said = Notify(event="operator", body=wish)
    if fact.action in {"promote", "rollback"}:
        state, orders = recall(state, fact)
        return state, (said, *orders)
    if fact.action != "retune":
        return replace(state, is_paused=fact.action == "pause"), (said,)
    if state.reign is None:
        state, orders = decide_nothing(
            state, "An operator asked for a study, but there is no champion to improve on yet."
        )
    else:
        reason = f"{fact.who} asked: {fact.reason or 'no reason given'}."
        state, orders = retune.retune(spec, state, reason)
    return state, (said, *orders)


@_learn.register
def _measured(fact: Measured, spec: ModelSpec, state: CareState) -> Answer:
    order = state.in_flight(fact.order, Measure)
    if order is None:
        return state, ()
    state = landed(state, order)
    state, orders = retune.respond(spec, state, order, fact.report)
    return state, (seen(order, fact.report), *orders)


@_learn.register
def _studied(fact: Studied, _spec: ModelSpec, state: CareState) -> Answer:
    order = state.in_flight(fact.order, Study)
    if order is None:
        return state, ()
    state = replace(landed(state, order), study_cpu_s=fact.cost.cpu_s)
    told = Notify(
        event="study",
        body={
            "id": order.id,
            "trials": fact.trials,
            "stopped": fact.stopped,
            "best": None if fact.best is None else fact.best.to_json(),
            "cpu_s": round(fact.cost.cpu_s, 3),
        },
    )
    if fact.best is None:
        return state, (told,)
    state = retune.remembered(state, fact.finds or (fact.best,))
    if state.reign is not None and fact.best in recipes(state.reign):
        state, orders = decide_nothing(
            state, f"Study {order.id} found nothing better than the champion's own recipe."
        )
        return state, (told, *orders)
    challenger = Challenger(recipe=fact.best, study=order.id, boundary=fact.boundary)
    return replace(state, challenger=challenger), (told,)


@_learn.register
def _judged(fact: Judged, spec: ModelSpec, state: CareState) -> Answer:
    order = state.in_flight(fact.order, Judge)
    if order is None:
        return state, ()
    state = landed(state, order)
    if state.reign is None:
        state = replace(state, classes=fact.classes)
    else:
        state = replace(state, reign=_spent(spec, state.reign, fact.verdict))
    told = Notify(
        event="verdict",
        body={
            "study": order.study,
            "challenger": order.challenger.to_json(),
            "rival": order.rival.to_json(),
            "verdict": fact.verdict.to_json(),
            "cpu_s": round(fact.cost.cpu_s, 3),
        },
    )
    is_first = state.reign is None and is_evidence(spec, fact.verdict)
    if not (fact.verdict.is_promoted or is_first):
        return state, (told,)
    version = reigning.winner(spec, state, order, fact.verdict, fact.now)
    state, orders = refit(spec, state, version)
    return state, (told, *orders)


@_learn.register
def _fitted(fact: Fitted, spec: ModelSpec, state: CareState) -> Answer:
    order = state.in_flight(fact.order, Refit)
    if order is None:
        return state, ()
    revision, shadow = revise.revised(spec, order, fact), revise.shadowed(spec, order, fact)
    # Fits for the shadow are none that a search would replace.
    effort = upkeep.cost(order.version.members, order.members, order.labelled, state.classes)
    state = replace(landed(state, order), spent=state.spent + effort)
    if order.members:
        state = replace(state, refit_cpu_s=fact.cost.cpu_s)
    state, told = probation.after(spec, state, order, fact.beside, shadow)
    if state.is_taking_over:
        return state, told
    reign = state.reign
    publish = Publish(
        id=next_id(state),
        version=order.version,
        revision=revision,
        expected="" if reign is None else reign.revision.name,
        labelled=order.labelled,
        shadow=shadow if probation.is_kept(state, order.version) else None,
    )
    state, orders = launch(state, publish)
    return state, told + orders


@_learn.register
def _abandoned(fact: Abandoned, _spec: ModelSpec, state: CareState) -> Answer:
    return abandon(state, fact)


@_learn.register
def _published(fact: Published, spec: ModelSpec, state: CareState) -> Answer:
    return reigning.crowned(spec, state, fact)


@_learn.register
def _brought(fact: Brought, spec: ModelSpec, state: CareState) -> Answer:
    return shelf.shelve(spec, state, fact)


@_learn.register
def _shelved(fact: Shelved, _spec: ModelSpec, state: CareState) -> Answer:
    order = state.in_flight(fact.order, Shelve)
    return (state, ()) if order is None else shelf.shelved(state, order)


def _spent(spec: ModelSpec, reign: Reign, verdict: Verdict) -> Reign:
    """Count a challenger, if its losses were looked at: a chance for luck to decide."""
    return replace(reign, judged=reign.judged + 1) if is_evidence(spec, verdict) else reign


def _look(spec: ModelSpec, state: CareState) -> Answer:
    """Begin what is due, whatever the fact was."""
    if state.is_paused:
        return state, ()
    reign = state.reign
    if reign is None:
        return found(spec, state)
    state, orders = take_over(spec, state, reign)
    state, checks = check(spec, state, reign)
    state, studies = retune.grow(spec, state)
    return state, orders + checks + studies


def _counted(state: CareState, fact: Arrived) -> CareState:
    return replace(
        state,
        last_seq=max(state.last_seq, fact.last_seq),
        rows=max(state.rows, fact.rows),
        labelled=max(state.labelled, fact.labelled),
    )
