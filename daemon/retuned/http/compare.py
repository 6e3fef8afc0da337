"""Two versions side by side."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response  # noqa: TC002 (FastAPI resolves annotations at run time)

from retuned.contrasting import contrast
from retuned.http.answer import answer
from retuned.http.problems import Problem
from retuned.http.recall import predecessor_of

if TYPE_CHECKING:
    from retuned.http.desk import Desk
    from retuned.registry.shelf import Sealed

Number = Annotated[int | None, Query(ge=1)]

AT_ONCE = 2
"""Comparisons at the same time: they load models, and the threads are for predictions."""


def routes(desk: Desk) -> APIRouter:
    """The routes of this room."""
    room = APIRouter(prefix="/v1/models/{model}", tags=["models"])
    turn = asyncio.Semaphore(AT_ONCE)

    @room.get("/compare", summary="Two versions: recipes, scores on the same rows, training data")
    async def compare(model: str, left: Number = None, right: Number = None) -> Response:
        async with turn:
            return await run_in_threadpool(_compared, desk, model, left, right)

    return room


def _compared(desk: Desk, model: str, left: int | None, right: int | None) -> Response:
    desk.must_have_rows(model)
    spec = desk.keeper(model).spec
    if right is None:
        right = desk.champion(model).crowned.version.number
    if left is None:
        left = predecessor_of(desk, model)
    if left == right:
        detail = f"both are version {left}: name two, as in ?left=1&right=2"
        raise Problem(422, "same-version", detail)
    one, other = (desk.registry.sealed(model, number) for number in (left, right))
    found = contrast(spec, desk.log(model), desk.registry, desk.stage, one, other)
    sides = {"left": _side(desk, one), "right": _side(desk, other)}
    return answer({"model": model, **sides, **found.to_json()})


def _side(desk: Desk, side: Sealed) -> dict[str, Any]:
    version, revision = side.version, side.revision
    serving = desk.stage.of(version.model)
    return {
        "version": version.number,
        "name": revision.name,
        "created_at": version.created_at,
        "fitted_at": revision.created_at,
        "fitted_as_of": revision.fitted_as_of,
        "is_champion": serving is not None and serving.crowned.version.number == version.number,
    }
