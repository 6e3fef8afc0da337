"""What runs heavy work outside of the daemon's own process."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Protocol

from retuned_pipelines.search.trial import NO_COST, Cost

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

TIMEOUT = "timeout"
OUT_OF_MEMORY = "out of memory"
KILLED = "killed"
CANCELLED = "cancelled"


class Priority(IntEnum):
    """Which work is begun first when workers are few."""

    TAKEOVER = 0
    REPORT = 1
    TRIAL = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a piece of work may use.

    Attributes:
        wall_s: elapsed seconds.
        memory_mb: megabytes (10^6 bytes) that it may allocate beyond the libraries.
    """

    wall_s: float
    memory_mb: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A piece of work: a function of a module and its argument, both picklable.

    Attributes:
        function: what to call.
        request: its argument.
        limits: what it may use.
        priority: when it is begun.
        group: what it belongs to; a whole group can be cancelled.
    """

    function: Callable[[Any], Any]
    request: Any
    limits: Limits
    priority: Priority
    group: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a call.

    Attributes:
        value: what the function returned; None if it failed.
        error: ``""``, ``timeout``, ``out of memory``, ``killed``, ``cancelled``, or the
            exception's type and text.
        cost: what it used.
    """

    value: Any = None
    error: str = ""
    cost: Cost = NO_COST


class Executor(Protocol):
    """Runs calls, some at a time.

    May be called from any thread. A call that fails, is killed or runs out of its limits
    gives an Outcome with an error; the future itself never raises. Nothing survives a crash:
    whoever submitted submits again.
    """

    @property
    def workers(self) -> int:
        """Calls that run at the same time, at most."""

    @property
    def threads(self) -> int:
        """Threads that one call may use."""

    def submit(self, call: Call) -> Future[Outcome]:
        """Run a call when a worker is free; lower priority values first."""

    def cancel(self, group: str) -> None:
        """End all calls of a group, also those that run; their outcome is ``cancelled``."""

    def close(self) -> None:
        """End everything."""
