"""Eternal tasks and signals: the whole stops in order, and for a reason."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from retuned.runtime.signals import signals
from retuned.runtime.supervisor import Supervisor, TaskEnded

AT_MOST_S = 20.0


async def for_ever(ended: list[str], name: str) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        ended.append(name)


async def at_once() -> None:
    """End at once."""


async def fail() -> None:
    await asyncio.sleep(0)
    message = "the socket is gone"
    raise OSError(message)


async def watched(*names: str, stop: bool = False, **tasks: bool) -> list[str]:
    """Supervise eternal tasks and perhaps ones that end; give what was ended."""
    ended: list[str] = []
    supervisor = Supervisor()
    for name in names:
        supervisor.run(name, for_ever(ended, name))
    if tasks.get("fails"):
        supervisor.run("watch", fail())
    if tasks.get("ends"):
        supervisor.run("watch", at_once())
    if stop:
        loop = asyncio.get_running_loop()
        loop.call_soon(supervisor.stop)
        loop.call_soon(supervisor.stop)
    try:
        await asyncio.wait_for(supervisor.wait(), AT_MOST_S)
    except TaskEnded as error:
        ended.append(str(error))
        ended.append(type(error.__cause__).__name__)
    return ended


def test_a_stop_ends_all_tasks() -> None:
    assert sorted(asyncio.run(watched("http", "watch", stop=True))) == ["http", "watch"]


def test_a_task_that_fails_stops_the_whole_by_name() -> None:
    ended, message, cause = asyncio.run(watched("http", fails=True))
    assert ended == "http"
    assert "'watch'" in message
    assert "the socket is gone" in message
    assert cause == "OSError"


def test_a_task_that_just_ends_stops_the_whole_too() -> None:
    ended, message, cause = asyncio.run(watched("http", ends=True))
    assert ended == "http"
    assert "'watch'" in message
    assert cause == "NoneType"


def test_a_stop_that_was_asked_for_before_counts() -> None:
    async def run() -> None:
        supervisor = Supervisor()
        supervisor.stop()
        await asyncio.wait_for(supervisor.wait(), AT_MOST_S)

    asyncio.run(run())


@pytest.fixture
def _handlers() -> Iterator[None]:
    """Leave the process's handlers as they were."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.usefixtures("_handlers")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_stop_stops(number: signal.Signals) -> None:
    async def run() -> None:
        stopped = asyncio.Event()
        with signals(stop=stopped.set, reload=stopped.clear):
            os.kill(os.getpid(), number)
            await asyncio.wait_for(stopped.wait(), AT_MOST_S)

    asyncio.run(run())
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.usefixtures("_handlers")
def test_a_signal_to_reload_reloads_as_often_as_it_comes() -> None:
    async def run() -> None:
        came: asyncio.Queue[str] = asyncio.Queue()

        def reload() -> None:
            came.put_nowait("reload")

        with signals(stop=lambda: None, reload=reload):
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGHUP)
                await asyncio.wait_for(came.get(), AT_MOST_S)

    asyncio.run(run())


HANGS = """
import asyncio
from retuned.runtime.signals import signals

async def main():
    with signals(stop=lambda: print("stopping", flush=True), reload=print):
        print("ready", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_a_daemon_that_hangs(number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HANGS], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.stdout.readline() == "stopping\n"
        process.send_signal(number)
        assert process.wait(AT_MOST_S) == -number
