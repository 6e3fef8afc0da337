"""A version that is known takes over, because an operator says so."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response  # noqa: TC002 (FastAPI resolves annotations at run time)

from retuned.http.answer import answer
from retuned.http.problems import Problem
from retuned_pipelines.care.facts import Called
from retuned_pipelines.care.orders import Notify, Publish

if TYPE_CHECKING:
    from collections.abc import Sequence

    from retuned.http.desk import Desk
    from retuned_pipelines.care.facts import Action
    from retuned_pipelines.care.orders import Order

_TURN_S = 0.05

Wait = Annotated[float, Query(ge=0, le=120, description="seconds to wait until it serves")]


class Reasoned(BaseModel):
    """Who asks, and why; written into the history."""

    model_config = ConfigDict(extra="forbid")
    who: str = Field(default="operator", max_length=200)
    reason: Annotated[
        str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)
    ] = Field(description="why; there has to be one")


class Promotion(Reasoned):
    """Which version is to be champion, who asks, and why."""

    version: int = Field(ge=1, strict=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Called:
    """A takeover that was ordered, and the champion that it replaces."""

    action: Action
    order: Publish


def routes(desk: Desk) -> APIRouter:
    """The routes of this room."""
    room = APIRouter(prefix="/v1/models/{model}", tags=["operator"])

    @room.post("/promote", summary="Let a version take over, without the gate", status_code=202)
    async def promote(model: str, wish: Promotion, wait: Wait = 0.0) -> Response:
        called = await run_in_threadpool(_call, desk, model, "promote", wish, wish.version)
        return await _answered(desk, model, called, wait)

    @room.post("/rollback", summary="Let the version before take over again", status_code=202)
    async def rollback(model: str, wish: Reasoned, wait: Wait = 0.0) -> Response:
        await run_in_threadpool(desk.must_decide, model)
        number = await run_in_threadpool(predecessor_of, desk, model)
        called = await run_in_threadpool(_call, desk, model, "rollback", wish, number)
        return await _answered(desk, model, called, wait)

    return room


def predecessor_of(desk: Desk, model: str) -> int:
    """Number of the version that was champion before.

    Raises:
        Problem: it has none, or there is no champion.
    """
    crowned = desk.champion(model).crowned
    if not crowned.predecessor:
        detail = (
            f"version {crowned.version.number} of {model} has no predecessor: no other version "
            "was ever champion"
        )
        raise Problem(409, "no-predecessor", detail)
    return crowned.predecessor_version


def _call(desk: Desk, model: str, action: Action, wish: Reasoned, number: int) -> _Called:
    desk.must_decide(model)
    keeper = desk.keeper(model)
    found = desk.registry.sealed(model, number)
    if not desk.registry.is_kept(found.revision):
        detail = (
            f"version {number} of {model} cannot take over: its artifacts are not kept any more "
            "(RETUNED_REGISTRY__KEEP_VERSIONS); pin versions you may want back"
        )
        raise Problem(409, "not-kept", detail)
    orders = keeper.accept(
        Called(
            now=desk.clock.now(),
            action=action,
            who=wish.who,
            reason=wish.reason,
            version=found.version,
            revision=found.revision,
        )
    )
    for order in orders:
        if isinstance(order, Publish) and order.recall is not None:
            return _Called(action=action, order=order)
    raise Problem(409, "not-promoted", _reasons(orders))


def _reasons(orders: Sequence[Order]) -> str:
    """Why the care decided for nothing: its first decision is about what was asked."""
    told = [order.body for order in orders if isinstance(order, Notify)]
    return next(" ".join(body["reasons"]) for body in told if "decision" in body)


async def _answered(desk: Desk, model: str, called: _Called, wait: float) -> Response:
    """Tell what happens, after it happened if it does so in time."""
    deadline = time.monotonic() + wait
    # Orders end on threads that know of no event loop.
    while _is_waiting(desk, model, called.order) and time.monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(_TURN_S)
    order, keeper = called.order, desk.keeper(model)
    troubles = [found.error for found in keeper.troubles if found.order == order.id]
    # Asked for first: what has landed serves already.
    is_in_flight = keeper.state.work(order.id) is not None
    serving = desk.stage.of(model)
    is_done = serving is not None and serving.crowned.version.number == order.version.number
    if not (is_done or is_in_flight):
        detail = f"version {order.version.number} of {model} did not take over: see its events"
        raise Problem(409, "not-promoted", detail)
    body: dict[str, Any] = {
        "model": model,
        "action": called.action,
        "version": order.version.number,
        "name": order.revision.name,
        "replaces": order.expected or None,
        "champion": None if serving is None else serving.crowned.revision.name,
        "is_serving": is_done,
        "troubles": troubles,
    }
    return answer(body, status=200 if is_done else 202)


def _is_waiting(desk: Desk, model: str, order: Publish) -> bool:
    """Whether it is still under way, and nothing has gone wrong with it so far."""
    keeper = desk.keeper(model)
    is_troubled = any(found.order == order.id for found in keeper.troubles)
    return keeper.state.work(order.id) is not None and not is_troubled
