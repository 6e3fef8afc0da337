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
from retuned.http.upload import received
from retuned.ingest.intake import Cargo, Parcel, Taken
from retuned.ingest.media import BadPayload
from retuned.serve.champion import told
from retuned.serve.served import Answers
from retuned_pipelines.spec import Reaction

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

    async def taken(model: str, cargo: Cargo, request: Request, *, strict: bool) -> Response:
        # Before the body has come, which may be large; and again where it is taken.
        await run_in_threadpool(desk.must_have_rows, model)
        async with received(request, desk.room) as payload:
            parcel = Parcel(
                cargo=cargo,
                payload=payload,
                content_type=request.headers.get("content-type", ""),
                encoding=request.headers.get("content-encoding", ""),
                is_strict=strict,
            )
            return await run_in_threadpool(_take, desk, model, parcel)

    @room.post("/rows", summary="Append rows: JSON, NDJSON, CSV, Arrow or Parquet; safe to repeat")
    async def rows(model: str, request: Request, *, strict: bool = False) -> Response:
        return await taken(model, Cargo.ROWS, request, strict=strict)

    @room.post("/labels", summary="Append labels of rows by id, as rows; safe to repeat")
    async def labels(model: str, request: Request, *, strict: bool = False) -> Response:
        return await taken(model, Cargo.LABELS, request, strict=strict)

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
    desk.must_have_rows(model)
    taken = desk.intake.take(model, parcel)
    if taken.receipt is None:
        raise _all_refused(taken, parcel)
    body = {
        **asdict(taken.receipt),
        "rejected": taken.refused,
        "quarantined": taken.quarantined,
        "reasons": [item.told() for item in taken.rejected[:_TOLD]],
    }
    return answer(body)


def _all_refused(taken: Taken, parcel: Parcel) -> Problem:
    of = parcel.cargo.value
    if not taken.rejected:
        return Problem(422, "nothing-sent", f"there are no {of} in the body")
    first = taken.rejected[0]
    more = {"rejected": taken.refused, "quarantined": taken.quarantined}
    if parcel.is_strict:
        detail = f"{taken.refused} {of} cannot be taken, so none was; the first: {first.reason}"
        reasons = [item.told() for item in taken.rejected]
        return Problem(422, "strict-refused", detail, **more, reasons=reasons)
    detail = f"none of {taken.refused} {of} can be taken; the first: {first.reason}"
    reasons = [item.told() for item in taken.rejected[:_TOLD]]
    return Problem(422, "all-rejected", detail, **more, reasons=reasons)


def _predict(desk: Desk, model: str, body: bytes) -> Response:
    begun = time.perf_counter()
    champion, spec = desk.champion(model), desk.keeper(model).spec
    records = _records(body)
    if spec.schema.appeared is not Reaction.IGNORE:
        # Features that were adopted since the champion was made are known too.
        newer = desk.log(model).schema or champion.schema
        fields = {*champion.schema.names, *newer.names, spec.id, spec.time, spec.target}
        _check_fields(records, fields)
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
