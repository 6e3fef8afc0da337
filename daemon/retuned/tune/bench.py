"""What the work of tuning stands on, and how it waits for child processes."""

from __future__ import annotations

import shutil
from concurrent.futures import wait
from dataclasses import dataclass
from typing import TYPE_CHECKING

from retuned.errors import Interrupted, PermanentError
from retuned.tune.executor import CANCELLED, Call, Limits, Priority
from retuned.tune.work import load_artifacts, warm_up

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from retuned.tune.executor import Executor, Outcome

PROVE_S = 120.0
PROVE_MB = 4000
"""What a first load may take, in seconds and megabytes."""

_TURN_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Where fits are made. May be used from any thread.

    Attributes:
        executor: runs calls in child processes.
        directory: for the windows that children read and the models that they write.
        stop: set when the daemon stops.
    """

    executor: Executor
    directory: Path
    stop: threading.Event

    def fits(self, model: str) -> Path:
        """Where a model's fitted members wait to be published, each under its SHA-256."""
        return self.directory / "fits" / model

    def brought(self, model: str) -> Path:
        """Where models from elsewhere wait to be kept as versions, each under its SHA-256."""
        return self.directory / "brought" / model

    def window_path(self, model: str, order: str) -> Path:
        """The file in which an order's children find their rows."""
        return self.directory / "windows" / f"{model}-{order}.arrow"

    def warm_up(self) -> None:
        """Let the fork server import the libraries before the first call that somebody waits for.

        Windows and models on their way that a killed daemon left behind are removed.
        """
        for left in (self.directory / "windows").glob("*.arrow"):
            left.unlink(missing_ok=True)
        shutil.rmtree(self.directory / "exchange", ignore_errors=True)
        self.executor.submit(
            Call(
                function=warm_up,
                request=None,
                limits=Limits(wall_s=60.0, memory_mb=1000),
                priority=Priority.TAKEOVER,
                group="warm-up",
            )
        )

    def prove(self, model: str, artifacts: Mapping[str, bytes]) -> None:
        """Load artifacts by SHA-256 in a child: one that ends its process does not end this one.

        Raises:
            PermanentError: one cannot be loaded, or ended the child.
            Interrupted: the daemon stops.
        """
        (outcome,) = self.all_of(
            [
                Call(
                    function=load_artifacts,
                    request=tuple(artifacts.values()),
                    limits=Limits(wall_s=PROVE_S, memory_mb=PROVE_MB),
                    priority=Priority.TAKEOVER,
                    group=f"{model}/prove",
                )
            ]
        )
        if outcome.error:
            names = ", ".join(name[:12] for name in artifacts)
            message = (
                f"an artifact of {model} is not loaded: a child process that loaded it first "
                f"({names}) came to this: {outcome.error}"
            )
            raise PermanentError(message)

    def all_of(self, calls: Sequence[Call]) -> list[Outcome]:
        """Run calls and wait for every one; outcomes in the calls' order.

        Raises:
            Interrupted: the daemon stops.
        """
        futures = [self.executor.submit(call) for call in calls]
        if not self.waited(futures):
            raise Interrupted
        return [future.result() for future in futures]

    def waited(
        self, futures: Sequence[Future[Outcome]], is_over: Callable[[], bool] = lambda: False
    ) -> bool:
        """Wait for all futures; False where it was over before, which is asked for at each turn.

        Raises:
            Interrupted: the daemon stops; calls that still run are left to the executor's end.
        """
        pending = set(futures)
        while pending and not is_over():
            _, pending = wait(pending, timeout=_TURN_S)
            if self.stop.is_set():
                raise Interrupted
        if not pending and any(future.result().error == CANCELLED for future in futures):
            # Nobody but the daemon's end cancels what is waited for here.
            raise Interrupted
        return not pending
