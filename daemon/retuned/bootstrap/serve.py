"""``retuned serve``: the daemon, or a standby that waits for its state directory."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

import retuned
from retuned.bootstrap.daemon import build
from retuned.bootstrap.stores import Place
from retuned.http import server
from retuned.http.entrance import Entrance
from retuned.registry.lease.tenure import Term
from retuned.registry.server import EmbeddedRedis, kept
from retuned.runtime import logs
from retuned.runtime.lock import StateLock
from retuned.runtime.notify import Systemd, stay_alive
from retuned.runtime.signals import signals
from retuned.runtime.supervisor import Supervisor
from retuned.runtime.thread import on_thread
from retuned.settings import load

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    from retuned.bootstrap.daemon import Daemon
    from retuned.settings import Settings

_log = logging.getLogger(__name__)


def serve(env_file: Path | None) -> int:
    """Run the daemon until it is told to stop.

    Args:
        env_file: the daemon's settings; None for the process environment alone.

    Returns:
        Exit code 0 after an orderly stop.

    Raises:
        ConfigError: the settings are wrong, or another daemon uses the state directory and has a
            Redis of its own there.
        RetunedError: something that the daemon cannot do without has ended.
    """
    settings = load(env_file)
    logs.set_up(settings.log.level, settings.log.format)
    with ExitStack() as stack:
        lock = stack.enter_context(StateLock(settings.state_dir))
        is_ours = lock.take()
        if not is_ours and not settings.redis.url:
            raise lock.refusal
        listener = server.bind(settings.http.listen)
        stack.callback(listener.close)
        redis = None if settings.redis.url else EmbeddedRedis(settings.state_dir / "redis")
        if redis is not None:
            # From the main thread: the kernel ends the server with the thread that began it.
            redis.start()
            stack.callback(redis.stop)
        place = Place(directory=settings.state_dir)
        if not is_ours:
            place = Place(directory=_cache(settings.state_dir, stack), has_rows=False)
        asyncio.run(_Run(settings, listener, redis, lock).run(place))
    return 0


def _cache(state_dir: Path, stack: ExitStack) -> Path:
    """A directory for a standby alone, with what an earlier one has left there."""
    for number in itertools.count(1):
        lock = stack.enter_context(StateLock(state_dir / "standby" / str(number)))
        if lock.take():
            return lock.directory
    raise AssertionError


class _Run:
    """One life of the process."""

    def __init__(
        self,
        settings: Settings,
        listener: socket.socket,
        redis: EmbeddedRedis | None,
        lock: StateLock,
    ) -> None:
        self._settings = settings
        self._listener = listener
        self._redis = redis
        self._lock = lock
        self._systemd = Systemd(os.environ.get("NOTIFY_SOCKET"))
        self._supervisor = Supervisor()

    async def run(self, place: Place) -> None:
        """Serve from a place until told to stop."""
        self._daemon = build(self._settings, place, self._redis)
        try:
            await self._serve(place)
        finally:
            self._systemd.stopping()
            _log.info("Stopping.", extra={"action": "stopping"})
            self._daemon.stack.close()
            _log.info("Stopped.", extra={"action": "stopped"})

    async def _serve(self, place: Place) -> None:
        entrance, supervisor = Entrance(self._daemon.app), self._supervisor
        with signals(stop=supervisor.stop, reload=self._reload):
            self._daemon.roster.follow()
            supervisor.run("http", server.run(entrance, self._listener))
            supervisor.run("watchdog", stay_alive(self._systemd))
            if self._redis is not None:
                supervisor.run("redis", kept(self._redis))
            if place.has_rows:
                _begin(self._daemon, supervisor)
            else:
                supervisor.run("standby", self._stand_by(entrance))
            self._systemd.ready()
            _log.info(
                "retuned %s listens on %s, %s in %s.",
                retuned.__version__,
                self._settings.http.listen,
                "state"
                if place.has_rows
                else "standby of the daemon that holds the state directory",
                self._settings.state_dir,
                extra={"action": "started" if place.has_rows else "standing_by"},
            )
            await supervisor.wait()

    async def _stand_by(self, entrance: Entrance) -> None:
        """Serve what others decide until the state directory is free, then go on from there.

        Predictions never stop: the new rooms are built beside those that serve.
        """
        shift = Supervisor()
        _begin(self._daemon, shift)
        watching = asyncio.create_task(self._taken(shift))
        try:
            await shift.wait()
        finally:
            watching.cancel()
        _log.warning(
            "The daemon that held %s is gone: its rows are reopened here.",
            self._settings.state_dir,
            extra={"action": "state_taken"},
        )
        old, place = self._daemon, Place(directory=self._settings.state_dir)
        self._daemon = await asyncio.to_thread(build, self._settings, place, None)
        try:
            await asyncio.to_thread(self._daemon.roster.follow)
            await entrance.change(self._daemon.app, at_most_s=server.STOP_S)
        finally:
            await asyncio.to_thread(old.stack.close)
        shift = Supervisor()
        _begin(self._daemon, shift)
        await shift.wait()

    async def _taken(self, shift: Supervisor) -> None:
        """End a shift as soon as the state directory is this process's."""
        while not self._lock.take():  # noqa: ASYNC110 (the kernel tells nobody)
            await asyncio.sleep(Term(lease_s=self._settings.lease_s).every_s)
        shift.stop()

    def _reload(self) -> None:
        self._systemd.reloading()
        self._daemon.roster.follow()
        self._systemd.ready()


def _begin(daemon: Daemon, supervisor: Supervisor) -> None:
    """Begin a daemon's loops."""
    if daemon.leasing is not None:
        supervisor.run("leases", daemon.leasing.run())
    supervisor.run("registry", daemon.forwarder.run())
    supervisor.run("audit", daemon.auditing.run())
    supervisor.run("rows", daemon.housekeeping.run())
    for name, run in daemon.sources.items():
        supervisor.run(name, on_thread(name, run))
