"""The composition root: builds everything and hands it to each other; nothing else does."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import retuned
from retuned.auditing import Auditing
from retuned.exchange.exchange import Exchange
from retuned.housekeeping import Housekeeping
from retuned.http import server
from retuned.http.app import build
from retuned.http.desk import Desk
from retuned.ingest.body import Room
from retuned.ingest.intake import Intake
from retuned.keeper import Keeper, under_care
from retuned.registry.connect import connect, ping
from retuned.registry.event_log import EventLog
from retuned.registry.forward import Forwarder
from retuned.registry.journal import Journal
from retuned.registry.server import EmbeddedRedis, kept
from retuned.registry.signing import SigningKey
from retuned.registry.studies import StudyBook
from retuned.registry.versions import Registry
from retuned.roster import Roster
from retuned.rows.house import RowLogs
from retuned.runtime import logs
from retuned.runtime.clock import SystemClock
from retuned.runtime.lanes import ThreadLanes
from retuned.runtime.lock import locked
from retuned.runtime.metrics import Metrics
from retuned.runtime.notify import Systemd, stay_alive
from retuned.runtime.schedule import Schedule
from retuned.runtime.signals import signals
from retuned.runtime.supervisor import Supervisor
from retuned.runtime.thread import on_thread
from retuned.serve.served_log import ServedLog
from retuned.serve.stage import Stage
from retuned.settings import load, load_models
from retuned.sources.inbox import Inboxes
from retuned.sources.spool import Spool
from retuned.sources.stream import StreamSource
from retuned.tune.bench import Bench
from retuned.tune.local import LocalExecutor
from retuned.tune.report import Reports
from retuned.tune.study import Studies
from retuned.workshop import Workshop

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

    from fastapi import FastAPI

    from retuned.rows.log import RowLog
    from retuned.runtime.clock import Clock
    from retuned.settings import Settings
    from retuned_pipelines.spec import ModelSpec

_log = logging.getLogger(__name__)

QUICK_THREADS = 8
DAY_S = 86400.0


def serve(env_file: Path | None) -> int:
    """Run the daemon until it is told to stop.

    Args:
        env_file: the daemon's settings; None for the process environment alone.

    Returns:
        Exit code 0 after an orderly stop.

    Raises:
        ConfigError: the settings are wrong, or another daemon uses the state directory.
        RetunedError: something that the daemon cannot do without has ended.
    """
    settings = load(env_file)
    logs.set_up(settings.log.level, settings.log.format)
    with ExitStack() as stack:
        stack.enter_context(locked(settings.state_dir))
        listener = server.bind(settings.http.listen)
        stack.callback(listener.close)
        redis = None if settings.redis.url else EmbeddedRedis(settings.state_dir / "redis")
        if redis is not None:
            # From the main thread: the kernel ends the server with the thread that began it.
            redis.start()
            stack.callback(redis.stop)
        asyncio.run(_run(settings, listener, redis))
    return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Daemon:
    """What runs: the app and the loops, and how they are stopped."""

    app: FastAPI
    auditing: Auditing
    forwarder: Forwarder
    housekeeping: Housekeeping
    roster: Roster
    sources: Mapping[str, Callable[[threading.Event], None]]
    stack: ExitStack


async def _run(settings: Settings, listener: socket.socket, redis: EmbeddedRedis | None) -> None:
    systemd = Systemd(os.environ.get("NOTIFY_SOCKET"))
    supervisor = Supervisor()
    daemon = _build(settings, redis)

    def reload() -> None:
        systemd.reloading()
        daemon.roster.follow()
        systemd.ready()

    try:
        with signals(stop=supervisor.stop, reload=reload):
            daemon.roster.follow()
            supervisor.run("http", server.run(daemon.app, listener))
            supervisor.run("registry", daemon.forwarder.run())
            supervisor.run("audit", daemon.auditing.run())
            supervisor.run("rows", daemon.housekeeping.run())
            supervisor.run("watchdog", stay_alive(systemd))
            for name, run in daemon.sources.items():
                supervisor.run(name, on_thread(name, run))
            if redis is not None:
                supervisor.run("redis", kept(redis))
            systemd.ready()
            _log.info(
                "retuned %s listens on %s, state in %s.",
                retuned.__version__,
                settings.http.listen,
                settings.state_dir,
                extra={"action": "started"},
            )
            await supervisor.wait()
    finally:
        systemd.stopping()
        _log.info("Stopping.", extra={"action": "stopping"})
        daemon.stack.close()
        _log.info("Stopped.", extra={"action": "stopped"})


def _build(settings: Settings, redis: EmbeddedRedis | None) -> _Daemon:
    """Build everything; what is closed last is built first."""
    state, clock, stack = settings.state_dir, SystemClock(), ExitStack()
    key = SigningKey.load_or_make(settings.key_file)
    client = connect(settings.redis if redis is None else redis.socket)
    stack.callback(client.close)
    rows = RowLogs(state / "rows", spare=settings.rows.spare_mb * 1_000_000, now=clock.now)
    stack.callback(rows.close)
    journal = Journal(state / "journal.sqlite", clock)
    stack.callback(journal.close)
    metrics = Metrics()
    book, events = StudyBook(client), EventLog(client, key, journal)
    keep = settings.registry.keep_versions
    registry = Registry(client, key, journal, events=events, keep_versions=keep)
    forwarder = Forwarder(events, lambda: ping(client))
    served = ServedLog(state / "served", dropped=metrics.unlogged)
    stack.callback(served.close)
    cores = len(os.sched_getaffinity(0))
    workers = settings.search.workers or cores
    lanes = ThreadLanes(quick=QUICK_THREADS, study=workers)
    stack.callback(lanes.close)
    executor = LocalExecutor(workers=workers, threads=max(1, cores // workers))
    stack.callback(executor.close)
    stop = threading.Event()
    bench = Bench(executor=executor, directory=state / "work", stop=stop)
    stage = Stage(state / "champions", key, prove=bench.prove)
    studies = Studies(bench=bench, book=book, clock=clock, observe=metrics.trial)
    workshop = Workshop(
        rows=rows,
        registry=registry,
        studies=studies,
        bench=bench,
        stage=stage,
        clock=clock,
        served=served,
    )
    schedule = Schedule()

    def new_keeper(spec: ModelSpec) -> Keeper:
        return Keeper(
            spec,
            journal=journal,
            carry_out=workshop.carry_out,
            count=workshop.count,
            lanes=lanes,
            clock=clock,
            observe=metrics.event,
        )

    def log_of(model: str) -> RowLog:
        return rows.of(model, roster.keepers[model].spec.task)

    def spec_of(model: str) -> ModelSpec:
        return under_care(roster.keepers, model).spec

    def notice(model: str) -> None:
        under_care(roster.keepers, model).notice()

    auditing = Auditing(keepers=lambda: roster.keepers, custody=workshop.custody, events=events)
    roster = Roster(
        load=lambda: load_models(settings.models_dir),
        new_keeper=new_keeper,
        adopt=workshop.adopt,
        uphold=auditing.uphold,
        stage=stage,
        schedule=schedule,
        lanes=lanes,
        clock=clock,
    )
    reports = Reports(journal=journal, log_of=log_of, bench=bench)
    room = Room(
        whole=settings.http.max_body_mb * 1_000_000,
        upload=settings.http.max_upload_mb * 1_000_000,
        folder=state / "work" / "uploads",
    )
    intake = Intake(
        rows=rows,
        spec_of=spec_of,
        notice=notice,
        metrics=metrics,
        clock=clock,
        room=room,
        tell=lambda model, event: under_care(roster.keepers, model).tell(event),
    )
    desk = Desk(
        keepers=lambda: roster.keepers,
        rows=rows,
        intake=intake,
        stage=stage,
        served=served,
        registry=registry,
        studies=book,
        events=events,
        journal=journal,
        render=reports.render,
        is_ready=lambda: forwarder.is_up and roster.is_settled,
        metrics=metrics,
        exchange=Exchange(
            registry=registry, stage=stage, rows=rows, bench=bench, release=retuned.__version__
        ),
        clock=clock,
        hosts=frozenset(settings.http.hosts),
        room=room,
        version=retuned.__version__,
    )
    schedule.start()
    stack.callback(schedule.stop)
    stack.callback(stop.set)
    bench.warm_up()
    sources = _sources(settings, lambda: roster.keepers, intake, metrics, clock, stack)
    housekeeping = Housekeeping(rows=rows, keepers=lambda: roster.keepers, clock=clock)
    return _Daemon(
        app=build(desk),
        auditing=auditing,
        forwarder=forwarder,
        housekeeping=housekeeping,
        roster=roster,
        sources=sources,
        stack=stack,
    )


def _sources(  # noqa: PLR0913, PLR0917 (what sources share)
    settings: Settings,
    models: Callable[[], Collection[str]],
    intake: Intake,
    metrics: Metrics,
    clock: Clock,
    stack: ExitStack,
) -> Mapping[str, Callable[[threading.Event], None]]:
    """Sources beside HTTP by name, as what each of their threads runs."""
    sources: dict[str, Callable[[threading.Event], None]] = {}
    if settings.spool.every_s:
        sources["spool"] = Spool(
            settings.spool_dir,
            models=models,
            take=intake.take,
            every_s=settings.spool.every_s,
            keep_done_s=settings.spool.keep_done_days * DAY_S,
            metrics=metrics,
            clock=clock,
        ).run
    if settings.stream.url:
        client = connect(settings.stream)
        stack.callback(client.close)
        sources["stream"] = StreamSource(
            Inboxes(client, prefix=settings.stream.prefix),
            models=models,
            take=intake.take,
            keep_s=settings.stream.keep_s,
            metrics=metrics,
            clock=clock,
        ).run
    return sources
