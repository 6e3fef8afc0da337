"""Whether the daemon lives and is ready, and its figures."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING

from fastapi import APIRouter
from starlette.responses import Response

from retuned.errors import RetunedError
from retuned.http.answer import answer
from retuned.http.problems import Problem
from retuned.registry.lease.tenure import Role

if TYPE_CHECKING:
    from retuned.http.desk import Desk
    from retuned.rows.log import RowLog
    from retuned_pipelines.spec import ModelSpec


def routes(desk: Desk) -> APIRouter:
    """The routes of this room."""
    room = APIRouter(tags=["health"])

    @room.get("/healthz", summary="The process lives")
    async def healthz() -> Response:
        return answer({"status": "alive", "version": desk.version})

    @room.get("/readyz", summary="The registry answers and every model goes on")
    async def readyz() -> Response:
        if not desk.is_ready():
            detail = "the registry does not answer yet, or models are still being taken up"
            raise Problem(503, "not-ready", detail, retry_after=2)
        names = list(desk.keepers())
        roles = Counter(desk.tenures.of(name).role.value for name in names)
        return answer({"status": "ready", "models": len(names), **_told(roles)})

    @room.get("/metrics", summary="Figures in Prometheus' text format")
    def metrics() -> Response:
        _look(desk)
        return Response(desk.metrics.page(), media_type="text/plain; version=0.0.4")

    return room


def _told(roles: Counter[str]) -> dict[str, int]:
    """How many models this daemon takes care of, stands by for, and stands in for."""
    return {role.value.replace("-", "_"): roles[role.value] for role in Role}


def _look(desk: Desk) -> None:
    desk.metrics.registry_up(is_up=desk.is_ready())
    for name, keeper in desk.keepers().items():
        champion = desk.stage.of(name)
        revision = None if champion is None else champion.crowned.revision
        desk.metrics.look(
            name,
            champion=(0, 0) if revision is None else (revision.version, revision.number),
            in_flight=len(keeper.state.flight),
            troubles=len(keeper.troubles),
        )
        tenure = desk.tenures.of(name)
        desk.metrics.lease(name, is_held=tenure.is_held, is_suspended=tenure.is_suspended)
        # Where the log cannot be read, the other figures are still wanted.
        with suppress(RetunedError):
            log = desk.log(name)
            counts = log.counts()
            desk.metrics.rows(name, rows=counts.rows, labelled=counts.labelled)
            desk.metrics.quarantine(name, **asdict(log.quarantine.counts()))
            _look_at_labels(desk, name, log, keeper.spec)


def _look_at_labels(desk: Desk, name: str, log: RowLog, spec: ModelSpec) -> None:
    found = log.label_delay(spec.labels.horizon_s)
    sides = {"arrival": found.since_arrival, "time": found.since_time if spec.time else None}
    quantiles = {since: (q.median_s, q.p90_s) for since, q in sides.items() if q is not None}
    desk.metrics.label_delay(name, quantiles, overdue=found.overdue)
