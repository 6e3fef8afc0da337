"""Eternal tasks, named and guarded: when one ends, the whole is stopped.

A daemon that has lost its registry watch or its HTTP server but looks alive is worse than
one that stops and is started again by the service manager.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from retuned.errors import RetunedError

if TYPE_CHECKING:
    from collections.abc import Coroutine

_log = logging.getLogger(__name__)


class TaskEnded(RetunedError):
    """A task that should run for ever has ended."""


class Supervisor:
    """Runs named tasks until one ends or a stop is asked for."""

    def __init__(self) -> None:
        """Start without tasks."""
        self._stop = asyncio.Event()
        self._tasks: dict[asyncio.Task[None], str] = {}

    def run(self, name: str, task: Coroutine[None, None, None]) -> None:
        """Begin a task that is to run for ever."""
        self._tasks[asyncio.create_task(task, name=name)] = name

    def stop(self) -> None:
        """Ask for an orderly end; asking twice changes nothing."""
        self._stop.set()

    async def wait(self) -> None:
        """Wait for `stop`, then end all tasks.

        Raises:
            TaskEnded: a task ended by itself; names it, with its error as the cause.
        """
        stopping = asyncio.create_task(self._stopped(), name="stop")
        try:
            done, _ = await asyncio.wait(
                [stopping, *self._tasks], return_when=asyncio.FIRST_COMPLETED
            )
            ended = next((task for task in done if task in self._tasks), None)
            if ended is not None and not self._stop.is_set():
                _raise_ended(self._tasks[ended], ended)
        finally:
            await _end([stopping, *self._tasks])

    async def _stopped(self) -> None:
        await self._stop.wait()


def _raise_ended(name: str, task: asyncio.Task[None]) -> None:
    error = None if task.cancelled() else task.exception()
    message = f"The task {name!r} ended, so the daemon stops: {error or 'no error'}"
    _log.critical(message, extra={"action": "task_ended"}, exc_info=error)
    raise TaskEnded(message) from error


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
