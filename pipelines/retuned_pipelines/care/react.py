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

from retuned_pipelines import ensemble
from retuned_pipelines.care.facts import (
    Abandoned,
    Arrived,
    Called,
    Fact,
    Fitted,
    Judged,
    Measured,
    Published,
    Studied,
    Ticked,
)
from retuned_pipelines.care.orders import (
    BEGINNING,
    Judge,
    Measure,
    Notify,
    Order,
    Publish,
    Refit,
    Study,
    Work,
    announcement,
)
from retuned_pipelines.care.state import CareState, Challenger, Choice, Decision, Reign
from retuned_pipelines.drift.report import Aspect
from retuned_pipelines.models.families import default_recipe
from retuned_pipelines.recipe import Recipe
from retuned_pipelines.spec import ModelSpec
from retuned_pipelines.version import Member, Revision, Standing, Version

if TYPE_CHECKING:
    from retuned_pipelines.drift.report import DriftReport
    from retuned_pipelines.evaluate.verdict import Verdict

Answer = tuple[CareState, tuple[Order, ...]]

GROWTH = 4
"""A search is repeated when there are this many times the labelled rows of the last one."""

FOUNDING_GROWTH = 1.5
"""A refused first champion is attempted again with this many times the labelled rows."""

STALE = 5
"""Of an ensemble's shortest window, this many times the refresh share may be new at the most."""

CONSTANT = Recipe(family="constant")


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
def _ticked(fact: Ticked, _spec: ModelSpec, state: CareState) -> Answer:
    if state.reign is None:
        return state, ()
    state = replace(state, ticked_at=fact.now)
    if state.is_paused:
        return state, ()
    new = state.labelled - state.studied_labelled
    if new <= 0:
        why = "The schedule came due, but no label came since the last study."
        return _decide_nothing(state, why)
    return _retune(state, f"The schedule came due; {new} labels came since the last study.")


@_learn.register
def _called(fact: Called, _spec: ModelSpec, state: CareState) -> Answer:
    said = Notify(
        event="operator",
        body={"action": fact.action, "who": fact.who, "reason": fact.reason},
    )
    if fact.action != "retune":
        return replace(state, is_paused=fact.action == "pause"), (said,)
    if state.reign is None:
        state, orders = _decide_nothing(
            state, "An operator asked for a study, but there is no champion to improve on yet."
        )
    else:
        state, orders = _retune(state, f"{fact.who} asked: {fact.reason or 'no reason given'}.")
    return state, (said, *orders)


@_learn.register
def _measured(fact: Measured, spec: ModelSpec, state: CareState) -> Answer:
    order = state.in_flight(fact.order, Measure)
    if order is None:
        return state, ()
    state = _landed(state, order)
    report = fact.report
    seen = Notify(event="drift", body={"id": order.id, **_summary(report)})
    state, orders = _respond(spec, state, report)
    return state, (seen, *orders)


