"""What an operator may ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response  # noqa: TC002 (FastAPI resolves annotations at run time)

from retuned.http.answer import answer
from retuned.http.problems import Problem
from retuned.registry.history.events import EventKind
from retuned.registry.lease.tenure import Role
from retuned_pipelines.care.facts import Called
from retuned_pipelines.care.orders import Notify

if TYPE_CHECKING:
    from retuned.http.desk import Desk
    from retuned_pipelines.care.facts import Action


class Wish(BaseModel):
    """Who asks, and why; written into the history."""

    model_config = ConfigDict(extra="forbid")
    who: str = Field(default="operator", max_length=200)
    reason: str = Field(default="", max_length=2000)


def routes(desk: Desk) -> APIRouter:
    """The routes of this room."""
    room = APIRouter(prefix="/v1/models/{model}", tags=["operator"])

    def call(model: str, action: Action, wish: Wish | None) -> Response:
        wish = wish or Wish()
        desk.must_decide(model)
        keeper = desk.keeper(model)
        keeper.accept(Called(now=desk.clock.now(), action=action, who=wish.who, reason=wish.reason))
        decision = keeper.state.last_decision
        told = () if action != "retune" or decision is None else decision.reasons
        body = {
            "model": model,
            "action": action,
            "is_paused": keeper.state.is_paused,
            "running": [work.kind for work in keeper.state.flight],
            "reasons": list(told),
        }
        return answer(body, status=202)

    @room.post("/retune", summary="Begin a study now", status_code=202)
    def retune(model: str, wish: Wish | None = None) -> Response:
        return call(model, "retune", wish)

    @room.post("/pause", summary="Begin nothing new; what is under way ends", status_code=202)
    def pause(model: str, wish: Wish | None = None) -> Response:
        return call(model, "pause", wish)

    @room.post("/resume", summary="Go on", status_code=202)
    def resume(model: str, wish: Wish | None = None) -> Response:
        return call(model, "resume", wish)

    @room.post("/adopt", summary="Let the model's rows have their home here, for good")
    def adopt(model: str, wish: Wish | None = None) -> Response:
        wish = wish or Wish()
        keeper, before = desk.keeper(model), desk.must_hold(model)
        if before.role is not Role.HOLDER and desk.adopt is not None:
            desk.adopt(keeper)
            body = {"action": "adopt", "who": wish.who, "reason": wish.reason, "from": before.home}
            keeper.tell(Notify(event=EventKind.OPERATOR, body=body))
        return answer({"model": model, "home": desk.tenures.of(model).home, "from": before.home})

    @room.delete("/rows/{row:path}", summary="Delete a row for good; its id cannot come again")
    def forget(model: str, row: str) -> Response:
        desk.must_have_rows(model)
        log = desk.log(model)
        # The answers first: after the row is gone, nobody would ask again for what is left.
        had_answers = desk.served.forget(model, row) > 0
        if not log.forget(row) and not had_answers:
            raise Problem(404, "no-row", f"{model} has no row {row!r}, or it was deleted before")
        return answer({"forgotten": row})

    return room
