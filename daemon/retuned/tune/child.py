"""Inside a child process: limits, the call itself, and what it cost."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import multiprocessing
import os
import resource
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from retuned.tune.executor import OUT_OF_MEMORY
from retuned.tune.gpu import nvml, watched
from retuned.tune.inline import run_measured

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from retuned.tune.executor import Call, Outcome

_MEGABYTE = 1_000_000
_PR_SET_PDEATHSIG = 1
_NICENESS = 10


def run(call: Call, threads: int, pipe: Connection) -> None:
    """Run one call and send its outcome; the whole life of a child process."""
    _prepare(threads)
    _limit_memory(call.limits.memory_mb)
    _forget_peak()
    with watched(nvml()) as gpu:
        outcome = run_measured(call)
    cost = dataclasses.replace(outcome.cost, peak_mb=_peak_mb(), gpu=gpu.use())
    outcome = dataclasses.replace(outcome, cost=cost)
    # What follows must not fail for want of memory.
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, _hard_limit()))
    # Nobody is left to hear it where the daemon was killed in the meantime.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        _send(pipe, outcome)
    pipe.close()


def _send(pipe: Connection, outcome: Outcome) -> None:
    try:
        pipe.send(outcome)
    except (BrokenPipeError, ConnectionResetError):
        raise
    except MemoryError:
        pipe.send(dataclasses.replace(outcome, value=None, error=OUT_OF_MEMORY))
    except Exception as error:  # noqa: BLE001 (a value that cannot be sent is an outcome too)
        text = f"{type(error).__name__}: {error}"
        pipe.send(dataclasses.replace(outcome, value=None, error=text))


def _prepare(threads: int) -> None:
    # The fork server may outlive the daemon for as long as one of its children runs; so each
    # child looks for the daemon itself.
    threading.Thread(target=_end_with_daemon, name="orphan", daemon=True).start()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with contextlib.suppress(OSError):
        os.nice(_NICENESS)
    from threadpoolctl import threadpool_limits  # noqa: PLC0415 (children only)

    threadpool_limits(threads)


def _end_with_daemon() -> None:
    daemon = multiprocessing.parent_process()
    if daemon is not None:
        daemon.join()
        os._exit(1)


def _limit_memory(megabytes: int) -> None:
    limit = _status_bytes("VmSize") + megabytes * _MEGABYTE
    resource.setrlimit(resource.RLIMIT_AS, (limit, _hard_limit()))


def _hard_limit() -> int:
    return resource.getrlimit(resource.RLIMIT_AS)[1]


def _forget_peak() -> None:
    # Otherwise the peak would be that of the fork server. Not allowed in every sandbox.
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak_mb() -> float:
    return _status_bytes("VmHWM") / _MEGABYTE


def _status_bytes(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return 0
