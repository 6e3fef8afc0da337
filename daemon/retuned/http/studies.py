"""Ending a study."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter
from starlette.responses import Response  # noqa: TC002 (FastAPI resolves annotations at run time)

from retuned.http.answer import answer
from retuned.http.operator import Wish
from retuned.http.problems import Problem
from retuned.registry.history.events import EventKind
from retuned_pipelines.care.orders import Notify, Study

if TYPE_CHECKING:
    from retuned.http.desk import Desk


def routes(desk: Desk) -> APIRouter:
    """The routes of this room."""
    room = APIRouter(prefix="/v1/models/{model}", tags=["operator"])

    @room.post(
        "/studies/{study}/stop", summary="End a study with what it has tried", status_code=202
    )
    def stop(model: str, study: str, wish: Wish | None = None) -> Response:
        wish = wish or Wish()
        desk.must_decide(model)
        keeper = desk.keeper(model)
        if keeper.state.in_flight(study, Study) is None:
            if desk.studies.study(model, study) is None:
                raise Problem(404, "no-study", f"{model} has no study {study!r}")
            raise Problem(409, "study-over", f"study {study} of {model} has ended already")
        desk.studies.ask_to_stop(model, study, who=wish.who, reason=wish.reason)
        body = {"action": "stop-study", "study": study, "who": wish.who, "reason": wish.reason}
        keeper.tell(Notify(event=EventKind.OPERATOR, body=body))
        return answer({"model": model, "action": "stop-study", "study": study}, status=202)

    return room
