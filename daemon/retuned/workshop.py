"""Where orders are carried out: one method an order, each returning the fact that results."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import singledispatchmethod
from typing import TYPE_CHECKING

from retuned.errors import PermanentError
from retuned.keeper import Interrupted
from retuned.registry.events import Event, EventKind
from retuned.tune import judge, refit, study
from retuned.watch import measure, score_matured
from retuned_pipelines.care.facts import Arrived, Fact, Fitted, Judged, Measured, Published, Studied
from retuned_pipelines.care.orders import Judge, Measure, Publish, Refit, Study, Work, announcement

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from retuned.registry.studies import StudyBook
    from retuned.registry.versions import Registry
    from retuned.rows.house import RowLogs
    from retuned.runtime.clock import Clock
    from retuned.serve.stage import Stage
    from retuned.tune.executor import Executor
    from retuned_pipelines.search.trial import Trial
    from retuned_pipelines.spec import ModelSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """The tools that orders need. May be used from any thread.

    Attributes:
        rows: the row logs.
        registry: versions, revisions, artifacts, champions.
        studies: records of studies and trials.
        executor: runs fits in child processes.
        stage: the champions that serve.
        directory: for files that child processes read and write.
        clock: the time.
        stop: set when the daemon stops; a study then ends between two trials.
        observe: is told of every trial.
    """

    rows: RowLogs
    registry: Registry
    studies: StudyBook
    executor: Executor
    stage: Stage
    directory: Path
    clock: Clock
    stop: threading.Event
    observe: Callable[[str, Trial], None]

    def count(self, model: str) -> Arrived:
        """Count what a model's row log holds."""
        counts = self.rows.of(model).counts()
        return Arrived(
            now=self.clock.now(),
            last_seq=counts.last_seq,
            rows=counts.rows,
            labelled=counts.labelled,
        )
