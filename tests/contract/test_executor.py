"""What every executor promises, and what one with processes promises beyond that.

Calls are functions of the standard library: child processes need not find this file.
"""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Any

import pytest

from retuned.tune.executor import (
    CANCELLED,
    KILLED,
    OUT_OF_MEMORY,
    TIMEOUT,
    Call,
    Executor,
    Limits,
    Outcome,
    Priority,
)
from retuned.tune.inline import InlineExecutor
from retuned.tune.local import CLOSE_S, LocalExecutor
from retuned.tune.work import warm_up

AT_MOST_S = 60.0
FOR_EVER_S = 600.0


def call(
    function: Callable[[Any], Any],
    request: object,
    *,
    wall_s: float = 60.0,
    memory_mb: int = 500,
    priority: Priority = Priority.TRIAL,
    group: str = "group",
) -> Call:
    limits = Limits(wall_s=wall_s, memory_mb=memory_mb)
    return Call(function=function, request=request, limits=limits, priority=priority, group=group)


def outcome_of(future: Future[Outcome]) -> Outcome:
    return future.result(timeout=AT_MOST_S)


def python(text: str, **options: Any) -> Call:
    """A call that evaluates an expression."""
    return call(eval, text, **options)


@pytest.fixture(scope="module", autouse=True)
def _fork_server() -> None:
    """Have the libraries imported once, so that no test waits for that."""
    executor = LocalExecutor(workers=1, threads=1)
    assert outcome_of(executor.submit(call(warm_up, None))).error == ""
    executor.close()


@pytest.fixture
def local() -> Iterator[LocalExecutor]:
    executor = LocalExecutor(workers=2, threads=1)
    yield executor
    executor.close()


@pytest.fixture
def single() -> Iterator[LocalExecutor]:
    executor = LocalExecutor(workers=1, threads=1)
    yield executor
    executor.close()


@pytest.fixture(params=["inline", "local"])
def executor(request: pytest.FixtureRequest) -> Executor:
    if request.param == "inline":
        return InlineExecutor()
    found: LocalExecutor = request.getfixturevalue("local")
    return found


class TestEveryExecutor:
    def test_a_call_gives_its_value(self, executor: Executor) -> None:
        found = outcome_of(executor.submit(call(math.factorial, 20)))
        assert (found.value, found.error) == (math.factorial(20), "")

    def test_calls_give_each_its_own_value(self, executor: Executor) -> None:
        futures = [executor.submit(call(math.factorial, n)) for n in range(5)]
        assert [outcome_of(future).value for future in futures] == [1, 1, 2, 6, 24]

    def test_an_exception_is_an_outcome(self, executor: Executor) -> None:
        found = outcome_of(executor.submit(call(math.sqrt, -1.0)))
        assert found.value is None
        assert found.error == "ValueError: math domain error"

    def test_work_has_a_cost(self, executor: Executor) -> None:
        cost = outcome_of(executor.submit(call(sum, range(5_000_000)))).cost
        assert cost.cpu_s > 0.01
        assert cost.wall_s > 0.01
        assert cost.peak_mb > 1.0

    def test_a_call_that_fails_has_a_cost_too(self, executor: Executor) -> None:
        assert outcome_of(executor.submit(call(math.sqrt, -1.0))).cost.wall_s > 0

    def test_a_closed_executor_takes_no_call(self, executor: Executor) -> None:
        executor.close()
        assert outcome_of(executor.submit(call(math.sqrt, 4.0))).error == CANCELLED

    def test_closing_twice_changes_nothing(self, executor: Executor) -> None:
        executor.close()
        executor.close()

    def test_cancelling_a_group_that_is_not_there_changes_nothing(self, executor: Executor) -> None:
        executor.cancel("nobody")
        assert outcome_of(executor.submit(call(math.sqrt, 4.0))).value == 2.0

    def test_it_says_how_many_threads_a_call_may_use(self, executor: Executor) -> None:
        assert executor.threads == 1


def test_a_call_runs_in_a_process_of_its_own(local: LocalExecutor) -> None:
    ask = python("__import__('os').getpid()")
    found = {os.getpid(), *(outcome_of(local.submit(ask)).value for _ in range(2))}
    assert len(found) == 3


