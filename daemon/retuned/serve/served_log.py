"""The log of answers: kept in memory for a moment, so that who asks waits for no disk."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from retuned.errors import PermanentError, RetunedError, TransientError
from retuned.serve.served import Answer, Answers, ServedFile

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from retuned_pipelines.spec import ServePolicy

_log = logging.getLogger(__name__)

EVERY_S = 0.5
"""Answers reach the file that much later at the most: what a crash may lose."""

AT_ONCE = 1000
"""Or as soon as so many wait."""

MOST_BYTES = 32_000_000
"""What waits takes about so much memory at the most; what comes then is dropped, and counted."""

RETRY_S = 5.0
PRUNE_S = 60.0
IDLE_S = 300.0
"""A file that nobody used for so long is closed until it is needed."""

_ROW_BYTES = 120
_VALUE_BYTES = 8
_LONGEST_ID = 512


@dataclass(frozen=True, slots=True)
class _Waiting:
    model: str
    answers: Answers
    policy: ServePolicy
    size: int


class ServedLog:
    """The answers of all models, one file each. May be used from any thread.

    A thread of its own writes what `note` was given. `close` writes what is left.
    """

    def __init__(self, directory: Path, *, dropped: Callable[[str, int], None]) -> None:
        """Keep the files in that folder, ``<model>.sqlite`` each.

        Args:
            directory: the folder.
            dropped: is told of answers that could not be kept: model and how many.
        """
        self._directory = directory
        self._dropped = dropped
        self._files: dict[str, ServedFile] = {}
        self._waiting: deque[_Waiting] = deque()
        self._rows = self._size = 0
        self._is_closed = False
        self._due = threading.Condition()
        self._writing = threading.RLock()
        self._pruned: dict[str, float] = {}
        self._used: dict[str, float] = {}
        self._thread = threading.Thread(target=self._run, name="served", daemon=True)
        self._thread.start()

    def note(
        self, model: str, ids: Sequence[object], answers: Answers, policy: ServePolicy
    ) -> None:
        """Take answers to rows; never waits for a disk, and never fails.

        Args:
            model: what was asked.
            ids: of the rows (n), as the client sent them; rows without one are not logged.
            answers: what was answered (n); its own ids are not looked at.
            policy: how many are logged, and how long they stay.
        """
        if not policy.log_predictions:
            return
        names = [_name(given) for given in ids]
        places = [place for place, name in enumerate(names) if name]
        if not places:
            return
        kept = Answers(
            ids=[names[place] for place in places],
            at_us=answers.at_us,
            revision=answers.revision,
            classes=answers.classes,
            output=answers.output if len(places) == len(names) else answers.output[places],
        )
        size = len(places) * (_ROW_BYTES + _VALUE_BYTES * max(1, len(kept.classes)))
        with self._due:
            if not self._is_closed and self._size + size <= MOST_BYTES:
                self._waiting.append(_Waiting(model, kept, policy, size))
                self._rows, self._size = self._rows + len(places), self._size + size
                if len(self._waiting) == 1 or self._rows >= AT_ONCE:
                    self._due.notify()
                return
        self._dropped(model, len(places))

    def last(
        self, model: str, row_ids: Sequence[str], until_us: Sequence[int]
    ) -> list[Answer | None]:
        """The last answer for each row up to a moment of its own; None where there is none."""
        file = self._settled(model)
        if file is None:
            return [None] * len(row_ids)
        return [file.last(name, until) for name, until in zip(row_ids, until_us, strict=True)]

    def newest(self, model: str, row_id: str, limit: int) -> list[Answer]:
        """The newest answers for a row, newest first.

        Raises:
            RetunedError: the file cannot be read.
        """
        file = self._settled(model)
        return [] if file is None else file.newest(row_id, limit)

    def forget(self, model: str, row_id: str) -> int:
        """Delete all answers for a row; returns how many there were.

        Raises:
            RetunedError: the file cannot be written; try again.
        """
        file = self._settled(model)
        with self._due:
            is_waiting = any(
                item.model == model and row_id in item.answers.ids for item in self._waiting
            )
        if is_waiting:
            message = f"an answer to {row_id!r} could not be written yet: delete it again soon"
            raise TransientError(message)
        return 0 if file is None else file.forget(row_id)

    def flush(self) -> bool:
        """Write what waits; what cannot be written now waits on, or is dropped and counted.

        Returns:
            Whether nothing has to wait on.
        """
        with self._writing:
            with self._due:
                taken, self._waiting = self._waiting, deque()
                self._rows = 0
            models = dict.fromkeys(item.model for item in taken)
            done = [
                self._write(model, [item for item in taken if item.model == model])
                for model in models
            ]
        return all(done)

    def close(self) -> None:
        """Write what waits, and close the files."""
        with self._due:
            self._is_closed = True
            self._due.notify()
        self._thread.join()
        with self._writing:
            for file in self._files.values():
                file.close()
            self._files.clear()

    def _run(self) -> None:
        while True:
            with self._due:
                self._due.wait_for(lambda: self._is_closed or self._waiting)
                self._due.wait_for(lambda: self._is_closed or self._rows >= AT_ONCE, EVERY_S)
            is_done = self.flush()
            self._rest_idle()
            with self._due:
                if not is_done:
                    self._due.wait_for(lambda: self._is_closed, RETRY_S)
                if self._is_closed and not self._waiting:
                    return

    def _write(self, model: str, items: list[_Waiting]) -> bool:
        rows, size = sum(len(item.answers.ids) for item in items), sum(item.size for item in items)
        policy = items[-1].policy
        try:
            file = self._file(model)
            file.append((item.answers for item in items), share=policy.log_predictions)
            self._prune(model, file, policy, items[-1].answers.at_us)
        except RetunedError as error:
            is_lost = isinstance(error, PermanentError) or self._is_closed
            _log.warning(
                "%d predictions of %s could not be logged%s: %s",
                rows,
                model,
                "" if is_lost else ", tried again soon",
                error,
                extra={"action": "predictions_not_logged", "model": model},
            )
            if not is_lost:
                with self._due:
                    self._waiting.extendleft(reversed(items))
                return False
            self._dropped(model, rows)
        with self._due:
            self._size -= size
        return True

    def _prune(self, model: str, file: ServedFile, policy: ServePolicy, now_us: int) -> None:
        if time.monotonic() < self._pruned.get(model, 0.0):
            return
        oldest = now_us - round(policy.log_days * 86_400e6)
        gone = file.prune(before_us=oldest, rows=policy.log_rows)
        # Where much has to go, it goes little by little, but soon.
        self._pruned[model] = time.monotonic() + (0.0 if gone else PRUNE_S)

    def _rest_idle(self) -> None:
        with self._writing:
            since = time.monotonic() - IDLE_S
            for model in [name for name in self._files if self._used[name] < since]:
                self._files.pop(model).close()

    def _settled(self, model: str) -> ServedFile | None:
        """A model's file with everything in it that was noted; None where nothing ever was."""
        self.flush()
        with self._writing:
            is_there = model in self._files or self._path(model).exists()
            return self._file(model) if is_there else None

    def _file(self, model: str) -> ServedFile:
        with self._writing:
            if model not in self._files:
                self._files[model] = ServedFile(self._path(model))
            self._used[model] = time.monotonic()
            return self._files[model]

    def _path(self, model: str) -> Path:
        return self._directory / f"{model}.sqlite"


def _name(given: object) -> str:
    """A row's id as it is stored; "" for none that a row could have."""
    if isinstance(given, int) and not isinstance(given, bool):
        given = str(given)
    return given if isinstance(given, str) and len(given) <= _LONGEST_ID else ""
