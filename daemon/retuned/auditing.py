"""Looking again and again whether the registry is as it ought to be."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING

from retuned.custody import Finding
from retuned.errors import RetunedError, TransientError
from retuned.registry.history.events import EventKind
from retuned.registry.lease.fencing import Fenced
from retuned.registry.signing import Forged
from retuned_pipelines.care.orders import Notify

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from retuned.custody import Custody
    from retuned.keeper import Keeper
    from retuned.registry.history.event_log import EventLog
    from retuned_pipelines.spec import ModelSpec

_log = logging.getLogger(__name__)

EVERY_S = 5.0
"""Between two looks at the champions."""

AUDIT_ROUNDS = 720
"""So many looks from one audit of everything to the next: an hour."""


class Auditing:
    """Puts right what the registry lost or what was changed in it, and tells of it."""

    def __init__(
        self,
        *,
        keepers: Callable[[], Mapping[str, Keeper]],
        custody: Custody,
        events: EventLog,
        follow: Callable[[ModelSpec], object] = lambda _: None,
        is_held: Callable[[str], bool] = lambda _: True,
    ) -> None:
        """Take who is under care, and who puts things right.

        Args:
            keepers: the models under care.
            custody: puts things right.
            events: the history.
            follow: serves the registry's champion, where that is another one.
            is_held: whether this daemon has a model's lease: others put nothing right.
        """
        self._keepers = keepers
        self._custody = custody
        self._events = events
        self._serve_found = follow
        self._is_held = is_held
        self._told: dict[str, set[str]] = {}
        self._stopping = threading.Event()

    async def run(self) -> None:
        """Look for ever."""
        rounds = 0
        try:
            while True:
                await asyncio.sleep(EVERY_S)
                await asyncio.to_thread(self.look, is_audit=rounds % AUDIT_ROUNDS == 0)
                rounds += 1
        finally:
            self._stopping.set()

    def look(self, *, is_audit: bool) -> None:
        """Look once at every model; with the manifests and artifacts, where it is an audit."""
        for name, keeper in self._keepers().items():
            if self._stopping.is_set():
                return
            try:
                if not self._is_held(name):
                    self._follow(keeper)
                    continue
                if is_audit:
                    findings = self._custody.audit(name)
                    self._tell(keeper, findings)
                else:
                    findings = self.uphold(keeper)
                # Where the champion is another key's, so is the history.
                if all(finding.is_restored for finding in findings):
                    self._look_back(keeper, is_audit=is_audit)
            except TransientError:
                # Redis is away, which is told elsewhere; the other models would wait in vain.
                return
            except Fenced:
                continue  # the lease was lost, or is taken anew: the next look tells
            except RetunedError as error:
                _log.error("%s", error, extra={"action": "audit_failed", "model": name})

    def uphold(self, keeper: Keeper) -> tuple[Finding, ...]:
        """Look at one model's champion, where this daemon takes care of it.

        Raises:
            RetunedError: the registry or the disk failed.
        """
        if not self._is_held(keeper.spec.name):
            return ()
        found = self._custody.uphold(keeper.spec.name)
        findings = () if found is None else (found,)
        self._tell(keeper, findings)
        return findings

    def _look_back(self, keeper: Keeper, *, is_audit: bool) -> None:
        """Look at one model's history; what is put right there has its own event."""
        look = self._events.audit if is_audit else self._events.catch_up
        try:
            look(keeper.spec.name)
        except Forged as error:
            self._tell(keeper, [Finding(str(error), is_restored=False)])

    def _follow(self, keeper: Keeper) -> None:
        """Serve what another daemon has made the champion; what it should mend is told once."""
        name = keeper.spec.name
        try:
            self._serve_found(keeper.spec)
        except Forged as error:
            told = self._told.setdefault(name, set())
            if str(error) not in told:
                told.add(str(error))
                _log.error("%s", error, extra={"action": "registry_refused", "model": name})

    def _tell(self, keeper: Keeper, findings: Iterable[Finding]) -> None:
        name = keeper.spec.name
        told = self._told.setdefault(name, set())
        for finding in findings:
            # What was lost and put back has its event already; what stays is told once.
            if not finding.refusal or finding.refusal in told:
                continue
            if not finding.is_restored:
                told.add(finding.refusal)
            _log.error("%s", finding.refusal, extra={"action": "registry_refused", "model": name})
            body = {"error": finding.refusal, "is_restored": finding.is_restored}
            keeper.tell(Notify(event=EventKind.FORGED, body=body))
