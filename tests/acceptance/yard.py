"""A daemon without models' care: row logs, intake, HTTP, spool and streams, to be killed.

Everything that takes rows and labels in is the real code in a real process. What is left out
(keepers, registry, child processes) takes seconds to begin, and stores no row.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from fastapi import FastAPI

from retuned.cli import main
from retuned.http import problems, server, traffic
from retuned.http.desk import Desk
from retuned.ingest.body import Room
from retuned.ingest.intake import Intake, NoModel
from retuned.registry.connect import connect
from retuned.rows.house import RowLogs
from retuned.rows.log import RowLog
from retuned.runtime.clock import SystemClock
from retuned.runtime.metrics import Metrics
from retuned.runtime.supervisor import Supervisor
from retuned.runtime.thread import on_thread
from retuned.settings import StreamSettings
from retuned.sources.inbox import Inboxes
from retuned.sources.spool import Spool
from retuned.sources.stream import StreamSource
from retuned_pipelines.schema import Task
from retuned_pipelines.spec import ModelSpec

MODEL = "bikes"
SPEC = ModelSpec(
    name=MODEL, task=Task.REGRESSION, target="y", time="at", metric="neg_mean_absolute_error"
)


@dataclass(frozen=True)
class Yard:
    """Where it lives."""

    directory: Path
    port: int
    redis_url: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def spool(self) -> Path:
        return self.directory / "spool"

    def row_log(self) -> RowLog:
        """The row log, when nobody lives here."""
        return RowLog(self.directory / "rows" / f"{MODEL}.sqlite", Task.REGRESSION)


def live(yard: Yard, is_up: Event) -> None:
    """Take rows and labels in, until killed."""
    asyncio.run(_live(yard, is_up))


def ingest(arguments: list[str]) -> None:
    """Run ``retuned ingest`` until it ends or is killed."""
    raise SystemExit(main(["ingest", *arguments]))


async def _live(yard: Yard, is_up: Event) -> None:
    clock, metrics = SystemClock(), Metrics()
    intake = Intake(
        rows=RowLogs(yard.directory / "rows"),
        spec_of=_spec_of,
        notice=lambda _: None,
        metrics=metrics,
        clock=clock,
    )
    sources: dict[str, Callable[..., None]] = {
        "spool": Spool(
            yard.spool,
            models=lambda: [MODEL],
            take=intake.take,
            every_s=0.01,
            keep_done_s=1e6,
            metrics=metrics,
            clock=clock,
        ).run
    }
    if yard.redis_url:
        sources["stream"] = StreamSource(
            Inboxes(connect(StreamSettings(url=yard.redis_url)), prefix=StreamSettings.prefix),
            models=lambda: [MODEL],
            take=intake.take,
            keep_s=0.0,
            metrics=metrics,
            clock=clock,
        ).run
    app = FastAPI()
    # It is the only daemon, so the rows are always with it.
    desk = SimpleNamespace(intake=intake, room=Room(), must_have_rows=_spec_of)
    app.include_router(traffic.routes(cast("Desk", desk)))
    app.add_api_route(f"/v1/models/{MODEL}", _model)
    problems.install(app)
    supervisor = Supervisor()
    supervisor.run("http", server.run(app, server.bind(f"127.0.0.1:{yard.port}")))
    for name, run in sources.items():
        supervisor.run(name, on_thread(name, run))
    asyncio.get_running_loop().call_soon(is_up.set)
    await supervisor.wait()


def _spec_of(model: str) -> ModelSpec:
    if model != MODEL:
        raise NoModel(model)
    return SPEC


async def _model() -> dict[str, Any]:
    return {"name": MODEL}
