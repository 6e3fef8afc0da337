"""Calls in child processes of this machine: one process a call, from a fork server.

A process that has trained with LightGBM must not be forked, and one that trains again and
again grows; so each call gets a fresh child of a server that has only imported the
libraries. One thread of the daemon starts children, waits for them and ends those that
exceed their time.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import logging
import multiprocessing
import os
import threading
import time
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, replace
from multiprocessing import forkserver
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import TYPE_CHECKING

from retuned.tune import child
from retuned.tune.executor import CANCELLED, KILLED, OUT_OF_MEMORY, TIMEOUT, Call, Outcome
from retuned_pipelines.search.trial import Cost

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerProcess

_log = logging.getLogger(__name__)

PRELOAD = (
    "lightgbm",
    "numpy",
    "pandas",
    "pyarrow",
    "sklearn.ensemble",
    "threadpoolctl",
    "retuned.tune.child",
    "retuned.tune.orphan",
    "retuned.tune.work",
)

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""What numerical libraries read when they are loaded."""

CLOSE_S = 1.0
"""How long a child that is just being started may keep the executor from closing."""

_SIGKILL = -9
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(slots=True, eq=False)
class _Running:
    call: Call
    future: Future[Outcome]
    process: ForkServerProcess
    pipe: Connection
    begun: float
    is_cancelled: bool = False


@dataclass(slots=True, eq=False)
class _Starting:
    """A call on its way from the queue to a child; the fork server's own start takes seconds."""

    call: Call
    future: Future[Outcome]
    is_cancelled: bool = False


