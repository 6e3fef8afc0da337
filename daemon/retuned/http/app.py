"""The app: all routes, behind the guard."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import FastAPI

from retuned.http import (
    compare,
    dashboard,
    events,
    exchange,
    health,
    history,
    models,
    operator,
    pins,
    problems,
    quarantine,
    recall,
    studies,
    traffic,
)
from retuned.http.guard import Guard

if TYPE_CHECKING:
    from retuned.http.desk import Desk

DESCRIPTION = (
    "Rows and labels in, predictions of the current champion out, and everything that was "
    "measured, tried and decided on the way. Errors are problem details (RFC 9457)."
)


def build(desk: Desk) -> FastAPI:
    """Build the app on a desk."""
    app = FastAPI(
        title="retuned",
        version=desk.version,
        description=DESCRIPTION,
        # FastAPI's own pages load scripts from elsewhere; /docs is ours.
        docs_url=None,
        redoc_url=None,
    )
    for room in (
        health,
        models,
        compare,
        traffic,
        quarantine,
        history,
        events,
        operator,
        studies,
        recall,
        pins,
        exchange,
        dashboard,
    ):
        app.include_router(room.routes(desk))
    problems.install(app)
    app.add_middleware(Guard, hosts=desk.hosts, room=desk.room)
    return app
