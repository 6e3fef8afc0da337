"""All row logs of a daemon, one file a model."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from retuned.rows.log import RowLog

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from retuned_pipelines.schema import Task


class RowLogs:
    """Opens each model's log when it is first asked for. May be used from any thread."""

    def __init__(
        self, directory: Path, *, spare: int = 0, now: Callable[[], float] = time.time
    ) -> None:
        """Keep the files in that folder, ``<model>.sqlite`` each.

        Args:
            directory: the folder.
            spare: bytes of the disk that others need; see `RowLog`.
            now: the time, seconds since the epoch.
        """
        self._now = now
        self._directory = directory
        self._spare = spare
        self._uses: dict[str, int] = {}
        self._logs: dict[str, RowLog] = {}
        self._lock = threading.Lock()

    def of(self, model: str, task: Task) -> RowLog:
        """The log of a model; the task decides what its labels are.

        Raises:
            PermanentError: the file is damaged or of a newer release, or it holds labels of
                another task.
            TransientError: the disk is full.
        """
        with self._lock:
            log = self._logs.get(model)
            if log is None:
                log = self._logs[model] = RowLog(
                    self._directory / f"{model}.sqlite", task, spare=self._spare, now=self._now
                )
            elif log.task is not task:
                log.take_task(task)
            return log

    def rest_idle(self) -> None:
        """Close the files that nobody used since the last time, until they are needed."""
        with self._lock:
            logs = dict(self._logs)
        for model, log in logs.items():
            if self._uses.get(model) == log.uses:
                log.rest()
            self._uses[model] = log.uses

    def close(self) -> None:
        """Close all files."""
        with self._lock:
            for log in self._logs.values():
                log.close()
            self._logs.clear()
