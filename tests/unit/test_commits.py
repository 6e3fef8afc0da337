"""Appends that share a commit: what is told to each thread is what is on disk."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

import pytest

from retuned.rows.commits import Append, Commits, attempt

Work = Callable[[sqlite3.Connection], str]


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    found = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    found.execute("CREATE TABLE kept (name TEXT)")
    yield found
    found.close()


def through(commits: Commits[str], *works: Work) -> list[str | Exception]:
    """Let as many threads as there are works wait for one turn; gives what each was told."""
    told: dict[int, str | Exception] = {}

    def run(place: int, work: Work) -> None:
        try:
            told[place] = commits.through(work)
        except Exception as error:  # noqa: BLE001 (it is what the test looks at)
            told[place] = error

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(works)]
    with commits.paused():
        for number, thread in enumerate(threads, 1):
            thread.start()
            while commits.waiting < number:
                pass
    for thread in threads:
        thread.join()
    return [told[place] for place in range(len(works))]


def keep(name: str) -> Work:
    def work(db: sqlite3.Connection) -> str:
        db.execute("INSERT INTO kept VALUES (?)", (name,))
        return name

    return work


def fail(db: sqlite3.Connection) -> str:
    db.execute("INSERT INTO kept VALUES ('half')")
    raise KeyError(0)


def kept(db: sqlite3.Connection) -> list[str]:
    return [name for (name,) in db.execute("SELECT name FROM kept ORDER BY name")]


def test_a_surprise_in_one_append_undoes_that_one_alone(db: sqlite3.Connection) -> None:
    def commit(appends: Sequence[Append[str]]) -> None:
        db.execute("BEGIN")
        for append in appends:
            attempt(db, append)
        db.execute("COMMIT")

    told = through(Commits(commit), keep("a"), fail, keep("b"))
    assert [told[0], told[2]] == ["a", "b"]
    assert isinstance(told[1], KeyError)
    assert kept(db) == ["a", "b"]


@pytest.mark.parametrize("error", [MemoryError("no room"), RuntimeError("a surprise")])
def test_nobody_is_told_that_something_is_durable_that_was_rolled_back(
    db: sqlite3.Connection, error: Exception
) -> None:
    def commit(appends: Sequence[Append[str]]) -> None:
        db.execute("BEGIN")
        for append in appends:
            attempt(db, append)
        db.execute("ROLLBACK")
        raise error

    with suppress(MemoryError, RuntimeError):
        told = through(Commits(commit), keep("a"), keep("b"))
    assert told == [error, error]
    assert kept(db) == []
