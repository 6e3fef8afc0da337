"""Custody: the registry holds what serves, and whatever else it held before."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from retuned.errors import PermanentError, TransientError
from retuned.registry.history.events import Event, EventKind, new_event_id
from retuned.registry.signing import Forged, UnknownKey

if TYPE_CHECKING:
    from retuned.registry.pointer import Crowned
    from retuned.registry.versions import Registry
    from retuned.runtime.clock import Clock
    from retuned.serve.stage import Stage

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something in the registry that was not as it ought to be.

    Attributes:
        refusal: why what stood there was refused; "" where nothing stood there.
        is_restored: whether what ought to stand there was put back.
    """

    refusal: str
    is_restored: bool


class Turns:
    """A lock for each model."""

    def __init__(self) -> None:
        """Begin without any."""
        self._locks: dict[str, threading.RLock] = {}

    def of(self, model: str) -> threading.RLock:
        """The model's own."""
        return self._locks.setdefault(model, threading.RLock())


@dataclass(frozen=True, slots=True, kw_only=True)
class Custody:
    """Puts back what the registry lost, or what somebody changed in it. From any thread.

    Attributes:
        registry: versions, revisions, artifacts, champions.
        stage: the champions that serve.
        clock: the time.
        turns: who changes a model's champion, one after the other.
    """

    registry: Registry
    stage: Stage
    clock: Clock
    turns: Turns = field(default_factory=Turns)

    def uphold(self, model: str) -> Finding | None:
        """Put the champion that serves back into a registry that has lost or changed it.

        A champion there that verifies is left alone, and so is one that was signed with a key
        that this daemon has not got.

        Returns:
            What was found; None where all is well, or nobody serves.

        Raises:
            RetunedError: the registry or the disk failed.
        """
        with self.turns.of(model):
            serving = self.stage.of(model)
            if serving is None:
                return None
            self.registry.saw(serving.crowned)
            refusal = ""
            try:
                if self.registry.champion(model) is not None:
                    return None
            except UnknownKey as error:
                return Finding(str(error), is_restored=False)
            except Forged as error:
                refusal = str(error)
            self._restore(model, serving.crowned)
        return Finding(refusal, is_restored=True)

    def audit(self, model: str) -> tuple[Finding, ...]:
        """Compare all that the registry holds of a model with what is known, and mend it.

        Manifests are compared with what is remembered; the champion's artifacts, by their
        digests, with those on disk; what an older key signed is signed with the newest.

        Raises:
            RetunedError: the registry or the disk failed.
        """
        found = self.uphold(model)
        findings = [] if found is None else [found]
        with self.turns.of(model):
            ledger = self.registry.mend(model)
            findings += [Finding(why, is_restored=is_back) for why, is_back in ledger.wrong]
            if ledger.lost:
                why = f"the registry had lost {ledger.lost} manifests of {model}"
                findings.append(Finding(why, is_restored=True))
            if found is None and self.stage.of(model) is not None:
                self.registry.reseal(model)
                findings += self._audit_artifacts(model)
        return tuple(findings)

    def _audit_artifacts(self, model: str) -> list[Finding]:
        findings = []
        for digest, data in self.stage.artifacts(model).items():
            try:
                self.registry.artifact(model, digest)
            except TransientError:
                raise
            except PermanentError as error:
                self.registry.put_artifact(model, digest, data)
                findings.append(Finding(str(error), is_restored=True))
        return findings

    def _restore(self, model: str, crowned: Crowned) -> None:
        now = self.clock.now()
        event = Event(
            id=new_event_id(now),
            at=now,
            model=model,
            kind=EventKind.RESTORED,
            body={
                "name": crowned.revision.name,
                "version": crowned.version.number,
                "revision": crowned.revision.number,
            },
        )
        artifacts = self.stage.artifacts(model)
        restored = self.registry.restore(crowned, artifacts=artifacts, event=event)
        if restored is None:
            return
        if restored != crowned:
            self.stage.crown(restored, artifacts)
        _log.warning(
            "The registry had lost the champion %s, or held another that does not verify; it was "
            "put back, epoch %d.",
            restored.revision.name,
            restored.epoch,
            extra={"action": "champion_restored", "model": model},
        )
