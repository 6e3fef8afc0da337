"""The rooms of a daemon around one keeper, on temporary stores and a virtual clock."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from retuned.keeper import Keeper
from retuned.registry.connect import connect
from retuned.registry.journal import Journal
from retuned.registry.server import EmbeddedRedis
from retuned.registry.signing import SigningKey
from retuned.registry.studies import StudyBook
from retuned.registry.versions import Registry
from retuned.rows.house import RowLogs
from retuned.runtime.clock import VirtualClock
from retuned.runtime.lanes import InlineLanes
from retuned.serve.stage import Stage
from retuned.tune.bench import Bench
from retuned.tune.study import Studies
from retuned.tune.work import FitRequest
from retuned.workshop import Workshop

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from retuned.registry.history.events import Event
    from retuned.rows.log import RowLog
    from retuned.tune.executor import Call, Executor, Outcome
    from retuned_pipelines.search.trial import Trial
    from retuned_pipelines.spec import ModelSpec


PURPOSES = {
    "run_trial": "trials",
    "predict_block": "gate",
    "fit_artifacts": "refits",
}
"""What the functions of child processes are for."""


class Metered:
    """An executor that adds up what its calls cost, and how many models were fitted to serve."""

    def __init__(self, executor: Executor) -> None:
        """Pass calls on to an executor."""
        self._executor = executor
        self._lock = threading.Lock()
        self.cpu_s: defaultdict[str, float] = defaultdict(float)
        self.fits = 0

    @property
    def workers(self) -> int:
        """Calls that run at the same time, at most."""
        return self._executor.workers

    @property
    def threads(self) -> int:
        """Threads that one call may use."""
        return self._executor.threads

    def submit(self, call: Call) -> Future[Outcome]:
        """Run a call when a worker is free."""
        if isinstance(call.request, FitRequest):
            self.fits += len(call.request.recipes)
        future = self._executor.submit(call)
        purpose = PURPOSES.get(call.function.__name__, "other")
        future.add_done_callback(lambda done: self._add(purpose, done))
        return future

    def cancel(self, group: str) -> None:
        """End all calls of a group."""
        self._executor.cancel(group)

    def close(self) -> None:
        """End everything."""
        self._executor.close()

    @contextmanager
    def own(self, purpose: str) -> Iterator[None]:
        """Count what this process itself uses in the meantime."""
        before = time.process_time()
        try:
            yield
        finally:
            with self._lock:
                self.cpu_s[purpose] += time.process_time() - before

    def _add(self, purpose: str, future: Future[Outcome]) -> None:
        with self._lock:
            self.cpu_s[purpose] += future.result().cost.cpu_s


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """A keeper and what it needs; see `open_house`.

    Attributes:
        keeper: takes care of the model.
        journal: holds the drift reports.
        log: the model's rows.
        stage: what serves.
        clock: stands still until it is moved.
        lanes: work waits here until it is drained.
        metered: what fits cost.
        events: what the keeper told, oldest first.
        trials: trials that were made.
    """

    keeper: Keeper
    journal: Journal
    log: RowLog
    stage: Stage
    clock: VirtualClock
    lanes: InlineLanes
    metered: Metered
    events: list[Event] = field(default_factory=list)
    trials: list[Trial] = field(default_factory=list)

    def settle(self) -> None:
        """Let everything happen that follows from what came."""
        with self.metered.own("watching"):
            self.keeper.notice()
            self.lanes.drain()


@contextmanager
def open_house(spec: ModelSpec, directory: Path, executor: Executor, now: float) -> Iterator[House]:
    """Build the very rooms that serve, around one keeper. From the main thread.

    Args:
        spec: the model.
        directory: for the stores; a short path, because of the private Redis' socket.
        executor: runs fits.
        now: the first moment, seconds since the epoch.
    """
    with ExitStack() as stack:
        redis = EmbeddedRedis(directory / "redis")
        redis.start()
        stack.callback(redis.stop)
        client = connect(redis.socket)
        stack.callback(client.close)
        clock, lanes, metered = VirtualClock(now), InlineLanes(), Metered(executor)
        key = SigningKey.load_or_make(directory / "signing.key")
        rows = RowLogs(directory / "rows", now=clock.now)
        stack.callback(rows.close)
        journal = Journal(directory / "journal.sqlite", clock)
        stack.callback(journal.close)
        stage = Stage(directory / "champions", key)
        bench = Bench(executor=metered, directory=directory / "work", stop=threading.Event())
        events: list[Event] = []
        trials: list[Trial] = []
        workshop = Workshop(
            rows=rows,
            registry=Registry(client, key),
            studies=Studies(
                bench=bench,
                book=StudyBook(client),
                clock=clock,
                observe=lambda _, trial: trials.append(trial),
            ),
            bench=bench,
            stage=stage,
            clock=clock,
        )
        keeper = Keeper(
            spec,
            journal=journal,
            carry_out=workshop.carry_out,
            count=workshop.count,
            lanes=lanes,
            clock=clock,
            observe=events.append,
        )
        keeper.resume()
        yield House(
            keeper=keeper,
            journal=journal,
            log=rows.of(spec.name, spec.task),
            stage=stage,
            clock=clock,
            lanes=lanes,
            metered=metered,
            events=events,
            trials=trials,
        )
