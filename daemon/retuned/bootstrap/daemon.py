"""Building a daemon: the rooms around its stores, and the loops that turn in them."""

from __future__ import annotations

import os
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import retuned
from retuned.auditing import Auditing
from retuned.bootstrap.sources import sources_of
from retuned.bootstrap.stores import stores_of
from retuned.exchange.exchange import Exchange
from retuned.housekeeping import Housekeeping
from retuned.http.app import build as build_app
from retuned.http.desk import Desk
from retuned.ingest.body import Room
from retuned.ingest.intake import Intake
from retuned.keeper import Keeper, under_care
from retuned.leasing import Leasing
from retuned.registry.connect import ping
from retuned.registry.history.forward import Forwarder
from retuned.registry.lease.tenure import Alone, Role, Term
from retuned.roster import Roster
from retuned.runtime.lanes import ThreadLanes
from retuned.runtime.metrics import Metrics
from retuned.runtime.schedule import Schedule
from retuned.serve.stage import Stage
from retuned.settings import load_models
from retuned.tune.bench import Bench
from retuned.tune.local import LocalExecutor
from retuned.tune.report import Reports
from retuned.tune.study import Studies
from retuned.workshop import Workshop

if TYPE_CHECKING:
    from fastapi import FastAPI

    from retuned.bootstrap.sources import Sources
    from retuned.bootstrap.stores import Place, Stores
    from retuned.registry.server import EmbeddedRedis
    from retuned.rows.log import RowLog
    from retuned.settings import Settings
    from retuned_pipelines.spec import ModelSpec

QUICK_THREADS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemon:
    """What runs: the app and the loops, and how they are stopped."""

    app: FastAPI
    auditing: Auditing
    forwarder: Forwarder
    housekeeping: Housekeeping
    leasing: Leasing | None
    roster: Roster
    sources: Sources
    stack: ExitStack


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tools:
    """What carries out orders."""

    lanes: ThreadLanes
    bench: Bench
    stage: Stage
    workshop: Workshop


def build(settings: Settings, place: Place, redis: EmbeddedRedis | None) -> Daemon:
    """Build everything; what is closed last is built first.

    Args:
        settings: the daemon's.
        place: where it keeps what it keeps.
        redis: the private server; None where the settings name one.

    Raises:
        RetunedError: something cannot be opened.
    """
    stack, metrics = ExitStack(), Metrics()
    stores = stores_of(settings, place, redis, metrics, stack)
    stop = threading.Event()
    tools = _tools(stores, place, settings, metrics, stop, stack)
    roster, auditing, leasing = _care(settings, stores, tools, metrics, stack)
    forwarder = Forwarder(stores.events, lambda: ping(stores.client))
    room = _room(settings, place)
    intake = _intake(stores, room, roster, metrics)
    desk = _desk(
        settings,
        stores,
        tools,
        roster=roster,
        intake=intake,
        room=room,
        metrics=metrics,
        forwarder=forwarder,
        leasing=leasing,
    )
    stack.callback(stop.set)
    tools.bench.warm_up()
    return Daemon(
        app=build_app(desk),
        auditing=auditing,
        forwarder=forwarder,
        housekeeping=Housekeeping(
            rows=stores.rows, keepers=lambda: roster.keepers, clock=stores.clock
        ),
        leasing=leasing,
        roster=roster,
        sources=sources_of(settings, stores, lambda: roster.keepers, intake, metrics, stack),
        stack=stack,
    )


