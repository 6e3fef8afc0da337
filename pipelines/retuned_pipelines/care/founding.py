"""The first champion: the default recipe and others beside it, once there are enough labels.

Where the default is no better than a constant, the constant is a member too, and leads at first:
the answers are then never much worse than the usual class or value, and better as soon as
something has been learned.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from retuned_pipelines.care.orders import BEGINNING, Judge
from retuned_pipelines.care.step import CONSTANT, Answer, launch, next_id
from retuned_pipelines.models.families import default_recipe

if TYPE_CHECKING:
    from retuned_pipelines.care.state import CareState
    from retuned_pipelines.evaluate.verdict import Verdict
    from retuned_pipelines.spec import ModelSpec

GROWTH = 1.5
"""Where the evidence was too little, the first champion is attempted again with this many times
the labelled rows."""

ROWS = 10_000
"""Labelled rows that a first champion is judged on at most: small before large."""


def is_evidence(spec: ModelSpec, verdict: Verdict) -> bool:
    """Whether the first verdict, whatever it is, says enough to begin with."""
    return verdict.blocks >= spec.gate.min_blocks


def found(spec: ModelSpec, state: CareState) -> Answer:
    """Attempt a first champion, once there are enough labels."""
    needed = max(spec.watch.min_rows, int(GROWTH * state.founding_labelled))
    if state.is_taking_over or state.labelled < needed:
        return state, ()
    judge = Judge(
        id=next_id(state),
        as_of=state.last_seq,
        challenger=default_recipe(spec.task),
        rival=CONSTANT,
        rival_name="constant",
        study="",
        boundary=BEGINNING,
        rows=min(ROWS, spec.search.max_rows),
    )
    return launch(replace(state, founding_labelled=state.labelled), judge)
