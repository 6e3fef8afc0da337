"""Where a keeper's work runs: on threads when serving, in line when replaying.

The work itself is waiting, SQLite and small arithmetic; what needs a core for long runs in
child processes. Studies have a lane of their own, so that many of them cannot keep checks
and refits from running.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger(__name__)


class Lane(StrEnum):
    """Which work may wait for which."""

    QUICK = "quick"
    STUDY = "study"


class Lanes(Protocol):
    """Runs pieces of work, each at most once, in no promised order across lanes.

    `submit` may be called from any thread, also from within a piece of work. Work that is
    waiting when the process ends is lost: whoever submits keeps what is needed to submit it
    again.
    """

    def submit(self, lane: Lane, work: Callable[[], None], *, delay_s: float = 0.0) -> None:
        """Run the work in its lane, not before the delay has passed."""


class ThreadLanes:
    """Lanes on two thread pools, with one more thread that waits for what is delayed."""

    def __init__(self, *, quick: int, study: int) -> None:
        """Start with that many threads a lane."""
        self._pools = {
            Lane.QUICK: ThreadPoolExecutor(quick, thread_name_prefix="quick"),
            Lane.STUDY: ThreadPoolExecutor(study, thread_name_prefix="study"),
        }
        self._delayed: list[tuple[float, int, Lane, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._change = threading.Condition()
        self._is_closed = False
        self._waiter = threading.Thread(target=self._wait, name="delayed", daemon=True)
        self._waiter.start()

    def submit(self, lane: Lane, work: Callable[[], None], *, delay_s: float = 0.0) -> None:
        """Run the work in its lane; after `close` nothing is taken any more."""
        with self._change:
            if self._is_closed:
                return
            if delay_s > 0:
                due = time.monotonic() + delay_s
                heapq.heappush(self._delayed, (due, next(self._numbers), lane, work))
                self._change.notify()
                return
            self._pools[lane].submit(_guarded, work)

    def close(self) -> None:
        """Take nothing more, drop what waits, and wait for what runs."""
        with self._change:
            self._is_closed = True
            self._change.notify()
        for pool in self._pools.values():
            pool.shutdown(wait=True, cancel_futures=True)
        self._waiter.join()

    def _wait(self) -> None:
        with self._change:
            while not self._is_closed:
                now = time.monotonic()
                while self._delayed and self._delayed[0][0] <= now:
                    _, _, lane, work = heapq.heappop(self._delayed)
                    self._pools[lane].submit(_guarded, work)
                self._change.wait(self._delayed[0][0] - now if self._delayed else None)


class InlineLanes:
    """Lanes without threads: work waits in a queue until `drain` runs it."""

    def __init__(self) -> None:
        """Start empty."""
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    def submit(self, lane: Lane, work: Callable[[], None], *, delay_s: float = 0.0) -> None:
        """Queue the work; what is delayed comes after what is not."""
        del lane
        heapq.heappush(self._queue, (delay_s, next(self._numbers), work))

    def drain(self, *, at_most: int = 100_000) -> None:
        """Run until nothing waits, what the work itself submits included.

        Raises:
            RuntimeError: more pieces of work than ``at_most``: something goes round in circles.
        """
        for _ in range(at_most):
            if not self._queue:
                return
            heapq.heappop(self._queue)[2]()
        if not self._queue:
            return
        message = f"work still waits after {at_most} pieces"
        raise RuntimeError(message)


def _guarded(work: Callable[[], None]) -> None:
    try:
        work()
    except Exception:  # noqa: BLE001 (one piece of work never ends its lane)
        _log.exception("A piece of work failed.", extra={"action": "work_failed"})
