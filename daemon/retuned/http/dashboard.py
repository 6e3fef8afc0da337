"""Pages for people: the dashboard, and the list of routes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, FastAPI, Request
from starlette.responses import HTMLResponse, RedirectResponse

from retuned.errors import RetunedError
from retuned.http import page
from retuned.http.history import check_summary
from retuned.http.models import status

if TYPE_CHECKING:
    from retuned.http.desk import Desk

POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {"Content-Security-Policy": POLICY, "Cache-Control": "no-store"}

EVENTS = 30
CHECKS = 12
STUDIES = 5
LOSSES = 5000


def routes(desk: Desk) -> APIRouter:
    """The routes of this room."""
    room = APIRouter(include_in_schema=False)

    @room.get("/")
    def overview() -> HTMLResponse:
        names = sorted(desk.keepers())
        models = [status(desk, name) for name in names]
        body = page.overview(models, is_ready=desk.is_ready(), version=desk.version)
        return HTMLResponse(body, headers=_HEADERS)

    @room.get("/models/{model}")
    def model(model: str) -> HTMLResponse:
        desk.keeper(model)
        body = page.model(_gathered(desk, model), version=desk.version)
        return HTMLResponse(body, headers=_HEADERS)

    @room.get("/docs")
    def docs(request: Request) -> HTMLResponse:
        app: FastAPI = request.app
        return HTMLResponse(page.docs(app.openapi(), version=desk.version), headers=_HEADERS)

    @room.get("/problems/{kind}")
    def problem(kind: str) -> RedirectResponse:
        del kind
        return RedirectResponse("/docs")

    return room


def _gathered(desk: Desk, model: str) -> page.ModelPage:
    """Everything that a model's page shows; what the registry holds may be away."""
    champion = desk.stage.of(model)
    try:
        records = desk.studies.studies(model, STUDIES)
        studies = [
            {**r.to_json(), "trials": [t.to_json() for t in desk.studies.trials(model, r.id)]}
            for r in records
        ]
        versions = [v.to_json() for v in desk.registry.versions(model)][::-1]
        away = ""
    except RetunedError as error:
        studies, versions, away = [], [], str(error)
    checks: list[dict[str, Any]] = [
        check_summary(*item) for item in desk.journal.drifts(model, CHECKS)
    ]
    crowned = None if champion is None else champion.crowned
    return page.ModelPage(
        status=status(desk, model),
        version=None if crowned is None else crowned.version.to_json(),
        revision=None if crowned is None else crowned.revision.to_json(),
        versions=versions,
        losses=_losses(desk, model),
        checks=checks,
        studies=studies,
        events=[event.to_json() for event in desk.events.newest(model, EVENTS)][::-1],
        away=away,
    )


def _losses(desk: Desk, model: str) -> list[float]:
    try:
        log, metric = desk.log(model), desk.keeper(model).spec.metric
        losses: list[float] = log.newest_losses(LOSSES, metric=metric).loss.tolist()
    except RetunedError:
        return []  # the model's troubles tell of it
    return losses