def test_a_call_that_takes_too_long_is_ended(local: LocalExecutor) -> None:
    found = outcome_of(local.submit(call(time.sleep, FOR_EVER_S, wall_s=0.3)))
    assert found.error == TIMEOUT
    assert 0.3 <= found.cost.wall_s < AT_MOST_S


def test_the_cost_of_an_ended_call_is_known(local: LocalExecutor) -> None:
    found = outcome_of(local.submit(call(sum, range(10**12), wall_s=0.5)))
    assert found.error == TIMEOUT
    assert found.cost.cpu_s > 0
    assert found.cost.peak_mb > 1.0


def test_the_time_of_a_call_begins_when_it_does(single: LocalExecutor) -> None:
    futures = [single.submit(call(time.sleep, 0.4, wall_s=0.9)) for _ in range(4)]
    assert [outcome_of(future).error for future in futures] == [""] * 4


def test_a_call_that_takes_too_much_memory_is_told(local: LocalExecutor) -> None:
    found = outcome_of(local.submit(call(bytearray, 400_000_000, memory_mb=100)))
    assert found.error == OUT_OF_MEMORY


def test_the_memory_of_the_libraries_does_not_count(local: LocalExecutor) -> None:
    found = outcome_of(local.submit(call(len, bytes(1_000_000), memory_mb=50)))
    assert found.error == ""


def test_a_child_that_is_killed_is_told(local: LocalExecutor) -> None:
    found = outcome_of(local.submit(call(signal.raise_signal, signal.SIGKILL)))
    assert KILLED in found.error
    assert OUT_OF_MEMORY in found.error
    found = outcome_of(local.submit(call(signal.raise_signal, signal.SIGABRT)))
    assert found.error == KILLED


def test_a_child_that_leaves_without_an_answer_is_told(local: LocalExecutor) -> None:
    assert outcome_of(local.submit(call(os._exit, 0))).error == KILLED


def test_after_a_lost_child_the_next_call_runs(single: LocalExecutor) -> None:
    futures = [
        single.submit(call(signal.raise_signal, signal.SIGKILL)),
        single.submit(call(time.sleep, FOR_EVER_S, wall_s=0.1)),
        single.submit(call(math.sqrt, 4.0)),
    ]
    assert [outcome_of(future).value for future in futures] == [None, None, 2.0]


def test_a_value_that_cannot_be_sent_is_an_error(local: LocalExecutor) -> None:
    found = outcome_of(local.submit(python("lambda: 0")))
    assert found.value is None
    assert "lambda" in found.error


def test_a_request_that_cannot_be_sent_is_an_error(local: LocalExecutor) -> None:
    assert "lambda" in outcome_of(local.submit(call(len, lambda: 0))).error
    assert outcome_of(local.submit(call(math.sqrt, 4.0))).value == 2.0


def test_a_large_value_comes_back_whole(local: LocalExecutor) -> None:
    found = outcome_of(local.submit(call(bytes, 20_000_000)))
    assert found.value == bytes(20_000_000)


def test_a_group_is_cancelled_whether_it_runs_or_waits(single: LocalExecutor) -> None:
    doomed = [single.submit(call(time.sleep, FOR_EVER_S, group="doomed")) for _ in range(3)]
    spared = single.submit(call(math.sqrt, 4.0, group="spared"))
    single.cancel("doomed")
    assert [outcome_of(future).error for future in doomed] == [CANCELLED] * 3
    assert outcome_of(spared).value == 2.0


def test_a_call_is_cancelled_however_far_it_has_come(local: LocalExecutor) -> None:
    for turn in range(20):
        future = local.submit(call(time.sleep, FOR_EVER_S))
        until_then = time.perf_counter() + turn * 0.0005
        while time.perf_counter() < until_then:
            pass
        local.cancel("group")
        assert outcome_of(future).error == CANCELLED


