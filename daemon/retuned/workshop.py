"""Where orders are carried out: one method an order, each returning the fact that results."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from functools import singledispatchmethod
from typing import TYPE_CHECKING

from retuned.custody import Custody, Turns
from retuned.errors import PermanentError, RetunedError
from retuned.registry.history.events import Event, EventKind
from retuned.registry.pins import Pin
from retuned.registry.signing import Forged
from retuned.registry.takeover import Conflict
from retuned.tune.judge import judge
from retuned.tune.refit import refit
from retuned.watch import Scored, measure, score_matured, score_members
from retuned_pipelines.care.facts import (
    Arrived,
    Fact,
    Fitted,
    Judged,
    Measured,
    Published,
    Shelved,
    Studied,
)
from retuned_pipelines.care.orders import (
    Judge,
    Measure,
    Publish,
    Refit,
    Shelve,
    Study,
    Work,
    announcement,
    shelving,
)
from retuned_pipelines.version import Beside

if TYPE_CHECKING:
    from retuned.registry.pointer import Crowned
    from retuned.registry.versions import Registry
    from retuned.rows.house import RowLogs
    from retuned.rows.log import RowLog
    from retuned.runtime.clock import Clock
    from retuned.serve.champion import Champion
    from retuned.serve.served_log import ServedLog
    from retuned.serve.stage import Stage
    from retuned.tune.bench import Bench
    from retuned.tune.study import Studies
    from retuned_pipelines.care.orders import Notify
    from retuned_pipelines.spec import ModelSpec
    from retuned_pipelines.version import Shadow

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """The tools that orders need. May be used from any thread.

    Every order can be carried out again after a crash; the result is the same.

    Attributes:
        rows: the row logs.
        registry: versions, revisions, artifacts, champions.
        studies: runs studies.
        bench: runs fits in child processes.
        stage: the champions that serve.
        clock: the time.
        served: the answers that were given; None where nobody asked, as in a replay.
        turns: who changes a model's champion, one after the other.
    """

    rows: RowLogs
    registry: Registry
    studies: Studies
    bench: Bench
    stage: Stage
    clock: Clock
    served: ServedLog | None = None
    turns: Turns = field(default_factory=Turns)

    @property
    def custody(self) -> Custody:
        """Keeps the registry as it ought to be."""
        return Custody(registry=self.registry, stage=self.stage, clock=self.clock, turns=self.turns)

    def count(self, spec: ModelSpec) -> Arrived:
        """Count what a model's row log holds."""
        counts = self._log(spec).counts()
        return Arrived(
            now=self.clock.now(),
            last_seq=counts.last_seq,
            rows=counts.rows,
            labelled=counts.labelled,
        )

    def adopt(self, spec: ModelSpec) -> Published | None:
        """Serve the registry's champion, where it is not the one that serves already.

        Returns:
            The champion as a fact; None where the registry has none.

        Raises:
            RetunedError: the registry could not be read, or holds something forged.
        """
        crowned = self.follow(spec)
        if crowned is None:
            return None
        numbers = [version.number for version in self.registry.versions(spec.name)]
        return Published(
            now=self.clock.now(),
            order="",
            version=crowned.version,
            revision=crowned.revision,
            epoch=crowned.epoch,
            versions=max(numbers, default=0),
            studies=self.studies.book.highest(spec.name),
        )

    def follow(self, spec: ModelSpec) -> Crowned | None:
        """Serve the registry's champion and return it, as `adopt` does."""
        with self.turns.of(spec.name):
            return self._followed(spec)

    def _followed(self, spec: ModelSpec) -> Crowned | None:
        serving = self.stage.of(spec.name)
        if serving is not None:
            self.registry.saw(serving.crowned)
        crowned = self.registry.champion(spec.name)
        if crowned is not None and (
            serving is None or serving.crowned.revision.name != crowned.revision.name
        ):
            digests = set(crowned.revision.artifacts) - {""}
            artifacts = {name: self.registry.artifact(spec.name, name) for name in digests}
            self.stage.crown(crowned, artifacts)
        return crowned

    def carry_out(self, spec: ModelSpec, work: Work) -> Fact:
        """Carry out an order.

        Raises:
            Interrupted: the daemon stops; the order is carried out at the next start.
            RetunedError: it failed; it may be tried again.
            OSError: the disk is full.
        """
        return self._do(work, spec)

    @singledispatchmethod
    def _do(self, work: Work, spec: ModelSpec) -> Fact:
        message = f"{work!r} of {spec.name} is no order that the workshop knows"
        raise PermanentError(message)

    @_do.register(Measure)
    def _measure(self, work: Measure, spec: ModelSpec) -> Measured:
        log = self._log(spec)
        self._score(spec, log, work.as_of)
        return Measured(now=self.clock.now(), order=work.id, report=measure(spec, work, log))

    @_do.register(Study)
    def _study(self, work: Study, spec: ModelSpec) -> Studied:
        return self.studies.run(spec, work, self._log(spec))

    @_do.register(Judge)
    def _judge(self, work: Judge, spec: ModelSpec) -> Judged:
        name = work.rival_artifact
        rival = self._artifact(spec.name, name) if name else b""
        return judge(spec, work, self._log(spec), self.bench, self.clock.now(), rival=rival)

    @_do.register(Refit)
    def _refit(self, work: Refit, spec: ModelSpec) -> Fitted:
        log = self._log(spec)
        scored = self._scored(spec, work, log)
        return refit(
            spec,
            work,
            log,
            self.bench,
            now=self.clock.now(),
            came=scored.came,
            beside=scored.beside,
        )

    def _scored(self, spec: ModelSpec, work: Refit, log: RowLog) -> Scored:
        """How those did whom a refit is about, if they are those who serve."""
        champion = self.stage.of(spec.name)
        if champion is None:
            return Scored()
        is_its_own = (
            work.serving is not None and champion.crowned.revision.name == work.serving.name
        )
        scored = score_members(
            spec,
            log,
            champion,
            work.as_of,
            wants_elder=work.wants_elder,
            served=self.served,
            shadow=self._shadow(work.shadow) if is_its_own else None,
            compared=work.compared,
        )
        if is_its_own:
            return scored
        shadow = work.shadow
        if shadow is None or champion.crowned.revision.name != shadow.revision.name:
            return Scored()
        # It still serves; from now on it stands in shadow.
        return Scored(beside=Beside(differences=(), until=work.as_of, came=scored.came))

    def _shadow(self, shadow: Shadow | None) -> Champion | None:
        """Who stands in shadow; None where nobody does, or its artifacts cannot be had now."""
        if shadow is None:
            return None
        try:
            return self.stage.beside(
                shadow, lambda name: self._artifact(shadow.version.model, name)
            )
        except RetunedError as error:
            _log.warning(
                "Version %s cannot be compared with its successor on these labels: %s",
                shadow.revision.name,
                error,
                extra={"action": "shadow_missing", "model": shadow.version.model},
            )
            return None

    @_do.register(Publish)
    def _publish(self, work: Publish, spec: ModelSpec) -> Published:
        artifacts = self._artifacts(work)
        self._score(spec, self._log(spec), work.revision.fitted_as_of)
        now = self.clock.now()
        event = _event(spec, announcement(work), now)
        fits = self.bench.fits(spec.name)
        proven = {name for name in artifacts if (fits / name).exists()}
        before = self.stage.of(spec.name)
        with self.turns.of(spec.name):
            crowned = self._crown(spec, work, artifacts, event)
            self.stage.crown(crowned, artifacts, proven=proven)
            self._keep(work)
        self.registry.prune(crowned, None if before is None else before.crowned.revision)
        # A model has one takeover at a time: what else waits there retired, or is of one let go.
        for path in fits.glob("*"):
            path.unlink(missing_ok=True)
        return Published(
            now=now,
            order=work.id,
            version=crowned.version,
            revision=crowned.revision,
            epoch=crowned.epoch,
        )

    @_do.register(Shelve)
    def _shelve(self, work: Shelve, spec: ModelSpec) -> Shelved:
        (name,) = work.revision.artifacts
        path = self.bench.brought(spec.name) / name
        data = path.read_bytes() if path.exists() else self.registry.artifact(spec.name, name)
        now = self.clock.now()
        pin = Pin(version=work.version.number, who=work.who, reason=work.reason, at=now)
        self.registry.shelve(
            work.version,
            work.revision,
            pin=pin,
            artifacts={name: data},
            event=_event(spec, shelving(work), now),
        )
        path.unlink(missing_ok=True)
        return Shelved(now=now, order=work.id)

    def _crown(
        self, spec: ModelSpec, work: Publish, artifacts: dict[str, bytes], event: Event
    ) -> Crowned:
        def publish() -> Crowned:
            return self.registry.publish(
                work.version,
                work.revision,
                expected=work.expected,
                artifacts=artifacts,
                event=event,
            )

        try:
            return publish()
        except (Conflict, Forged):
            found = self.custody.uphold(spec.name)
            if found is None or not found.is_restored:
                raise
            return publish()

    def _keep(self, work: Publish) -> None:
        """Store the shadow's revision, so that it can come back; the champion serves already."""
        if work.shadow is None:
            self.stage.alone(work.version.model)
            return
        revision = work.shadow.revision
        fits = self.bench.fits(revision.model)
        own = {*revision.artifacts} - {"", *work.revision.artifacts}
        new = {name: (fits / name).read_bytes() for name in own if (fits / name).exists()}
        try:
            self.registry.keep(revision, new)
        except PermanentError as error:
            _log.warning("%s", error, extra={"action": "shadow_lost", "model": revision.model})

    def _artifacts(self, work: Publish) -> dict[str, bytes]:
        model = work.version.model
        return {name: self._artifact(model, name) for name in set(work.revision.artifacts) - {""}}

    def _artifact(self, model: str, name: str) -> bytes:
        """A fitted model: from the bench, one that serves already, or from the registry."""
        path = self.bench.fits(model) / name
        if path.exists():
            return path.read_bytes()
        return self.stage.artifact(model, name) or self.registry.artifact(model, name)

    def _score(self, spec: ModelSpec, log: RowLog, until: int) -> None:
        champion = self.stage.of(spec.name)
        if champion is not None:
            score_matured(spec, log, champion, until, served=self.served)

    def _log(self, spec: ModelSpec) -> RowLog:
        return self.rows.of(spec.name, spec.task)


def _event(spec: ModelSpec, notice: Notify, now: float) -> Event:
    """The event that the registry writes; the journal's has the same id, and counts once."""
    return Event(
        id=f"{spec.name}-{notice.key}",
        at=now,
        model=spec.name,
        kind=EventKind(notice.event),
        body=notice.body,
    )
