"""Many threads that write share commits: one of them carries out what all of them want."""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

T = TypeVar("T")

MOST = 64
"""Appends that share a commit at the most."""


@dataclass(slots=True, eq=False)
class Append(Generic[T]):
    """What a thread wants, and what became of it.

    Attributes:
        work: does it, in a transaction; what it raises undoes it alone, except errors of SQLite.
        result: what the work gave.
        error: why it was not done.
        is_done: whether the thread may go on.
    """

    work: Callable[[sqlite3.Connection], T]
    result: T | None = None
    error: BaseException | None = None
    is_done: bool = False


class Commits(Generic[T]):
    """Lets threads share commits. A durable commit costs the same for one row and for many."""

    def __init__(self, commit: Callable[[Sequence[Append[T]]], None]) -> None:
        """Take what carries appends out, in one transaction."""
        self._commit = commit
        self._waiting: deque[Append[T]] = deque()
        self._turn = threading.Lock()

    def through(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Carry out work, together with that of other threads; durable on return.

        Raises:
            Exception: as the work does, or as the commit does; nothing was stored.
        """
        append = Append(work)
        self._waiting.append(append)
        with self._turn:
            # Whoever had the turn before may have done it along with its own.
            while not append.is_done:
                self._take_turn()
        if append.error is not None:
            raise append.error
        assert append.result is not None  # noqa: S101 (for the type checker)
        return append.result

    @property
    def waiting(self) -> int:
        """Counts the appends that nobody has taken up yet."""
        return len(self._waiting)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let nobody commit in the meantime."""
        with self._turn:
            yield

    def _take_turn(self) -> None:
        some = [self._waiting.popleft() for _ in range(min(MOST, len(self._waiting)))]
        try:
            self._commit(some)
        except BaseException as error:
            # Whatever it was: none of these is durable, whosever turn it is.
            for one in some:
                one.error = one.error or error
            if not isinstance(error, Exception):
                raise
        finally:
            for one in some:
                one.is_done = True


def attempt(db: sqlite3.Connection, append: Append[T]) -> bool:
    """Do the work of an append inside of a transaction; gives whether it was done."""
    db.execute("SAVEPOINT append")
    try:
        append.result = append.work(db)
    except sqlite3.Error:
        # It may have undone the whole transaction.
        raise
    except Exception as error:  # noqa: BLE001 (one's trouble is nobody else's)
        append.error = error
        db.execute("ROLLBACK TO append")
    db.execute("RELEASE append")
    return append.error is None
