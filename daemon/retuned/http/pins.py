"""Versions that somebody wants kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter
from starlette.responses import Response  # noqa: TC002 (FastAPI resolves annotations at run time)

from retuned.http.answer import answer
from retuned.http.operator import Wish
from retuned.registry.history.events import Event, EventKind, new_event_id
from retuned.registry.pins import Pin

if TYPE_CHECKING:
    from retuned.http.desk import Desk


def routes(desk: Desk) -> APIRouter:
    """The routes of this room."""
    room = APIRouter(prefix="/v1/models/{model}/versions/{number}", tags=["operator"])

    @room.post("/pin", summary="Keep a version, whatever comes after it")
    def pin(model: str, number: int, wish: Wish | None = None) -> Response:
        wish = wish or Wish()
        event = pinning(model, number, EventKind.PINNED, wish)
        wanted = Pin(version=number, who=wish.who, reason=wish.reason, at=event.at)
        desk.registry.pin(model, wanted, event)
        return pinned(model, event)

    @room.post("/unpin", summary="Let a pinned version go with the others")
    def unpin(model: str, number: int, wish: Wish | None = None) -> Response:
        event = pinning(model, number, EventKind.UNPINNED, wish or Wish())
        desk.registry.unpin(model, number, event)
        return pinned(model, event)

    def pinning(model: str, number: int, kind: EventKind, wish: Wish) -> Event:
        desk.must_hold(model)
        now = desk.clock.now()
        body = {"version": number, "who": wish.who, "reason": wish.reason}
        return Event(id=new_event_id(now), at=now, model=model, kind=kind, body=body)

    def pinned(model: str, event: Event) -> Response:
        desk.metrics.event(event)
        return answer({"model": model, "pinned": sorted(desk.registry.pins(model))})

    return room
