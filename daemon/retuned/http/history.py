"""What was measured, tried and decided."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import FileResponse, Response

from retuned.http.answer import answer
from retuned.http.problems import Problem

if TYPE_CHECKING:
    from retuned.http.desk import Desk
    from retuned.rows.batch import Score
    from retuned_pipelines.search.trial import Trial

Limit = Annotated[int, Query(ge=1, le=10_000)]

RENDERING = 2
"""Threads that may render reports, or wait for one."""

REPORT_POLICY = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; img-src data: blob:; font-src data:"
)
"""Evidently's page runs scripts and shows what rows said: to a browser it is a stranger here."""


def routes(desk: Desk) -> APIRouter:
    """The routes of this room."""
    room = APIRouter(prefix="/v1/models/{model}", tags=["history"])

    @room.get("/drift", summary="Checks, newest first")
    def drifts(model: str, limit: Limit = 100) -> Response:
        desk.must_have_rows(model)
        found = desk.journal.drifts(model, limit)
        return answer({"items": [check_summary(*item) for item in found]})

    @room.get("/drift/{check}", summary="A check with every measurement")
    def drift(model: str, check: str) -> Response:
        desk.must_have_rows(model)
        found = desk.journal.drift(model, check)
        if found is None:
            raise Problem(404, "no-check", f"{model} has no check {check!r}")
        return answer({"id": check, **found})

    # Renderings wait for each other; they must not hold the threads that predictions need.
    rendering = asyncio.Semaphore(RENDERING)

    @room.get("/drift/{check}/report", summary="Evidently's page of a check (HTML)")
    async def report(model: str, check: str) -> FileResponse:
        await asyncio.to_thread(desk.must_have_rows, model)
        async with rendering:
            page = await asyncio.to_thread(desk.render, model, check)
        headers = {"Content-Security-Policy": REPORT_POLICY}
        return FileResponse(page, media_type="text/html", headers=headers)

    @room.get("/losses", summary="Losses as answered, with the label that each used")
    def losses(model: str, limit: Limit = 100) -> Response:
        desk.must_have_rows(model)
        found = desk.log(model).scores(limit)
        return answer({"items": [_loss(score) for score in found]})

    @room.get("/studies", summary="Studies, newest first")
    def studies(model: str, limit: Limit = 100) -> Response:
        desk.keeper(model)
        found = desk.studies.studies(model, limit)
        return answer({"items": [record.to_json() for record in found]})

    @room.get("/studies/{study}", summary="A study with its trials")
    def study(model: str, study: str) -> Response:
        desk.keeper(model)
        found = desk.studies.study(model, study)
        if found is None:
            raise Problem(404, "no-study", f"{model} has no study {study!r}")
        trials: tuple[Trial, ...] = desk.studies.trials(model, study)
        return answer({**found.to_json(), "trials": [trial.to_json() for trial in trials]})

    return room


def _loss(score: Score) -> dict[str, Any]:
    return {
        "row_seq": score.row_seq,
        "label_seq": score.label_seq,
        "version": f"{score.version}.{score.revision}",
        "metric": score.metric,
        "loss": score.loss,
    }


def check_summary(name: str, at: float, report: dict[str, Any]) -> dict[str, Any]:
    """A check in a line."""
    measurements = report["measurements"]
    return {
        "id": name,
        "at": at,
        "as_of": report["as_of"],
        "rows": report["current"]["rows"],
        "measurements": len(measurements),
        "alarms": [
            {key: found[key] for key in ("aspect", "subject", "method", "effect", "p_value")}
            for found in measurements
            if found["is_alarm"]
        ],
    }
