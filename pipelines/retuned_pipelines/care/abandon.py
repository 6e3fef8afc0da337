"""An order that cannot be carried out is let go: what that leaves behind."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from retuned_pipelines.care.orders import Notify, Publish, Refit
from retuned_pipelines.care.step import Answer, landed

if TYPE_CHECKING:
    from retuned_pipelines.care.facts import Abandoned
    from retuned_pipelines.care.state import CareState


def abandon(state: CareState, fact: Abandoned) -> Answer:
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
    state = landed(state, order)
    if isinstance(order, Publish) and order.recall is not None and order.recall.is_by_operator:
        # The champion goes on as if nobody had asked.
        return state, (told,)
    if isinstance(order, Refit | Publish) and state.reign is not None:
        # As if it had been fitted: not before more labels have come is it tried again.
        state = replace(state, reign=replace(state.reign, labelled=order.labelled))
    if isinstance(order, Publish) and state.reign is not None:
        # Perhaps its shadow was stored already, under a number that is not used twice.
        state = replace(state, reign=replace(state.reign, probation=None))
    return state, (told,)
