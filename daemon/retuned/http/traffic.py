"""Rows and labels in, predictions out."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import orjson
from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response  # noqa: TC002 (as above)

from retuned.http.answer import answer
from retuned.http.problems import Problem
from retuned.rows.ingest import BadPayload, Rejected
from retuned.rows.intake import Cargo, Parcel
from retuned.serve.champion import told
from retuned.serve.served import Answers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from retuned.http.desk import Desk
    from retuned.serve.champion import Champion
    from retuned_pipelines.spec import ModelSpec

_TOLD = 100
"""Refused items that one answer describes; all are counted."""


def routes(desk: Desk) -> APIRouter:
    """The routes of this room."""
    room = APIRouter(prefix="/v1/models/{model}", tags=["traffic"])

    @room.post("/rows", summary="Append rows: JSON or NDJSON; safe to repeat")
    async def rows(model: str, request: Request) -> Response:
        parcel = await _parcel(Cargo.ROWS, request)
        return await run_in_threadpool(_take, desk, model, parcel)

    @room.post("/labels", summary="Append labels of rows by id; safe to repeat")
    async def labels(model: str, request: Request) -> Response:
        parcel = await _parcel(Cargo.LABELS, request)
        return await run_in_threadpool(_take, desk, model, parcel)

    @room.post("/predict", summary="Ask the champion")
    async def predict(model: str, request: Request) -> Response:
        return await run_in_threadpool(_predict, desk, model, await request.body())

    @room.get("/predictions", summary="What was answered for a row, newest first")
    def predictions(
        model: str,
        id: str = "",  # noqa: A002 (its name in the query)
        limit: Annotated[int, Query(ge=1, le=10_000)] = 100,
    ) -> Response:
        return _answered(desk, model, id, limit)

    return room


def _take(desk: Desk, model: str, parcel: Parcel) -> Response:
    taken = desk.intake.take(model, parcel)
    if taken.receipt is None:
        raise _all_refused(taken.rejected, of=parcel.cargo.value)
    body = {
        **asdict(taken.receipt),
        "rejected": len(taken.rejected),
        "reasons": _told(taken.rejected),
    }
    return answer(body)


async def _parcel(cargo: Cargo, request: Request) -> Parcel:
    kind = request.headers.get("content-type", "")
    return Parcel(cargo=cargo, payload=await request.body(), content_type=kind)


def _all_refused(rejected: Sequence[Rejected], *, of: str) -> Problem:
    if not rejected:
        return Problem(422, "nothing-sent", f"there are no {of} in the body")
    first = rejected[0]
    detail = f"none of {len(rejected)} {of} can be taken; the first: {first.reason}"
    reasons = _told(rejected)
    return Problem(422, "all-rejected", detail, rejected=len(rejected), reasons=reasons)


def _told(rejected: Sequence[Rejected]) -> list[dict[str, object]]:
    return [
        {"index": item.index, "id": item.id, "reason": item.reason} for item in rejected[:_TOLD]
    ]


def _predict(desk: Desk, model: str, body: bytes) -> Response:
    begun = time.perf_counter()
    champion, spec = desk.champion(model), desk.keeper(model).spec
    records = _records(body)
    _check_fields(records, {*champion.schema.names, spec.id, spec.time, spec.target})
    ids = [record.get(spec.id) for record in records]
    predictions = []
    if records:
        output = champion.answer(records)
        predictions = champion.told(output)
        _note(desk, spec, champion, ids, output)
    for prediction, name in zip(predictions, ids, strict=True):
        if name is not None:
            prediction["id"] = name
    desk.metrics.predicted(model, len(records), time.perf_counter() - begun)
    return answer(
        {
            "model": model,
            "version": champion.crowned.revision.name,
            "predictions": predictions,
        }
    )


def _note(
    desk: Desk,
    spec: ModelSpec,
    champion: Champion,
    ids: Sequence[object],
    output: NDArray[np.float64],
) -> None:
    answers = Answers(
        ids=(),
        at_us=round(desk.clock.now() * 1e6),
        revision=champion.crowned.revision.name,
        classes=champion.classes,
        output=output,
    )
    desk.served.note(spec.name, ids, answers, spec.serve)


def _answered(desk: Desk, model: str, row_id: str, limit: int) -> Response:
    desk.keeper(model)
    if not row_id:
        raise Problem(422, "invalid", "which row? expected ?id=...")
    items = [
        {
            "at": found.at_us / 1e6,
            "version": found.revision,
            **told(found.classes, found.output[np.newaxis])[0],
        }
        for found in desk.served.newest(model, row_id, limit)
    ]
    return answer({"id": row_id, "items": items})


def _records(body: bytes) -> list[dict[str, Any]]:
    try:
        given = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        message = f"the body is not valid JSON: {error}"
        raise BadPayload(message) from error
    if isinstance(given, dict):
        given = given.get("rows", [given])
    if not isinstance(given, list) or not all(isinstance(record, dict) for record in given):
        message = 'expected {"rows": [{...}, ...]}, an array of objects, or one object'
        raise BadPayload(message)
    return given


def _check_fields(records: Sequence[dict[str, Any]], known: set[str]) -> None:
    for index, record in enumerate(records):
        if not record.keys() <= known:
            unknown = ", ".join(sorted(repr(name) for name in record.keys() - known))
            detail = (
                f"row {index} has an unknown field {unknown}; "
                f"known are {', '.join(sorted(name for name in known if name))}"
            )
            raise Problem(422, "unknown-field", detail)
