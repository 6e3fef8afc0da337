"""Models leave and come in."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from retuned.http.answer import answer
from retuned.http.problems import Problem
from retuned_pipelines.care.facts import Brought
from retuned_pipelines.care.orders import Shelve
from retuned_pipelines.handout.manifest import Form

if TYPE_CHECKING:
    from retuned.http.desk import Desk

AT_ONCE = 2
"""Requests that may wait for a child process: the other threads are for predictions."""

Who = Annotated[str, Query(max_length=200)]
Why = Annotated[str, Query(max_length=2000)]


def routes(desk: Desk) -> APIRouter:
    """The routes of this room."""
    room = APIRouter(prefix="/v1/models/{model}", tags=["exchange"])
    turn = asyncio.Semaphore(AT_ONCE)

    @room.get("/champion/artifact", summary="The champion as files, with its card (zip)")
    async def champion(model: str, format: Form = Form.SKOPS) -> Response:  # noqa: A002 (its name in the query)
        async with turn:
            return await run_in_threadpool(_packed, desk, model, None, None, format)

    @room.get("/versions/{number}/artifact", summary="A revision as files, with its card (zip)")
    async def version(
        model: str,
        number: int,
        revision: int | None = None,
        format: Form = Form.SKOPS,  # noqa: A002 (as above)
    ) -> Response:
        async with turn:
            return await run_in_threadpool(_packed, desk, model, number, revision, format)

    @room.post("/versions", summary="Take in a scikit-learn model (skops)", status_code=202)
    async def bring(
        model: str, request: Request, who: Who = "operator", reason: Why = ""
    ) -> Response:
        data = await request.body()
        async with turn:
            return await run_in_threadpool(_bring, desk, model, data, who, reason)

    @room.post("/versions/{number}/reproduce", summary="Fit a revision once more and compare")
    async def reproduce(model: str, number: int, revision: int | None = None) -> Response:
        async with turn:
            return await run_in_threadpool(_reproduce, desk, model, number, revision)

    return room


def _packed(
    desk: Desk, model: str, number: int | None, revision: int | None, form: Form
) -> Response:
    spec = desk.keeper(model).spec
    if number is None:
        desk.champion(model)
    sealed = desk.exchange.sealed(model, number, revision)
    data = desk.exchange.pack(spec, sealed, form)
    name = f"{model}-{sealed.revision.name}-{form.value}"
    headers = {"Content-Disposition": f'attachment; filename="{name}.zip"'}
    return Response(data, media_type="application/zip", headers=headers)


def _bring(desk: Desk, model: str, data: bytes, who: str, reason: str) -> Response:
    desk.must_decide(model)
    keeper = desk.keeper(model)
    if not data:
        raise Problem(422, "nothing-sent", "there is no skops file in the body")
    found = desk.exchange.bring(keeper.spec, data)
    works = keeper.accept(
        Brought(
            now=desk.clock.now(),
            who=who,
            reason=reason,
            recipe=found.recipe,
            artifact=found.sha256,
            schema_digest=found.schema_digest,
            libraries=found.libraries,
        )
    )
    order = next(work for work in works if isinstance(work, Shelve))
    body = {
        "model": model,
        "version": order.version.number,
        "name": order.revision.name,
        "recipe": found.recipe.to_json(),
        "rows": found.rows,
        "is_champion": False,
    }
    return answer(body, status=202)


def _reproduce(desk: Desk, model: str, number: int, revision: int | None) -> Response:
    desk.must_have_rows(model)
    spec = desk.keeper(model).spec
    sealed = desk.exchange.sealed(model, number, revision)
    found = desk.exchange.reproduce(spec, sealed)
    body = {
        "model": model,
        "name": sealed.revision.name,
        "finding": found.finding.value,
        "libraries": {
            name: {"then": then, "now": now} for name, (then, now) in found.libraries.items()
        },
        "members": [
            {**asdict(member), "recipe": member.recipe.to_json(), "finding": member.finding.value}
            for member in found.members
        ],
    }
    return answer(body)
