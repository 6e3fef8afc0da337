"""The first champion: the default recipe, as soon as it beats a constant."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from retuned_pipelines.care.orders import BEGINNING, Judge
from retuned_pipelines.care.step import Answer, launch, next_id
from retuned_pipelines.models.families import default_recipe
from retuned_pipelines.recipe import Recipe

if TYPE_CHECKING:
    from retuned_pipelines.care.state import CareState
    from retuned_pipelines.spec import ModelSpec

GROWTH = 1.5
"""A refused first champion is attempted again with this many times the labelled rows."""

ROWS = 5_000
"""Labelled rows that a first champion is judged on at most: small before large."""

CONSTANT = Recipe(family="constant")


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