def _tools(  # noqa: PLR0913, PLR0917 (what tools are made of)
    stores: Stores,
    place: Place,
    settings: Settings,
    metrics: Metrics,
    stop: threading.Event,
    stack: ExitStack,
) -> _Tools:
    cores = len(os.sched_getaffinity(0))
    workers = settings.search.workers or cores
    lanes = ThreadLanes(quick=QUICK_THREADS, study=workers)
    stack.callback(lanes.close)
    executor = LocalExecutor(workers=workers, threads=max(1, cores // workers))
    stack.callback(executor.close)
    bench = Bench(executor=executor, directory=place.directory / "work", stop=stop)
    stage = Stage(place.directory / "champions", stores.key, prove=bench.prove)
    workshop = Workshop(
        rows=stores.rows,
        registry=stores.registry,
        studies=Studies(
            bench=bench, book=stores.studies, clock=stores.clock, observe=metrics.trial
        ),
        bench=bench,
        stage=stage,
        clock=stores.clock,
        served=stores.served,
    )
    return _Tools(lanes=lanes, bench=bench, stage=stage, workshop=workshop)


def _care(
    settings: Settings, stores: Stores, tools: _Tools, metrics: Metrics, stack: ExitStack
) -> tuple[Roster, Auditing, Leasing | None]:
    """The keepers, who looks after the registry, and after the leases."""
    tenures, schedule = stores.tenures, Schedule()

    def new_keeper(spec: ModelSpec) -> Keeper:
        return Keeper(
            spec,
            journal=stores.journal,
            carry_out=tools.workshop.carry_out,
            count=tools.workshop.count,
            lanes=tools.lanes,
            clock=stores.clock,
            observe=metrics.event,
            may_decide=lambda: tenures.of(spec.name).role is Role.HOLDER,
        )

    auditing = Auditing(
        keepers=lambda: roster.keepers,
        custody=tools.workshop.custody,
        events=stores.events,
        follow=tools.workshop.follow,
        is_held=lambda model: tenures.of(model).is_held,
    )
    roster = Roster(
        load=lambda: load_models(settings.models_dir),
        new_keeper=new_keeper,
        adopt=tools.workshop.adopt,
        uphold=auditing.uphold,
        ask=lambda model: None if leasing is None else leasing.ask(model),
        stage=tools.stage,
        schedule=schedule,
        lanes=tools.lanes,
        clock=stores.clock,
    )
    leasing = _leasing(settings, stores, roster, stack)
    schedule.start()
    stack.callback(schedule.stop)
    return roster, auditing, leasing


def _leasing(
    settings: Settings, stores: Stores, roster: Roster, stack: ExitStack
) -> Leasing | None:
    """Who keeps the leases; nobody where there is one daemon only."""
    if isinstance(stores.tenures, Alone):
        return None
    leasing = Leasing(
        tenures=stores.tenures,
        keepers=lambda: roster.keepers,
        take_up=roster.take_up,
        term=Term(lease_s=settings.lease_s),
    )
    stack.callback(leasing.close)
    return leasing


def _room(settings: Settings, place: Place) -> Room:
    return Room(
        whole=settings.http.max_body_mb * 1_000_000,
        upload=settings.http.max_upload_mb * 1_000_000,
        folder=place.directory / "work" / "uploads",
    )


def _intake(stores: Stores, room: Room, roster: Roster, metrics: Metrics) -> Intake:
    return Intake(
        rows=stores.rows,
        spec_of=lambda model: under_care(roster.keepers, model).spec,
        notice=lambda model: under_care(roster.keepers, model).notice(),
        metrics=metrics,
        clock=stores.clock,
        room=room,
        tell=lambda model, event: under_care(roster.keepers, model).tell(event),
    )


def _desk(  # noqa: PLR0913 (what requests are answered from)
    settings: Settings,
    stores: Stores,
    tools: _Tools,
    *,
    roster: Roster,
    intake: Intake,
    room: Room,
    metrics: Metrics,
    forwarder: Forwarder,
    leasing: Leasing | None,
) -> Desk:
    def log_of(model: str) -> RowLog:
        return stores.rows.of(model, under_care(roster.keepers, model).spec.task)

    return Desk(
        keepers=lambda: roster.keepers,
        rows=stores.rows,
        intake=intake,
        stage=tools.stage,
        served=stores.served,
        registry=stores.registry,
        studies=stores.studies,
        events=stores.events,
        journal=stores.journal,
        render=Reports(journal=stores.journal, log_of=log_of, bench=tools.bench).render,
        is_ready=lambda: forwarder.is_up and roster.is_settled,
        tenures=stores.tenures,
        adopt=None if leasing is None else leasing.adopt,
        metrics=metrics,
        exchange=Exchange(
            registry=stores.registry,
            stage=tools.stage,
            rows=stores.rows,
            bench=tools.bench,
            release=retuned.__version__,
        ),
        clock=stores.clock,
        hosts=frozenset(settings.http.hosts),
        room=room,
        version=retuned.__version__,
    )
