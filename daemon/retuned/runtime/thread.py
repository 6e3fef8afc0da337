"""Blocking work that runs for ever, as a task."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

STOP_S = 4.0
"""The daemon has ten seconds to stop."""


async def on_thread(name: str, work: Callable[[threading.Event], None]) -> None:
    """Do blocking work on a thread of its own until this task is cancelled.

    The work is given an event that asks it to stop, and should look at it every second. What
    goes on for longer ends with the process, so it has to bear being killed anyway.

    Args:
        name: of the thread.
        work: what it does.

    Raises:
        Exception: whatever ended the work.
    """
    stop, loop = threading.Event(), asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()

    def settle(error: Exception | None) -> None:
        if ended.cancelled():
            return
        if error is None:
            ended.set_result(None)
        else:
            ended.set_exception(error)

    def run() -> None:
        error = None
        try:
            work(stop)
        except Exception as raised:  # noqa: BLE001 (it is raised again where it is awaited)
            error = raised
        with suppress(RuntimeError):  # nobody waits any more: the loop has ended
            loop.call_soon_threadsafe(settle, error)

    threading.Thread(target=run, name=name, daemon=True).start()
    try:
        await asyncio.shield(ended)
    except asyncio.CancelledError:
        stop.set()
        await asyncio.wait([ended], timeout=STOP_S)
        raise