class LocalExecutor:
    """Runs calls in child processes, at most ``workers`` at a time."""

    def __init__(self, *, workers: int, threads: int) -> None:
        """Start the dispatching thread; the fork server starts with the first call."""
        self.threads = threads
        self.workers = workers
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(list(PRELOAD))
        self._queue: list[tuple[int, int, Call, Future[Outcome]]] = []
        self._numbers = itertools.count()
        self._running: list[_Running] = []
        self._starting: _Starting | None = None
        self._lock = threading.Lock()
        self._is_closed = False
        self._bell, self._ring = Pipe(duplex=False)
        self._thread = threading.Thread(target=self._dispatch, name="executor", daemon=True)
        self._thread.start()

    def submit(self, call: Call) -> Future[Outcome]:
        """Run a call when a worker is free; lower priority values first."""
        future: Future[Outcome] = Future()
        with self._lock:
            if self._is_closed:
                future.set_result(Outcome(error=CANCELLED))
                return future
            heapq.heappush(self._queue, (call.priority, next(self._numbers), call, future))
        self._wake()
        return future

    def cancel(self, group: str) -> None:
        """End all calls of a group, also those that run; their outcome is ``cancelled``."""
        with self._lock:
            dropped = [item for item in self._queue if item[2].group == group]
            self._queue = [item for item in self._queue if item[2].group != group]
            heapq.heapify(self._queue)
            for running in self._running:
                if running.call.group == group:
                    running.is_cancelled = True
            if self._starting is not None and self._starting.call.group == group:
                self._starting.is_cancelled = True
        for _, _, _, future in dropped:
            future.set_result(Outcome(error=CANCELLED))
        self._wake()

    def close(self) -> None:
        """End everything; running children are killed.

        A child that is only being started is not waited for longer than ``CLOSE_S``: the fork
        server may still be importing. It ends with the process.
        """
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
        self._wake()
        self._thread.join(CLOSE_S)
        with self._lock:
            starting = self._starting
        if starting is not None:
            self._drop_queue()
            _answer(starting.future, Outcome(error=CANCELLED))
            return
        self._thread.join()
        self._ring.close()
        self._bell.close()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):
            self._ring.send_bytes(b"!")

    def _dispatch(self) -> None:
        while not self._is_closed:
            try:
                self._start_due()
                self._wait()
                self._collect()
            except Exception:  # noqa: BLE001 (see below)
                # The one thread that everything waits for must not end.
                _log.exception("The executor stumbled.", extra={"action": "executor_error"})
                time.sleep(0.1)
        self._end_all()

    def _start_due(self) -> None:
        while len(self._running) < self.workers:
            with self._lock:
                if self._is_closed or not self._queue:
                    return
                _, _, call, future = heapq.heappop(self._queue)
                starting = self._starting = _Starting(call, future)
            try:
                self._start(starting)
            except Exception as error:  # noqa: BLE001 (this call fails, the executor goes on)
                _log.warning(
                    "A child process could not be started: %s", error, extra={"action": "no_child"}
                )
                _answer(future, Outcome(error=f"{type(error).__name__}: {error}"))
            finally:
                self._starting = None

    def _start(self, starting: _Starting) -> None:
        call = starting.call
        _ensure_fork_server(self.threads)
        ours, theirs = self._context.Pipe(duplex=False)
        process = self._context.Process(
            target=child.run, args=(call, self.threads, theirs), daemon=True
        )
        try:
            process.start()
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        running = _Running(call, starting.future, process, ours, time.monotonic())
        with self._lock:
            running.is_cancelled = starting.is_cancelled
            self._starting = None
            self._running.append(running)

    def _wait(self) -> None:
        now = time.monotonic()
        deadlines = [r.begun + r.call.limits.wall_s - now for r in self._running]
        timeout = max(0.0, min(deadlines)) if deadlines else None
        sources: list[Connection | int] = [self._bell]
        sources += [running.pipe for running in self._running]
        sources += [running.process.sentinel for running in self._running]
        wait(sources, timeout)
        while self._bell.poll():
            self._bell.recv_bytes()

    def _collect(self) -> None:
        now = time.monotonic()
        for running in list(self._running):
            is_late = now - running.begun > running.call.limits.wall_s
            if running.is_cancelled or is_late:
                self._finish(running, self._kill(running))
            elif running.pipe.poll() or not running.process.is_alive():
                self._finish(running, self._receive(running))

    def _receive(self, running: _Running) -> Outcome:
        try:
            outcome: Outcome = running.pipe.recv()
        except (EOFError, OSError):
            running.process.join()
            code = running.process.exitcode
            _log.warning(
                "A child process ended without an answer (exit code %s).",
                code,
                extra={"action": "child_lost"},
            )
            # SIGKILL from elsewhere is nearly always the kernel, out of memory.
            error = KILLED if code != _SIGKILL else f"{KILLED} ({OUT_OF_MEMORY}, or by hand)"
            return Outcome(error=error, cost=_cost_so_far(running))
        return replace(outcome, cost=replace(outcome.cost, wall_s=time.monotonic() - running.begun))

    def _kill(self, running: _Running) -> Outcome:
        cost = _cost_so_far(running)
        return Outcome(error=CANCELLED if running.is_cancelled else TIMEOUT, cost=cost)

    def _finish(self, running: _Running, outcome: Outcome) -> None:
        running.process.kill()
        running.process.join()
        running.process.close()
        running.pipe.close()
        with self._lock:
            self._running.remove(running)
        _answer(running.future, outcome)

    def _end_all(self) -> None:
        for running in list(self._running):
            running.is_cancelled = True
            self._finish(running, self._kill(running))
        self._drop_queue()

    def _drop_queue(self) -> None:
        with self._lock:
            waiting, self._queue = self._queue, []
        for _, _, _, future in waiting:
            future.set_result(Outcome(error=CANCELLED))


def _ensure_fork_server(threads: int) -> None:
    """Start the fork server, if it does not run, with as many threads as a call may use.

    Numerical libraries make their threads when they are loaded, one for each core, and these wait
    for work by turning round in place: children used 1.4 times the time that they took.
    """
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, str(threads)))
    try:
        forkserver.ensure_running()
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _answer(future: Future[Outcome], outcome: Outcome) -> None:
    # An executor that was closed while a child started has answered already.
    with contextlib.suppress(InvalidStateError):
        future.set_result(outcome)


def _cost_so_far(running: _Running) -> Cost:
    """Read what a child has used from /proc, before it is gone."""
    cpu_s = peak_mb = 0.0
    with contextlib.suppress(OSError, IndexError, ValueError):
        fields = Path(f"/proc/{running.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        cpu_s = (int(fields[11]) + int(fields[12])) / _TICKS
        status = Path(f"/proc/{running.process.pid}/status").read_text()
        peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        peak_mb = int(peak.split()[1]) * 1024 / 1e6
    return Cost(wall_s=time.monotonic() - running.begun, cpu_s=cpu_s, peak_mb=peak_mb)