def test_what_is_urgent_begins_first(single: LocalExecutor, tmp_path: Path) -> None:
    order = tmp_path / "order"
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    # Holds the only worker until all calls have been submitted.
    first = single.submit(python(f"open({str(gate)!r}).read()"))
    # Opening waits for the reader: from here on the worker is taken.
    with gate.open("w"):
        futures = [
            single.submit(
                python(f"open({str(order)!r}, 'a').write({name + ';'!r})", priority=priority)
            )
            for name, priority in (
                ("trial", Priority.TRIAL),
                ("report", Priority.REPORT),
                ("takeover", Priority.TAKEOVER),
                ("trial again", Priority.TRIAL),
            )
        ]
    wait([first, *futures], timeout=AT_MOST_S)
    assert order.read_text().split(";")[:-1] == ["takeover", "report", "trial", "trial again"]


def test_no_more_calls_run_than_there_are_workers(local: LocalExecutor) -> None:
    begun = time.monotonic()
    futures = [local.submit(call(time.sleep, 0.5)) for _ in range(4)]
    assert all(outcome_of(future).error == "" for future in futures)
    assert time.monotonic() - begun >= 1.0


def test_closing_ends_what_runs_and_what_waits() -> None:
    executor = LocalExecutor(workers=1, threads=1)
    futures = [executor.submit(call(time.sleep, FOR_EVER_S)) for _ in range(3)]
    executor.close()
    assert [future.result(timeout=0).error for future in futures] == [CANCELLED] * 3


def test_children_ignore_the_terminal_s_interrupt(local: LocalExecutor) -> None:
    found = outcome_of(local.submit(call(signal.raise_signal, signal.SIGINT)))
    assert found.error == ""


def test_children_are_nicer_than_the_daemon(local: LocalExecutor) -> None:
    mine = os.nice(0)
    theirs = outcome_of(local.submit(call(os.nice, 0))).value
    assert theirs >= min(19, mine + 10)


# The end of the daemon

DAEMON = """
import sys, time
from retuned.tune.executor import Call, Limits, Priority
from retuned.tune.local import LocalExecutor
executor = LocalExecutor(workers=1, threads=1)
limits = Limits(wall_s=600, memory_mb=500)
call = Call(function=eval, request=sys.argv[1], limits=limits, priority=Priority.TRIAL, group="g")
future, waiting = executor.submit(call), executor.submit(call)
"""

CLOSES = """
time.sleep(0.2)  # the fork server's imports take longer
begun = time.monotonic()
executor.close()
print(time.monotonic() - begun, future.result(0).error, waiting.result(0).error, sep=";")
"""


def session(leader: int) -> list[str]:
    """The command lines of all processes of a session that live."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, of, *_ = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(of) == leader and state != "Z":
                found.append((entry / "cmdline").read_text())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def wait_until_gone(leader: int) -> None:
    deadline = time.monotonic() + AT_MOST_S
    while left := session(leader):
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def test_closing_does_not_wait_for_the_fork_server_to_import() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", DAEMON + CLOSES, "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as daemon:
        out, err = daemon.communicate(timeout=AT_MOST_S)
    taken, *errors = out.strip().split(";")
    assert float(taken) < CLOSE_S + 1
    assert errors == [CANCELLED, CANCELLED]
    assert err == ""
    wait_until_gone(daemon.pid)


def test_a_killed_daemon_leaves_no_child_and_no_word(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    text = f"[open({str(begun)!r}, 'w').close(), __import__('time').sleep({FOR_EVER_S})]"
    with (tmp_path / "told").open("wb") as told:
        daemon = subprocess.Popen(
            [sys.executable, "-c", DAEMON + "time.sleep(600)", text],
            stderr=told,
            start_new_session=True,
        )
    deadline = time.monotonic() + AT_MOST_S
    while not begun.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    daemon.kill()
    daemon.wait()
    wait_until_gone(daemon.pid)
    assert (tmp_path / "told").read_text() == ""


def test_a_child_whose_call_was_cut_short_says_nothing() -> None:
    def told(statement: str) -> str:
        program = f"import pickle, retuned.tune.orphan; {statement}"
        command = [sys.executable, "-c", program]
        return subprocess.run(command, capture_output=True, text=True, check=False).stderr

    whole = "pickle.dumps(list(range(100)))"
    assert told(f"pickle.loads({whole}[:50])") == ""
    assert told(f"pickle.loads({whole}[:0])") == ""
    assert "ZeroDivisionError" in told("1 / 0")
