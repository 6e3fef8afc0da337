"""The history: its newest events, whether it verifies, and what was live at a moment."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import Response  # noqa: TC002 (FastAPI resolves annotations at run time)

from retuned.errors import TransientError
from retuned.http.answer import answer
from retuned.http.history import Limit  # noqa: TC001 (as below)
from retuned.http.problems import Problem
from retuned.registry.history.timeline import live_at

if TYPE_CHECKING:
    from retuned.http.desk import Desk

At = Annotated[str | None, Query(description="ISO 8601 or seconds; tells what was live then")]
Verify = Annotated[bool, Query(description="verify the whole chain as well")]

FIRST = datetime(1, 1, 2, tzinfo=UTC).timestamp()
LAST = datetime(9999, 12, 30, tzinfo=UTC).timestamp()


def routes(desk: Desk) -> APIRouter:
    """The routes of this room."""
    room = APIRouter(prefix="/v1/models/{model}", tags=["history"])

    @room.get("/events", summary="The newest events, oldest first; or what was live at a moment")
    def events(
        model: str, *, limit: Limit = 100, at: At = None, verify: Verify = False
    ) -> Response:
        desk.keeper(model)
        moment = None if at is None else moment_of(at)
        # Asked for the whole chain first: to look at its end may put things right.
        reading = chain_checked(desk, model) if verify else {}
        source = {"source": "registry" if desk.events.is_current(model) else "journal"}
        if moment is not None:
            found = live_at(desk.events.archive, model, moment)
            return answer({**found.to_json(), **source, **reading})
        newest = desk.events.archive.newest(model, limit)
        return answer({"items": [event.to_json() for event in newest], **source, **reading})

    return room


def moment_of(text: str) -> float:
    """A moment, seconds since the epoch or ISO 8601; without a time zone it is UTC.

    Raises:
        Problem: it is neither.
    """
    with suppress(ValueError):
        return _within(float(text))
    try:
        moment = datetime.fromisoformat(text)
        return _within((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    except ValueError as error:
        detail = (
            f"at={text!r} is no moment: give ISO 8601 (2026-11-03T14:00:00+01:00; UTC without a "
            "time zone) or seconds since the epoch"
        )
        raise Problem(422, "invalid", detail) from error


def _within(moment: float) -> float:
    """A moment that has a date in every time zone.

    Raises:
        ValueError: it has none, or is no number.
    """
    if FIRST <= moment <= LAST:
        return moment
    message = f"{moment} is not of the years 1 to 9999"
    raise ValueError(message)


def chain_checked(desk: Desk, model: str) -> dict[str, Any]:
    """The chain of events, verified; the journal's copy of it where Redis is away."""
    try:
        reading, where = desk.events.verified(model), "registry"
    except TransientError:
        reading, where = desk.events.verified_copy(model), "journal"
    return {
        "chain": {
            "of": where,
            "events": reading.entries,
            "newest": reading.last.number,
            "findings": reading.findings,
        }
    }
