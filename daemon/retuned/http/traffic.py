"""Rows and labels in, predictions out."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import orjson
from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response  # noqa: TC002 (as above)

from retuned.http.answer import answer
from retuned.http.problems import Problem
from retuned.rows.ingest import BadPayload, Rejected, parse_labels, parse_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from retuned.http.desk import Desk
    from retuned.rows.batch import Receipt

_TOLD = 100
"""Refused items that one answer describes; all are counted."""


def routes(desk: Desk) -> APIRouter:
    """The routes of this room."""
    room = APIRouter(prefix="/v1/models/{model}", tags=["traffic"])

    @room.post("/rows", summary="Append rows: JSON or NDJSON; safe to repeat")
    async def rows(model: str, request: Request) -> Response:
        body, kind = await request.body(), request.headers.get("content-type", "")
        return await run_in_threadpool(_take_rows, desk, model, body, kind)

    @room.post("/labels", summary="Append labels of rows by id; safe to repeat")
    async def labels(model: str, request: Request) -> Response:
        body, kind = await request.body(), request.headers.get("content-type", "")
        return await run_in_threadpool(_take_labels, desk, model, body, kind)

    @room.post("/predict", summary="Ask the champion")
    async def predict(model: str, request: Request) -> Response:
        return await run_in_threadpool(_predict, desk, model, await request.body())

    return room


def _take_rows(desk: Desk, model: str, body: bytes, kind: str) -> Response:
    keeper, log = desk.keeper(model), desk.log(model)
    now_us = round(desk.clock.now() * 1e6)
    parsed = parse_rows(body, kind, keeper.spec, log.schema, now_us, classes=log.classes)
    if not parsed.batch.ids:
        raise _all_refused(parsed.rejected, of="rows")
    try:
        receipt = log.append_rows(parsed.batch, parsed.schema)
    except ValueError as error:
        # Two first batches at once: the other one fixed the features.
        raise Problem(409, "other-features", f"{error}; send the rows again") from error
    keeper.notice()
    return _received(desk, model, "rows", receipt, parsed.rejected)


def _take_labels(desk: Desk, model: str, body: bytes, kind: str) -> Response:
    keeper, log = desk.keeper(model), desk.log(model)
    parsed = parse_labels(body, kind, keeper.spec, classes=log.classes)
    if not parsed.batch.ids:
        raise _all_refused(parsed.rejected, of="labels")
    receipt = log.append_labels(parsed.batch)
    keeper.notice()
    return _received(desk, model, "labels", receipt, parsed.rejected)


def _received(
    desk: Desk, model: str, kind: str, receipt: Receipt, rejected: Sequence[Rejected]
) -> Response:
    desk.metrics.ingested(
        model,
        kind,
        accepted=receipt.accepted,
        duplicates=receipt.duplicates,
        revised=receipt.revised,
        rejected=len(rejected),
    )
    body = {
        **asdict(receipt),
        "rejected": len(rejected),
        "reasons": [asdict(item) for item in rejected[:_TOLD]],
    }
    return answer(body)


def _all_refused(rejected: Sequence[Rejected], *, of: str) -> Problem:
    if not rejected:
        return Problem(422, "nothing-sent", f"there are no {of} in the body")
    first = rejected[0]
    detail = f"none of {len(rejected)} {of} can be taken; the first: {first.reason}"
    reasons = [asdict(item) for item in rejected[:_TOLD]]
    return Problem(422, "all-rejected", detail, rejected=len(rejected), reasons=reasons)


def _predict(desk: Desk, model: str, body: bytes) -> Response:
    begun = time.perf_counter()
    champion, spec = desk.champion(model), desk.keeper(model).spec
    records = _records(body)
    _check_fields(records, {*champion.schema.names, spec.id, spec.time, spec.target})
    predictions = champion.predict(records) if records else []
    ids = [record.get(spec.id) for record in records]
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
