"""Three studies of a stream: a first one, and a second one with and without its find."""

from __future__ import annotations

import math
import tempfile
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from retuned.registry.connect import connect
from retuned.registry.server import EmbeddedRedis
from retuned.registry.studies import StudyBook
from retuned.replay.history import read_history
from retuned.rows.batch import LabelBatch, RowBatch
from retuned.rows.house import RowLogs
from retuned.runtime.clock import SystemClock
from retuned.tune.bench import Bench
from retuned.tune.local import LocalExecutor
from retuned.tune.study import Studies
from retuned_pipelines.care.orders import Study
from retuned_pipelines.evaluate.metrics import loss_of
from retuned_pipelines.search.study import finds
from retuned_pipelines.search.trial import Origin

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from retuned.rows.log import RowLog
    from retuned_pipelines.recipe import Recipe
    from retuned_pipelines.search.trial import Trial
    from retuned_pipelines.spec import ModelSpec
    from retuned_pipelines.window import Window

FIRST, SECOND = 0.5, 0.6
"""Shares of the rows that the two studies know."""

WORKERS = 2


@dataclass(frozen=True, slots=True)
class Race:
    """After how many trials a loss was reached by the study with finds, and by that without."""

    warm: int | None
    cold: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a stream's studies.

    Attributes:
        made: trials of the first study.
        made_warm: of the second.
        made_cold: of the same without finds.
        first: the first study's final loss, which was one on other rows.
        find: the loss of the best find on the rows of now.
        last: the cold study's final loss, or one that is not worth a longer search
            (`SEARCH__MIN_GAIN`).
    """

    made: int
    made_warm: int
    made_cold: int
    first: Race
    find: Race
    last: Race


def measured(spec: ModelSpec, path: Path) -> Outcome:
    """Run the three studies of a stream, each as the daemon would."""
    window = read_history(path, spec, periods=1, bootstrap=FIRST).window
    with _room(spec) as room:
        room.take(window.span(0, int(FIRST * len(window))))
        begun = room.study("s1")
        room.take(window.span(int(FIRST * len(window)), int(SECOND * len(window))))
        warm = room.study("s2", finds(begun))
        cold = room.study("s3")
    last = final_score(cold)
    goals = {
        "first": final_score(begun),
        "find": final_score([trial for trial in warm if trial.origin is Origin.EARLIER]),
        "last": last - spec.search.min_gain * abs(loss_of(spec.metric, last)),
    }
    races = {name: Race(until(warm, goal), until(cold, goal)) for name, goal in goals.items()}
    return Outcome(made=len(begun), made_warm=len(warm), made_cold=len(cold), **races)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Room:
    spec: ModelSpec
    studies: Studies
    log: RowLog

    def take(self, part: Window) -> None:
        """Take in rows with their labels."""
        nothing = pa.nulls(len(part), part.target.type)
        batch = RowBatch(
            ids=part.ids, time=part.time, is_timed=True, features=part.features, labels=nothing
        )
        self.log.append_rows(batch, part.schema)
        self.log.append_labels(LabelBatch(ids=part.ids, values=part.target))

    def study(self, name: str, finds: Sequence[Recipe] = ()) -> tuple[Trial, ...]:
        """Run a study on everything known; its trials."""
        as_of = self.log.counts().last_seq
        order = Study(id=name, as_of=as_of, champion=(), finds=tuple(finds))
        self.studies.run(self.spec, order, self.log)
        return self.studies.book.trials(self.spec.name, name)


@contextmanager
def _room(spec: ModelSpec) -> Iterator[_Room]:
    with tempfile.TemporaryDirectory(prefix="retuned-") as folder, ExitStack() as stack:
        directory = Path(folder)
        redis = EmbeddedRedis(directory / "redis")
        redis.start()
        stack.callback(redis.stop)
        client = connect(redis.socket)
        stack.callback(client.close)
        clock = SystemClock()
        rows = RowLogs(directory / "rows", now=clock.now)
        stack.callback(rows.close)
        executor = LocalExecutor(workers=WORKERS, threads=1)
        stack.callback(executor.close)
        bench = Bench(executor=executor, directory=directory / "work", stop=threading.Event())
        studies = Studies(
            bench=bench, book=StudyBook(client), clock=clock, observe=lambda _model, _trial: None
        )
        yield _Room(spec=spec, studies=studies, log=rows.of(spec.name, spec.task))


def final_score(trials: Sequence[Trial]) -> float:
    """The best score of a study."""
    return max((t.score for t in trials if t.score is not None), default=-math.inf)


def until(trials: Sequence[Trial], score: float) -> int | None:
    """Trials until one reached a score; None where none did."""
    for trial in trials:
        if trial.score is not None and trial.score >= score:
            return trial.number + 1
    return None
