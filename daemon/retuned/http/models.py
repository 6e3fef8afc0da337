"""Models, their champions and versions."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Header
from starlette.responses import Response

from retuned.errors import RetunedError
from retuned.http.answer import answer
from retuned.http.probation import probation, role
from retuned.http.problems import Problem
from retuned.ingest.intake import NoModel
from retuned.keeper import Trouble
from retuned.rows.batch import Counts
from retuned.rows.delay import LabelDelay
from retuned.rows.quarantine import Refusals

if TYPE_CHECKING:
    from collections.abc import Mapping

    from retuned.http.desk import Desk
    from retuned.keeper import Keeper
    from retuned.registry.lease.tenure import Tenure
    from retuned.registry.pins import Pin
    from retuned_pipelines.schema import Schema
    from retuned_pipelines.spec import ModelSpec
    from retuned_pipelines.version import Version


def routes(desk: Desk) -> APIRouter:
    """The routes of this room."""
    room = APIRouter(prefix="/v1/models", tags=["models"])

    @room.get("", summary="All models under care")
    def models() -> Response:
        keepers = desk.keepers()
        return answer({"items": [summary(desk, keepers[name]) for name in sorted(keepers)]})

    @room.get("/{model}", summary="What is known of a model, and what is being done")
    def model(model: str) -> Response:
        return answer(status(desk, model))

    @room.get("/{model}/champion", summary="The champion; ETag and If-None-Match work")
    def champion(model: str, if_none_match: Annotated[str, Header()] = "") -> Response:
        serving = desk.champion(model)
        headers = {"ETag": serving.etag, "Cache-Control": "no-cache"}
        wanted = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
        if wanted & {serving.etag, "*"}:
            return Response(status_code=304, headers=headers)
        crowned = serving.crowned
        body = {
            "model": model,
            "name": crowned.revision.name,
            "epoch": crowned.epoch,
            "predecessor": crowned.predecessor or None,
            "version": crowned.version.to_json(),
            "revision": crowned.revision.to_json(),
            "features": serving.schema.to_json(),
        }
        return answer(body, headers=headers)

    @room.get("/{model}/versions", summary="All versions, oldest first")
    def versions(model: str) -> Response:
        keeper = desk.keeper(model)
        found, pins = desk.registry.versions(model), desk.registry.pins(model)
        return answer({"items": [_version(keeper, version, pins) for version in found]})

    @room.get("/{model}/versions/{number}", summary="A version with its verdict and revisions")
    def version(model: str, number: int) -> Response:
        keeper = desk.keeper(model)
        for found in desk.registry.versions(model):
            if found.number == number:
                revisions = desk.registry.revisions(model, number)
                body = _version(keeper, found, desk.registry.pins(model))
                return answer({**body, "revisions": [r.to_json() for r in revisions]})
        raise Problem(404, "no-version", f"{model} has no version {number}")

    return room


def _version(keeper: Keeper, version: Version, pins: Mapping[int, Pin]) -> dict[str, Any]:
    pin, now = pins.get(version.number), role(keeper, version.number)
    return {
        **version.to_json(),
        "pin": None if pin is None else pin.to_json(),
        "role": now,
        "probation": probation(keeper) if now else None,
    }


def summary(desk: Desk, keeper: Keeper) -> dict[str, Any]:
    """A model in a line."""
    spec, state = keeper.spec, keeper.state
    serving = desk.stage.of(spec.name)
    counts, refusals, _, unreadable = _held(desk, spec.name)
    return {
        "name": spec.name,
        "task": spec.task.value,
        "metric": spec.metric,
        "rows": counts.rows,
        "labelled": counts.labelled,
        "quarantined": refusals.rows + refusals.labels,
        "champion": None if serving is None else serving.crowned.revision.name,
        "running": [work.kind for work in state.flight],
        "is_paused": state.is_paused,
        "lease": _lease(desk.tenures.of(spec.name)),
        "troubles": [asdict(trouble) for trouble in (*unreadable, *keeper.troubles)],
    }


def _lease(tenure: Tenure) -> dict[str, Any]:
    return {
        "role": tenure.role.value,
        "holder": tenure.holder or None,
        "home": tenure.home or None,
        "has_rows": tenure.is_home,
        "token": tenure.token,
    }


def status(desk: Desk, model: str) -> dict[str, Any]:
    """Everything about a model that fits on a page."""
    keeper = desk.keeper(model)
    state, decision = keeper.state, keeper.state.last_decision
    counts, refusals, schema, _ = _held(desk, model)
    return {
        **summary(desk, keeper),
        "target": keeper.spec.target,
        "last_seq": counts.last_seq,
        "quarantine": asdict(refusals),
        "label_delay": _delay(desk, keeper.spec),
        "studies": state.studies,
        "probation": probation(keeper),
        "last_decision": None
        if decision is None
        else {
            "decision": decision.choice.value,
            "as_of": decision.as_of,
            "reasons": list(decision.reasons),
            "expected_cpu_s": decision.expected_cpu_s,
        },
        "features": None if schema is None else schema.to_json(),
        "gone": list(desk.intake.gone(model)),
    }


def _delay(desk: Desk, spec: ModelSpec) -> dict[str, Any]:
    """How long labels take; nothing where the log cannot be read, as `_held` tells already."""
    try:
        found = desk.log(spec.name).label_delay(spec.labels.horizon_s)
    except RetunedError:
        found = LabelDelay()
    return {
        "labels": round(found.labels),
        "since_arrival": None if found.since_arrival is None else asdict(found.since_arrival),
        "since_time": None
        if found.since_time is None or not spec.time
        else asdict(found.since_time),
        "horizon_s": spec.labels.horizon_s or None,
        "in_time": found.in_time,
        "unlabelled_overdue": found.overdue,
    }


def _held(desk: Desk, model: str) -> tuple[Counts, Refusals, Schema | None, tuple[Trouble, ...]]:
    """What a row log holds; a log that cannot be read is a trouble of its model alone."""
    try:
        log = desk.log(model)
        return log.counts(), log.quarantine.counts(), log.schema, ()
    except NoModel:
        raise
    except RetunedError as error:
        now = desk.clock.now()
        trouble = Trouble(order="read rows", error=str(error), attempts=1, retry_at=now)
        return Counts(rows=0, labelled=0, last_seq=0), Refusals(), None, (trouble,)
