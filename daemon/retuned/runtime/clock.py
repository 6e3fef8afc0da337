"""Time as a thing that is handed in: real when serving, virtual when replaying."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Tells the time. May be called from any thread; never raises."""

    def now(self) -> float:
        """Seconds since the epoch, UTC."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        """Seconds since the epoch, UTC."""
        return time.time()


class VirtualClock:
    """A clock that stands still until it is moved."""

    def __init__(self, now: float = 0.0) -> None:
        """Start at a moment, in seconds since the epoch."""
        self._now = now

    def now(self) -> float:
        """Seconds since the epoch, as last set."""
        return self._now

    def move_to(self, now: float) -> None:
        """Jump forward; going back is refused.

        Raises:
            ValueError: the moment lies before the present one.
        """
        if now < self._now:
            message = f"a virtual clock cannot go back from {self._now} to {now}"
            raise ValueError(message)
        self._now = now
