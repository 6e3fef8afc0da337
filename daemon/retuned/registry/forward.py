"""Bringing events from the local journal to the registry, whenever it can be reached."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from retuned.errors import RetunedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from retuned.registry.events import EventLog
    from retuned.registry.journal import Journal

_log = logging.getLogger(__name__)

TURN_S = 0.2
RETRY_S = 3.0
_AT_ONCE = 200


class Forwarder:
    """Empties the journal's outbox. An event that is sent twice counts once."""

    def __init__(self, journal: Journal, log: EventLog, ping: Callable[[], object]) -> None:
        """Send from the journal to the log; ``ping`` asks whether the registry is there."""
        self._journal = journal
        self._log = log
        self._ping = ping
        self.is_up = False

    def forward(self) -> int:
        """Send what waits; returns how many events.

        Raises:
            RetunedError: the registry or the journal failed; what was not sent still waits.
        """
        events = self._journal.waiting(_AT_ONCE)
        for event in events:
            self._log.append(event)
            self._journal.forwarded([event.id])
        return len(events)

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
