"""Our own search: the daemon's study on a real registry, by the machine's clock."""

from __future__ import annotations

import tempfile
import threading
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from tests.benchmarks.results import Figures

from retuned.errors import PermanentError
from retuned.registry.connect import connect
from retuned.registry.server import EmbeddedRedis
from retuned.registry.studies import StudyBook
from retuned.replay.policies import plain_losses
from retuned.rows.batch import LabelBatch, RowBatch
from retuned.rows.log import RowLog
from retuned.runtime.clock import SystemClock
from retuned.tune.bench import Bench
from retuned.tune.data import WindowFile
from retuned.tune.executor import Call, Limits, Priority
from retuned.tune.local import LocalExecutor
from retuned.tune.study import Studies
from retuned.tune.work import BlockRequest, predict_block
from retuned_pipelines.care.orders import Study
from retuned_pipelines.fitting import classes_of, encoded_target

if TYPE_CHECKING:
    from tests.benchmarks.search.contest import Contest

    from retuned.tune.executor import Executor
    from retuned_pipelines.recipe import Recipe
    from retuned_pipelines.search.trial import Trial
    from retuned_pipelines.window import Window

PARTS = 200
"""In how many parts the rows come."""


def search(contest: Contest) -> tuple[Figures, str]:
    """Study the older rows, fit what was found on all of them, and predict the newest.

    Returns:
        How it did, and what was found, in words.

    Raises:
        PermanentError: no trial succeeded.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="retuned-")))
        executor = LocalExecutor(workers=contest.threads, threads=1)
        stack.callback(executor.close)
        redis = EmbeddedRedis(folder / "redis")
        redis.start()
        stack.callback(redis.stop)
        client = connect(redis.socket)
        stack.callback(client.close)
        log = RowLog(folder / "rows.sqlite", contest.spec.task)
        stack.callback(log.close)
        older = contest.history.window.span(0, contest.searched)
        _take_in(log, older, contest.scored[0] - contest.searched)
        trials: list[Trial] = []
        studies = Studies(
            bench=Bench(executor=executor, directory=folder / "work", stop=threading.Event()),
            book=StudyBook(client),
            clock=SystemClock(),
            observe=lambda _, trial: trials.append(trial),
        )
        studies.bench.warm_up()
        order = Study(id="s1", as_of=log.counts().last_seq, champion=())
        studied = studies.run(contest.spec, order, log)
        if studied.best is None:
            message = f"no trial on {contest.stream.name} succeeded: {studied.stopped}"
            raise PermanentError(message)
        losses = _losses(contest, studied.best, executor, folder)
    figures = Figures(
        loss=float(losses.mean()),
        cpu_s=sum(trial.cost.cpu_s for trial in trials),
        trials=len(trials),
    )
    return figures, f"{studied.best.to_json()}; {studied.stopped}"


def _take_in(log: RowLog, window: Window, late: int) -> None:
    """Rows come in order, and each label when about ``late`` more rows have come.

    So what is validated on is as far from what is learned from as in the contest itself.
    """
    edges = np.linspace(0, len(window), PARTS + 1).astype(np.int64).tolist()
    known = 0
    for start, stop in pairwise(edges):
        part = window.span(start, stop)
        log.append_rows(
            RowBatch(
                ids=part.ids,
                time=part.time,
                is_timed=True,
                features=part.features,
                labels=pa.nulls(len(part), part.target.type),
            ),
            part.schema,
        )
        known = _tell(log, window, known, stop - late)
    _tell(log, window, known, len(window))


def _tell(log: RowLog, window: Window, first: int, until: int) -> int:
    """Labels from a position on come; returns up to which all are known."""
    if until <= first:
        return first
    labelled = window.span(first, until).labelled()
    if len(labelled):
        log.append_labels(LabelBatch(ids=labelled.ids, values=labelled.target))
    return until


def _losses(
    contest: Contest, recipe: Recipe, executor: Executor, folder: Path
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    window = contest.history.window
    classes = classes_of(window) if contest.spec.task.is_classification else ()
    with WindowFile.write(window, folder / "all.arrow") as file:
        request = BlockRequest(
            window=file,
            recipe=recipe,
            task=contest.spec.task,
            classes=classes,
            train=np.arange(contest.searched),
            validation=np.arange(*contest.scored),
            seed=contest.spec.search.seed,
            threads=1,
        )
        outcome = executor.submit(
            Call(
                function=predict_block,
                request=request,
                limits=Limits(wall_s=600.0, memory_mb=8000),
                priority=Priority.TAKEOVER,
                group="score",
            )
        ).result()
    if outcome.error:
        message = f"what was found could not be fitted: {outcome.error}"
        raise PermanentError(message)
    target = encoded_target(window, classes)[slice(*contest.scored)]
    return plain_losses(contest.spec, target, outcome.value)
