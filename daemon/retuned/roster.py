"""The models under care: one Keeper each, following the model files."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from retuned.custody import Turns
from retuned.errors import RetunedError, TransientError
from retuned.registry.lease.fencing import Fenced
from retuned.registry.signing import Forged
from retuned.runtime.lanes import Lane
from retuned_pipelines.care.facts import Ticked

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from retuned.keeper import Keeper
    from retuned.runtime.clock import Clock
    from retuned.runtime.lanes import Lanes
    from retuned.runtime.schedule import Schedule
    from retuned.serve.stage import Stage
    from retuned.settings import LoadedModels
    from retuned_pipelines.care.facts import Published
    from retuned_pipelines.spec import ModelSpec

_log = logging.getLogger(__name__)

RETRY_S = 5.0


class Roster:
    """All keepers. May be used from any thread."""

    def __init__(  # noqa: PLR0913 (the composition root hands in every dependency by name)
        self,
        *,
        load: Callable[[], LoadedModels],
        new_keeper: Callable[[ModelSpec], Keeper],
        adopt: Callable[[ModelSpec], Published | None],
        uphold: Callable[[Keeper], object],
        ask: Callable[[str], object] = lambda _: None,
        stage: Stage,
        schedule: Schedule,
        lanes: Lanes,
        clock: Clock,
    ) -> None:
        """Start with nobody; `follow` reads the model files.

        Args:
            load: reads them.
            new_keeper: makes a model's keeper.
            adopt: serves the registry's champion, and returns it as a fact.
            uphold: puts the registry's champion right.
            ask: asks whether this daemon takes care of a model, before its keeper goes on.
            stage: the champions that serve.
            schedule: when models are due.
            lanes: where work runs.
            clock: the time.
        """
        self._load = load
        self._new_keeper = new_keeper
        self._adopt = adopt
        self._uphold = uphold
        self._ask = ask
        self._stage = stage
        self._schedule = schedule
        self._lanes = lanes
        self._clock = clock
        self._keepers: Mapping[str, Keeper] = MappingProxyType({})
        self._parked: dict[str, Keeper] = {}
        self._unsettled: set[str] = set()
        self._turns = Turns()
        self._lock = threading.Lock()
        self._following = threading.Lock()

    @property
    def keepers(self) -> Mapping[str, Keeper]:
        """The keepers by model; a snapshot."""
        return self._keepers

    @property
    def is_settled(self) -> bool:
        """Whether every keeper goes on from where it last stopped."""
        with self._lock:
            return not self._unsettled

    def follow(self) -> None:
        """Read the model files: begin new models, follow changes, park what is gone.

        A file that is wrong changes nothing: the model goes on as it was before, or stays
        out until the file is mended. Nothing is ever deleted.
        """
        # A reload may be asked for while a standby takes its new rooms up.
        with self._following:
            self._follow()

    def _follow(self) -> None:
        loaded = self._load()
        for finding in loaded.findings:
            _log.error("%s", finding.text, extra={"action": "model_file_wrong"})
        wrong = {Path(finding.where) for finding in loaded.findings}
        if all(path.suffix == ".env" for path in wrong):
            # Otherwise the directory itself cannot be read, which removes no model.
            named = {path.stem for path in wrong}
            for name in self._keepers.keys() - loaded.specs.keys() - named:
                self._park(name)
        for name, spec in loaded.specs.items():
            self._take(name, spec)

    def tick(self, model: str) -> None:
        """Tell a model's keeper that its schedule came due."""
        keeper = self._keepers.get(model)
        if keeper is None or not keeper.may_decide:
            return
        try:
            keeper.accept(Ticked(now=self._clock.now()))
        except RetunedError as error:
            _log.error("%s", error, extra={"action": "tick_failed", "model": model})

    def take_up(self, model: str) -> None:
        """Let a keeper go on from the registry's champion: its model's care is ours now."""
        keeper = self._keepers.get(model)
        if keeper is not None:
            self._lanes.submit(Lane.QUICK, lambda: self._settle(model, keeper))

    def _take(self, name: str, spec: ModelSpec) -> None:
        keeper = self._keepers.get(name)
        if keeper is None:
            self._begin(name, spec)
            return
        if keeper.spec == spec:
            return
        if keeper.spec.task is not spec.task:
            _log.error(
                "TASK of %s cannot change from %s to %s: its labels were stored for the old one; "
                "give the new task a model file of another name.",
                name,
                keeper.spec.task,
                spec.task,
                extra={"action": "task_changed", "model": name},
            )
            return
        keeper.respec(spec)
        self._put_schedule(name, keeper)
        _log.info("Model file changed.", extra={"action": "model_changed", "model": name})

    def _begin(self, name: str, spec: ModelSpec) -> None:
        try:
            self._stage.restore(name)
        except RetunedError as error:
            _log.error("%s", error, extra={"action": "restore_failed", "model": name})
        try:
            keeper = self._parked.pop(name, None) or self._new_keeper(spec)
        except RetunedError as error:
            # One model's trouble is no other's.
            _log.error("%s", error, extra={"action": "model_failed", "model": name})
            return
        if keeper.spec != spec:
            keeper.respec(spec)
        with self._lock:
            self._unsettled.add(name)
        self._keepers = MappingProxyType({**self._keepers, name: keeper})
        self._lanes.submit(Lane.QUICK, lambda: self._settle(name, keeper))
        _log.info("Model under care.", extra={"action": "model_added", "model": name})

    def _park(self, name: str) -> None:
        keeper = self._keepers[name]
        keeper.park()
        with self._lock:
            self._schedule.drop(name)
        self._parked[name] = keeper
        self._keepers = MappingProxyType({k: v for k, v in self._keepers.items() if k != name})
        _log.info(
            "Model file is gone: the model is parked, nothing is deleted.",
            extra={"action": "model_parked", "model": name},
        )

    def _settle(self, name: str, keeper: Keeper) -> None:
        """Take over the registry's champion, then go on from where the keeper last stopped.

        Where another daemon takes care of the model, the champion serves, and nothing else.
        """
        with self._turns.of(name):
            if self._keepers.get(name) is keeper:
                self._settle_in_turn(name, keeper)

    def _settle_in_turn(self, name: str, keeper: Keeper) -> None:
        self._ask(name)
        try:
            found = self._found(keeper)
            if found is not None and keeper.may_decide and _is_news(keeper, found):
                keeper.accept(found)
        except TransientError as error:
            _log.warning("%s", error, extra={"action": "registry_away", "model": name})
            if keeper.state.reign is None or self._stage.of(name) is None:
                self._lanes.submit(Lane.QUICK, lambda: self._settle(name, keeper), delay_s=RETRY_S)
                return
        except Fenced as error:
            # The lease was lost in this moment; who has it next goes on.
            _log.info("%s", error, extra={"action": "adoption_fenced", "model": name})
        except RetunedError as error:
            _log.error("%s", error, extra={"action": "adoption_failed", "model": name})
        with self._lock:
            self._unsettled.discard(name)
        keeper.resume()
        self._put_schedule(name, keeper)

    def _found(self, keeper: Keeper) -> Published | None:
        """The registry's champion; what it lost, or what does not verify, is put right."""
        try:
            found = self._adopt(keeper.spec)
        except Forged as error:
            _log.error("%s", error, extra={"action": "champion_refused", "model": keeper.spec.name})
            found = None
        if found is None:
            self._uphold(keeper)
        return found

    def _put_schedule(self, name: str, keeper: Keeper) -> None:
        with self._lock:
            self._schedule.put(
                name,
                keeper.spec.schedule,
                lambda: self.tick(name),
                last=keeper.state.ticked_at,
                now=self._clock.now(),
            )


def _is_news(keeper: Keeper, found: Published) -> bool:
    """Whether another champion was found, or numbers that another daemon has given out."""
    state = keeper.state
    return (
        state.reign is None
        or state.reign.revision.name != found.revision.name
        or state.versions < found.versions
        or state.studies < found.studies
    )
