"""Blocking work as a supervised task: it stops when asked, and ends nothing quietly."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from retuned.runtime import thread
from retuned.runtime.supervisor import Supervisor, TaskEnded
from retuned.runtime.thread import on_thread


async def supervised(work: object, begun: threading.Event) -> float:
    """Run work until it has begun, then stop; returns the seconds that this took."""
    supervisor = Supervisor()
    supervisor.run("work", on_thread("work", work))  # type: ignore[arg-type]
    waiting = asyncio.create_task(supervisor.wait())
    assert await asyncio.to_thread(begun.wait, 10)
    stopped = time.monotonic()
    supervisor.stop()
    await waiting
    return time.monotonic() - stopped


def test_it_runs_until_it_is_asked_to_stop() -> None:
    begun, ended = threading.Event(), threading.Event()

    def work(stop: threading.Event) -> None:
        begun.set()
        stop.wait(10)
        ended.set()

    assert asyncio.run(supervised(work, begun)) < 1
    assert ended.is_set()


def test_what_does_not_stop_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thread, "STOP_S", 0.1)
    begun, may_end = threading.Event(), threading.Event()

    def work(_stop: threading.Event) -> None:
        begun.set()
        may_end.wait(10)

    assert asyncio.run(supervised(work, begun)) < 5
    may_end.set()


def test_an_error_in_it_stops_the_whole() -> None:
    def work(_stop: threading.Event) -> None:
        message = "no more"
        raise ArithmeticError(message)

    async def supervise() -> None:
        supervisor = Supervisor()
        supervisor.run("work", on_thread("work", work))
        await supervisor.wait()

    with pytest.raises(TaskEnded, match="'work' ended.*no more"):
        asyncio.run(supervise())
