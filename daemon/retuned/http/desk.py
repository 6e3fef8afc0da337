"""What the HTTP surface sees of the daemon."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from retuned.http.problems import Problem, not_the_holder, rows_elsewhere
from retuned.keeper import under_care
from retuned.registry.lease.tenure import Role

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from retuned.exchange.exchange import Exchange
    from retuned.ingest.body import Room
    from retuned.ingest.intake import Intake
    from retuned.keeper import Keeper
    from retuned.registry.history.event_log import EventLog
    from retuned.registry.journal import Journal
    from retuned.registry.lease.tenure import Tenure, Tenures
    from retuned.registry.studies import StudyBook
    from retuned.registry.versions import Registry
    from retuned.rows.house import RowLogs
    from retuned.rows.log import RowLog
    from retuned.runtime.clock import Clock
    from retuned.runtime.metrics import Metrics
    from retuned.serve.champion import Champion
    from retuned.serve.served_log import ServedLog
    from retuned.serve.stage import Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """Where requests are answered from. May be used from any thread.

    Attributes:
        keepers: the models under care.
        rows: the row logs.
        intake: where rows and labels come in.
        stage: the champions that serve.
        served: the log of their answers.
        registry: versions and revisions.
        studies: studies and trials.
        events: the history.
        journal: drift reports.
        render: makes Evidently's page of a check (model, report id).
        is_ready: whether the registry answers and every keeper goes on.
        tenures: of which models this daemon has the lease.
        adopt: makes this daemon's state directory the home of a model's rows; None where it always
            is.
        metrics: counts requests.
        exchange: hands models out and takes them in.
        clock: the time.
        hosts: names that the Host header may have, beside those of this machine.
        room: bytes of a request's body at the most, and where large ones are written.
        version: retuned's own.
    """

    keepers: Callable[[], Mapping[str, Keeper]]
    rows: RowLogs
    intake: Intake
    stage: Stage
    served: ServedLog
    registry: Registry
    studies: StudyBook
    events: EventLog
    journal: Journal
    render: Callable[[str, str], Path]
    is_ready: Callable[[], bool]
    tenures: Tenures
    adopt: Callable[[Keeper], Tenure] | None
    metrics: Metrics
    exchange: Exchange
    clock: Clock
    hosts: frozenset[str]
    room: Room
    version: str

    def keeper(self, model: str) -> Keeper:
        """The keeper of a model.

        Raises:
            NoModel: no such model is under care.
        """
        return under_care(self.keepers(), model)

    def log(self, model: str) -> RowLog:
        """The row log of a model.

        Raises:
            NoModel: no such model is under care.
        """
        return self.rows.of(model, self.keeper(model).spec.task)

    def must_hold(self, model: str) -> Tenure:
        """The tenure of a model, whose lease this daemon has.

        Raises:
            NoModel: no such model is under care.
            Problem: another daemon has its lease.
        """
        self.keeper(model)
        tenure = self.tenures.look(model)
        if tenure.is_held:
            return tenure
        raise not_the_holder(model, tenure)

    def must_have_rows(self, model: str) -> None:
        """Go on only where the model's rows have their home here.

        That is so while Redis is away, too: rows are taken, and decisions wait.

        Raises:
            NoModel: no such model is under care.
            Problem: they are elsewhere.
        """
        self.keeper(model)
        tenure = self.tenures.look(model)
        if tenure.is_home:
            return
        if tenure.is_held:
            raise rows_elsewhere(model, tenure)
        raise not_the_holder(model, tenure)

    def must_decide(self, model: str) -> None:
        """Go on only where this daemon takes care of the model.

        Raises:
            NoModel: no such model is under care.
            Problem: another daemon does, or nothing is decided as the rows are elsewhere.
        """
        tenure = self.must_hold(model)
        if tenure.role is Role.STAND_IN:
            raise rows_elsewhere(model, tenure)

    def champion(self, model: str) -> Champion:
        """The champion that answers.

        Raises:
            NoModel: no such model is under care.
            Problem: it has no champion yet.
        """
        keeper = self.keeper(model)
        champion = self.stage.of(model)
        if champion is None:
            state, needed = keeper.state, keeper.spec.watch.min_rows
            detail = (
                f"{model} has no champion yet: {state.labelled} labelled rows are known, "
                f"the first is fitted at {needed} (WATCH__MIN_ROWS)"
            )
            raise Problem(503, "no-champion", detail, retry_after=5)
        return champion
