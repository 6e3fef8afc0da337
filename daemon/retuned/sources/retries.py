"""What failed and is tried again: when, and that it is told once."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from retuned.runtime.clock import Clock

_log = logging.getLogger(__name__)

LONGEST_S = 60.0


@dataclass(frozen=True, slots=True)
class _Wait:
    until: float
    pause_s: float
    told: str
    attempts: int


class Retries:
    """Pauses by name, each twice as long as the one before. Use from one thread."""

    def __init__(self, clock: Clock, *, longest_s: float = LONGEST_S) -> None:
        """Start with nothing that waits; no pause is longer than ``longest_s`` seconds."""
        self._clock = clock
        self._longest_s = longest_s
        self._waits: dict[str, _Wait] = {}

    def is_due(self, what: str) -> bool:
        """Whether it may be tried (again) now."""
        wait = self._waits.get(what)
        return wait is None or self._clock.now() >= wait.until

    def failed(
        self, what: str, why: object, *, first_s: float, action: str, model: str | None = None
    ) -> int:
        """Let it wait, and log the reason unless it is the one that was told last.

        Args:
            what: names it.
            why: the reason.
            first_s: the first pause, seconds.
            action: of the log line.
            model: whose trouble it is; None for everybody's.

        Returns:
            How often it has failed without a success in between.
        """
        before = self._waits.get(what)
        pause = first_s if before is None else before.pause_s * 2
        pause, told = min(self._longest_s, pause), str(why)
        attempts = 1 if before is None else before.attempts + 1
        if before is None or before.told != told:
            extra = {"action": action, "retry_s": pause, "model": model}
            _log.warning("%s: %s It is tried again.", what, _sentence(told), extra=extra)
        self._waits[what] = _Wait(self._clock.now() + pause, pause, told, attempts)
        return attempts

    def worked(self, what: str) -> bool:
        """Forget that it failed; returns whether it had."""
        return self._waits.pop(what, None) is not None


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."
