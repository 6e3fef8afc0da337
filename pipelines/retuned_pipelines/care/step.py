"""Small changes of a state that every rule makes: give an order, take one back, decide."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from retuned_pipelines.care.orders import Notify, Order, Work
from retuned_pipelines.care.state import CareState, Choice, Decision
from retuned_pipelines.recipe import Recipe

if TYPE_CHECKING:
    from retuned_pipelines.care.state import Reign
    from retuned_pipelines.version import Member

CONSTANT = Recipe(family="constant")

Answer = tuple[CareState, tuple[Order, ...]]


def next_id(state: CareState) -> str:
    """The id of the next order."""
    return f"o{state.orders + 1}"


def launch(state: CareState, work: Work) -> Answer:
    """Give an order; it is in flight until its result is reported."""
    return replace(state, orders=state.orders + 1, flight=(*state.flight, work)), (work,)


def landed(state: CareState, work: Work) -> CareState:
    """Take an order whose result was reported out of flight."""
    return replace(state, flight=tuple(w for w in state.flight if w is not work))


def decide(
    state: CareState,
    choice: Choice,
    *reasons: str,
    expected_cpu_s: float | None = None,
    effort: float = 0.0,
    saved: float = 0.0,
) -> Answer:
    """Make a decision and tell of it.

    Args:
        state: before it.
        choice: what was decided.
        reasons: plain sentences.
        expected_cpu_s: CPU seconds that it will probably cost; None where nobody knows.
        effort: the same by the cost model, `models.families.effort`.
        saved: effort of what was decided against.
    """
    decision = Decision(
        choice=choice,
        as_of=state.last_seq,
        reasons=reasons,
        expected_cpu_s=expected_cpu_s,
        effort=effort,
        saved=saved,
    )
    body = {
        "decision": choice.value,
        "as_of": decision.as_of,
        "reasons": list(reasons),
        "expected_cpu_s": expected_cpu_s,
        "effort": round(effort),
        "saved": round(saved),
    }
    return replace(state, last_decision=decision), (Notify(event="decided", body=body),)


def decide_nothing(state: CareState, *reasons: str, saved: float = 0.0) -> Answer:
    """Decide against doing anything."""
    return decide(state, Choice.NOTHING, *reasons, expected_cpu_s=0.0, saved=saved)


def recipes(reign: Reign) -> tuple[Recipe, ...]:
    """The champion's recipes, the weightiest first; constant, imported, retired ones aside."""
    return tuple(
        member.recipe
        for member in members(reign)
        if member.recipe.family != CONSTANT.family and not member.recipe.is_foreign
    )


def is_imported(reign: Reign) -> bool:
    """Whether the champion came from elsewhere; it is then its version's only member."""
    return any(member.recipe.is_foreign for member in reign.version.members)


def members(reign: Reign) -> tuple[Member, ...]:
    """The champion's members with their weights of now, retired ones aside, weightiest first."""
    standing = reign.revision.standing
    live = [
        replace(member, weight=weight)
        for member, weight, is_gone in zip(
            reign.version.members, standing.weights, standing.retired, strict=True
        )
        if not is_gone
    ]
    return tuple(sorted(live, key=lambda member: -member.weight))