@_learn.register
def _studied(fact: Studied, _spec: ModelSpec, state: CareState) -> Answer:
    order = state.in_flight(fact.order, Study)
    if order is None:
        return state, ()
    state = replace(_landed(state, order), study_cpu_s=fact.cost.cpu_s)
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
    if state.reign is not None and fact.best in _recipes(state.reign):
        state, orders = _decide_nothing(
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
    state = _landed(state, order)
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
    if not fact.verdict.is_promoted:
        return state, (told,)
    version = _new_version(spec, state, order, fact.verdict, fact.now)
    state, orders = _refit(state, version)
    return state, (told, *orders)


@_learn.register
def _fitted(fact: Fitted, _spec: ModelSpec, state: CareState) -> Answer:
    order = state.in_flight(fact.order, Refit)
    if order is None:
        return state, ()
    reign = state.reign
    is_new = reign is None or reign.version.number != order.version.number
    revision = Revision(
        model=order.version.model,
        version=order.version.number,
        number=1 if is_new or reign is None else reign.revision.number + 1,
        artifacts=fact.artifacts,
        fitted_as_of=order.as_of,
        rows=fact.rows,
        first_seq=fact.first_seq,
        last_seq=fact.last_seq,
        schema_digest=fact.schema_digest,
        libraries=dict(fact.libraries),
        created_at=fact.now,
        standing=fact.standing,
    )
    state = replace(_landed(state, order), refit_cpu_s=fact.cost.cpu_s)
    publish = Publish(
        id=_next_id(state),
        version=order.version,
        revision=revision,
        expected="" if reign is None else reign.revision.name,
        labelled=order.labelled,
    )
    return _launch(state, publish)


@_learn.register
def _abandoned(fact: Abandoned, _spec: ModelSpec, state: CareState) -> Answer:
    """Let go of an order; the next reason gives a new one, on the rows of then."""
    order = state.work(fact.order)
    if order is None:
        return state, ()
    told = Notify(
        event="abandoned",
        body={
            "order": order.id,
            "kind": order.kind,
            "error": fact.error,
            "attempts": fact.attempts,
        },
    )
    state = _landed(state, order)
    if isinstance(order, Refit | Publish) and state.reign is not None:
        # As if it had been fitted: not before more labels have come is it tried again.
        state = replace(state, reign=replace(state.reign, labelled=order.labelled))
    return state, (told,)


@_learn.register
def _published(fact: Published, spec: ModelSpec, state: CareState) -> Answer:
    order = state.in_flight(fact.order, Publish)
    if order is None and fact.order:
        return state, ()
    is_first = state.reign is None
    reign = Reign(
        version=fact.version,
        revision=fact.revision,
        labelled=0 if order is None else order.labelled,
    )
    state = replace(state, reign=reign, versions=max(state.versions, fact.version.number))
    if is_first:
        state = replace(
            state,
            checked_rows=state.rows,
            checked_seq=fact.revision.fitted_as_of,
            ticked_at=fact.now,
        )
    if order is None:
        # Found in the registry; how many labels its last study had is not known.
        known = max(state.studied_labelled, state.labelled, spec.watch.min_rows)
        return replace(state, studied_labelled=known), ()
    state, told = _landed(state, order), (announcement(order),)
    if state.studies:
        return state, told
    state, orders = _retune(state, "First study, now that the default recipe serves.")
    return state, (*told, *orders)


def _look(spec: ModelSpec, state: CareState) -> Answer:
    """Begin what is due, whatever the fact was."""
    if state.is_paused:
        return state, ()
    reign = state.reign
    if reign is None:
        return _found(spec, state)
    state, orders = _take_over(spec, state, reign)
    state, checks = _check(spec, state, reign)
    state, studies = _grow(spec, state)
    return state, orders + checks + studies


def _found(spec: ModelSpec, state: CareState) -> Answer:
    """Attempt a first champion, once there are enough labels."""
    needed = max(spec.watch.min_rows, int(FOUNDING_GROWTH * state.founding_labelled))
    if state.is_taking_over or state.labelled < needed:
        return state, ()
    judge = Judge(
        id=_next_id(state),
        as_of=state.last_seq,
        challenger=default_recipe(spec.task),
        rival=CONSTANT,
        rival_name="constant",
        study="",
        boundary=BEGINNING,
    )
    return _launch(replace(state, founding_labelled=state.labelled), judge)


def _take_over(spec: ModelSpec, state: CareState, reign: Reign) -> Answer:
    """Let a waiting challenger meet the champion, or refit the champion on new labels."""
    if state.is_taking_over:
        return state, ()
    if state.challenger is not None:
        judge = Judge(
            id=_next_id(state),
            as_of=state.last_seq,
            challenger=state.challenger.recipe,
            rival=_recipes(reign)[0],
            rival_name="champion",
            study=state.challenger.study,
            boundary=state.challenger.boundary,
            champion=_members(reign),
        )
        return _launch(replace(state, challenger=None), judge)
    new = state.labelled - reign.labelled
    if new < max(1.0, spec.watch.refresh_share * _freshness(reign)):
        return state, ()
    share = f" ({new / reign.labelled:.0%} of what it knew)" if reign.labelled else ""
    reason = f"{new} labels came since {reign.revision.name} was fitted{share}."
    state, told = _decide(state, Choice.REFRESH, state.refit_cpu_s, reason)
    state, orders = _refit(state, reign.version)
    return state, told + orders


def _check(spec: ModelSpec, state: CareState, reign: Reign) -> Answer:
    """Order a check when enough rows have come since the last one."""
    if state.is_measuring or state.rows - state.checked_rows < spec.watch.every_rows:
        return state, ()
    measure = Measure(
        id=f"d{state.orders + 1}",
        as_of=state.last_seq,
        since_seq=state.checked_seq,
        version=reign.version.number,
        learned_until=reign.revision.fitted_as_of,
        learned_rows=reign.revision.rows,
    )
    return _launch(replace(state, checked_rows=state.rows, checked_seq=state.last_seq), measure)


def _grow(_spec: ModelSpec, state: CareState) -> Answer:
    """Search again once there is several times more to learn from."""
    if state.is_searching or not 0 < state.studied_labelled * GROWTH <= state.labelled:
        return state, ()
    return _retune(
        state,
        f"{state.labelled} labelled rows are known; "
        f"the last study began with {state.studied_labelled}.",
    )


def _respond(spec: ModelSpec, state: CareState, report: DriftReport) -> Answer:
    """Decide what a check asks for."""
    worse = report.alarms(Aspect.PERFORMANCE)
    drifted = report.alarms(Aspect.INPUT)
    if worse:
        found = worse[0]
        reason = (
            f"The champion's loss ({found.subject}) rose by {found.effect:.1%} "
            f"(p = {found.p_value:.2g}) on {found.current_rows} newly labelled rows."
        )
        fresh = state.labelled - state.studied_labelled
        if fresh < spec.search.cooldown_rows:
            return _decide_nothing(
                state,
                reason,
                f"No new study yet: {fresh} labels came since the last one, "
                f"the cooldown is {spec.search.cooldown_rows}.",
            )
        return _retune(state, reason)
    if drifted:
        names = ", ".join(m.subject for m in drifted[:3])
        more = f" and {len(drifted) - 3} more" if len(drifted) > 3 else ""  # noqa: PLR2004 (as shown)
        return _decide_nothing(
            state,
            f"Inputs drifted ({names}{more}), but the champion's loss did not rise: "
            "no reason to search.",
        )
    return _decide_nothing(state, "No drift.")


def _retune(state: CareState, reason: str) -> Answer:
    if state.reign is None or state.is_searching:
        return _decide_nothing(state, reason, "A study is already under way.")
    state, told = _decide(state, Choice.RETUNE, state.study_cpu_s, reason)
    study = Study(
        id=f"s{state.studies + 1}",
        as_of=state.last_seq,
        champion=() if state.reign is None else _recipes(state.reign),
    )
    state = replace(state, studies=state.studies + 1, studied_labelled=max(1, state.labelled))
    state, orders = _launch(state, study)
    return state, told + orders


def _refit(state: CareState, version: Version) -> Answer:
    reign = state.reign
    standing, learned_until = None, 0
    if reign is not None and reign.version.number == version.number:
        standing, learned_until = _standing(reign), reign.revision.fitted_as_of
    refit = Refit(
        id=_next_id(state),
        as_of=state.last_seq,
        version=version,
        labelled=state.labelled,
        standing=standing,
        learned_until=learned_until,
    )
    return _launch(state, refit)


def _decide(
    state: CareState, choice: Choice, expected_cpu_s: float | None, *reasons: str
) -> Answer:
    decision = Decision(
        choice=choice, as_of=state.last_seq, reasons=reasons, expected_cpu_s=expected_cpu_s
    )
    body = {
        "decision": choice.value,
        "as_of": decision.as_of,
        "reasons": list(reasons),
        "expected_cpu_s": expected_cpu_s,
    }
    return replace(state, last_decision=decision), (Notify(event="decided", body=body),)


def _decide_nothing(state: CareState, *reasons: str) -> Answer:
    return _decide(state, Choice.NOTHING, 0.0, *reasons)


def _new_version(
    spec: ModelSpec, state: CareState, order: Judge, verdict: Verdict, now: float
) -> Version:
    return Version(
        model=spec.name,
        number=state.versions + 1,
        members=_crowned(spec, state, order),
        verdict=verdict,
        study=order.study,
        parent=0 if state.reign is None else state.reign.version.number,
        created_at=now,
    )


def _crowned(spec: ModelSpec, state: CareState, order: Judge) -> tuple[Member, ...]:
    """The members of the version that won."""
    most = spec.serve.max_members
    if state.reign is None:
        return ensemble.founded(spec.task, state.labelled, most)
    return ensemble.joined(order.champion, order.challenger, most)


def _members(reign: Reign) -> tuple[Member, ...]:
    """The champion's members with the weights of now."""
    weights = _standing(reign).weights
    return tuple(
        replace(member, weight=weight)
        for member, weight in zip(reign.version.members, weights, strict=True)
    )


def _standing(reign: Reign) -> Standing:
    prior = tuple(member.weight for member in reign.version.members)
    return reign.revision.standing or Standing(weights=prior)


def _freshness(reign: Reign) -> float:
    """Labelled rows of which a share makes a refit worth its cost.

    Members on short windows are stale sooner: half of the shortest window is to be new at
    most by then.
    """
    windows = [recipe.window_rows for recipe in _recipes(reign) if recipe.window_rows is not None]
    if len(reign.version.members) == 1 or not windows:
        return reign.labelled
    return min(reign.labelled, STALE * min(windows))


def _recipes(reign: Reign) -> tuple[Recipe, ...]:
    return tuple(member.recipe for member in reign.version.members)


def _counted(state: CareState, fact: Arrived) -> CareState:
    return replace(
        state,
        last_seq=max(state.last_seq, fact.last_seq),
        rows=max(state.rows, fact.rows),
        labelled=max(state.labelled, fact.labelled),
    )


def _next_id(state: CareState) -> str:
    return f"o{state.orders + 1}"


def _launch(state: CareState, work: Work) -> Answer:
    return replace(state, orders=state.orders + 1, flight=(*state.flight, work)), (work,)


def _landed(state: CareState, work: Work) -> CareState:
    return replace(state, flight=tuple(w for w in state.flight if w is not work))


def _summary(report: DriftReport) -> dict[str, object]:
    return {
        "rows": report.current.rows,
        "measurements": len(report.measurements),
        "alarms": [
            {
                "aspect": alarm.aspect.value,
                "subject": alarm.subject,
                "effect": round(alarm.effect, 4),
                "p_value": alarm.p_value,
            }
            for aspect in Aspect
            for alarm in report.alarms(aspect)
        ],
    }
