"""An executor without processes: calls run at once, in the caller's thread.

For tests and for replays of small work. Limits are not enforced.
"""

from __future__ import annotations

import resource
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING

from retuned.tune.executor import CANCELLED, OUT_OF_MEMORY, Outcome
from retuned_pipelines.search.trial import Cost

if TYPE_CHECKING:
    from retuned.tune.executor import Call


class InlineExecutor:
    """Runs each call when it is submitted."""

    def __init__(self, threads: int = 1) -> None:
        """Let calls use that many threads."""
        self.threads = threads
        self.workers = 1
        self._is_closed = False

    def submit(self, call: Call) -> Future[Outcome]:
        """Run the call; the future is done."""
        future: Future[Outcome] = Future()
        future.set_result(Outcome(error=CANCELLED) if self._is_closed else run_measured(call))
        return future

    def cancel(self, group: str) -> None:
        """Do nothing: no call outlasts its submission."""

    def close(self) -> None:
        """Take no more calls."""
        self._is_closed = True


def run_measured(call: Call) -> Outcome:
    """Run a call in this process and measure it; never raises."""
    before, begun = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    value, error = None, ""
    try:
        value = call.function(call.request)
    except MemoryError:
        error = OUT_OF_MEMORY
    except Exception as caught:  # noqa: BLE001 (whatever a trial raises is its outcome)
        is_memory = "bad_alloc" in str(caught)
        error = OUT_OF_MEMORY if is_memory else f"{type(caught).__name__}: {caught}"
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    cost = Cost(wall_s=time.monotonic() - begun, cpu_s=cpu_s, peak_mb=after.ru_maxrss * 1024 / 1e6)
    return Outcome(value=value, error=error, cost=cost)
