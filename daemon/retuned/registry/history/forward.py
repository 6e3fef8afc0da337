"""Bringing events from the local journal to the registry, whenever it can be reached."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from retuned.errors import RetunedError, TransientError

if TYPE_CHECKING:
    from collections.abc import Callable

    from retuned.registry.history.event_log import EventLog

_log = logging.getLogger(__name__)

TURN_S = 0.2
RETRY_S = 3.0


class Forwarder:
    """Appends what waits in the journal to the chains. An event that is sent twice counts once."""

    def __init__(self, log: EventLog, ping: Callable[[], object]) -> None:
        """Send what waits in the log's journal; ``ping`` asks whether the registry is there."""
        self._log = log
        self._ping = ping
        self._refused: dict[str, str] = {}
        self.is_up = False

    def forward(self) -> int:
        """Send what waits, of each model up to some hundred; returns how many events.

        Raises:
            RetunedError: the registry or the journal failed; what was not sent still waits.
        """
        count = 0
        for model in self._log.archive.models_waiting():
            try:
                count += self._log.forward(model)
                self._refused.pop(model, None)
            except TransientError:
                raise
            except RetunedError as error:
                # One model's trouble is no other's; it is tried again, and told once.
                if self._refused.get(model) != str(error):
                    self._refused[model] = str(error)
                    _log.error("%s", error, extra={"action": "forward_failed", "model": model})
        return count

    async def run(self) -> None:
        """Send for ever, and keep ``is_up`` true to the facts."""
        while True:
            try:
                await asyncio.to_thread(self._ping)
                self._tell(is_up=True)
                while await asyncio.to_thread(self.forward):
                    pass
                await asyncio.sleep(TURN_S)
            except RetunedError as error:
                self._tell(is_up=False, why=error)
                await asyncio.sleep(RETRY_S)

    def _tell(self, *, is_up: bool, why: RetunedError | None = None) -> None:
        if is_up == self.is_up:
            return
        self.is_up = is_up
        if is_up:
            _log.info("The registry answers.", extra={"action": "registry_up"})
        else:
            _log.warning(
                "The registry is away: rows and predictions go on, promotion waits. %s",
                why,
                extra={"action": "registry_away"},
            )
