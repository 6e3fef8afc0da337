"""Whether the daemon lives and is ready, and its figures."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from fastapi import APIRouter
from starlette.responses import Response

from retuned.errors import RetunedError
from retuned.http.answer import answer
from retuned.http.problems import Problem

if TYPE_CHECKING:
    from retuned.http.desk import Desk


def routes(desk: Desk) -> APIRouter:
    """The routes of this room."""
    room = APIRouter(tags=["health"])

    @room.get("/healthz", summary="The process lives")
    async def healthz() -> Response:
        return answer({"status": "alive", "version": desk.version})

    @room.get("/readyz", summary="The registry answers and every model goes on")
    async def readyz() -> Response:
        if not desk.is_ready():
            detail = "the registry does not answer yet, or models are still being taken up"
            raise Problem(503, "not-ready", detail, retry_after=2)
        return answer({"status": "ready", "models": len(desk.keepers())})

    @room.get("/metrics", summary="Figures in Prometheus' text format")
    def metrics() -> Response:
        _look(desk)
        return Response(desk.metrics.page(), media_type="text/plain; version=0.0.4")

    return room


def _look(desk: Desk) -> None:
    desk.metrics.registry_up(is_up=desk.is_ready())
    for name, keeper in desk.keepers().items():
        champion = desk.stage.of(name)
        revision = None if champion is None else champion.crowned.revision
        desk.metrics.look(
            name,
            champion=(0, 0) if revision is None else (revision.version, revision.number),
            in_flight=len(keeper.state.flight),
            troubles=len(keeper.troubles),
        )
        # Where the log cannot be read, the other figures are still wanted.
        with suppress(RetunedError):
            counts = desk.log(name).counts()
            desk.metrics.rows(name, rows=counts.rows, labelled=counts.labelled)
