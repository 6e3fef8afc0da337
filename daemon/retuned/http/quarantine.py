"""Rows and labels that were refused: looked at, sent again, let go."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response  # noqa: TC002 (FastAPI resolves annotations at run time)

from retuned.http.answer import answer
from retuned.http.problems import Problem
from retuned.ingest.intake import Cargo, Parcel
from retuned.ingest.parse import JSON
from retuned.ingest.resend import resend

if TYPE_CHECKING:
    from retuned.http.desk import Desk
    from retuned.rows.quarantine import Quarantine, Refused

SOURCE = "quarantine"
_TOLD = 100

Limit = Annotated[int, Query(ge=1, le=10_000)]


class Again(BaseModel):
    """What to send again: by number, or everything; one of them with another record."""

    model_config = ConfigDict(extra="forbid")
    ids: list[int] = Field(default=[], max_length=10_000)
    all: bool = False
    record: dict[str, Any] | None = None


def routes(desk: Desk) -> APIRouter:
    """The routes of this room."""
    room = APIRouter(prefix="/v1/models/{model}/quarantine", tags=["quarantine"])

    @room.get("", summary="Rows and labels that were refused, newest first")
    def page(
        model: str,
        limit: Limit = 100,
        after: int | None = None,
        cargo: Literal["", "rows", "labels"] = "",
    ) -> Response:
        desk.must_have_rows(model)
        held = desk.log(model).quarantine
        items = held.page(limit=limit, after=after, cargo=cargo)
        body = {
            **asdict(held.counts()),
            "reasons": [
                {"cargo": cargo, "reason": reason, "records": count}
                for cargo, reason, count in held.reasons()
            ],
            "items": [_told(item) for item in items],
            "next": items[-1].id if len(items) == limit else None,
        }
        return answer(body)

    @room.post("/resend", summary="Send refused rows and labels again, as they are or mended")
    def again(model: str, wish: Again | None = None) -> Response:
        desk.must_have_rows(model)
        log, wish = desk.log(model), wish or Again()
        if wish.record is not None:
            return answer(_mend(desk, model, log.quarantine, wish))
        if wish.all == bool(wish.ids):
            raise Problem(422, "invalid", 'expected {"ids": [...]} or {"all": true}')
        done = resend(
            log.quarantine,
            lambda cargo, payload: desk.intake.take(model, _parcel(cargo, payload)),
            None if wish.all else wish.ids,
        )
        refused = [{"id": number, "reason": reason} for number, reason in done.refused[:_TOLD]]
        return answer({"taken": done.taken, "rejected": len(done.refused), "reasons": refused})

    @room.delete("", summary="Let refused rows and labels go: all, or those with ?id=")
    def clear(model: str, id: Annotated[list[int] | None, Query()] = None) -> Response:  # noqa: A002 (its name in the query)
        desk.must_have_rows(model)
        return answer({"removed": desk.log(model).quarantine.remove(id)})

    return room


def _mend(desk: Desk, model: str, held: Quarantine, wish: Again) -> dict[str, Any]:
    """Take another record in one's place."""
    found = held.of(wish.ids)
    if wish.all or len(wish.ids) != 1:
        raise Problem(422, "invalid", "a 'record' mends one: give its number alone in 'ids'")
    if not found:
        detail = f"{model} has no record {wish.ids[0]} in quarantine"
        raise Problem(404, "no-record", detail)
    parcel = _parcel(Cargo(found[0].cargo), orjson.dumps([wish.record]))
    taken = desk.intake.take(model, parcel)
    if not taken.rejected:
        held.remove(wish.ids)
    return {
        "taken": 0 if taken.rejected else 1,
        "rejected": len(taken.rejected),
        "reasons": [{"id": wish.ids[0], "reason": item.reason} for item in taken.rejected],
    }


def _parcel(cargo: Cargo, payload: bytes) -> Parcel:
    return Parcel(cargo=cargo, payload=payload, content_type=JSON, source=SOURCE)


def _told(item: Refused) -> dict[str, Any]:
    return {
        "id": item.id,
        "cargo": item.cargo,
        "row": item.row_id,
        "reason": item.reason,
        "record": _record(item.record),
        "source": item.source,
        "first_seen_at": item.first_us / 1e6,
        "last_seen_at": item.last_us / 1e6,
        "times": item.times,
    }


def _record(text: str) -> object:
    """The record itself; its text where it was cut, or was never JSON."""
    try:
        found: object = orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
    return found
