"""The keeper of one model: persists facts and orders, and reports results as facts.

Thin on purpose: what to do is decided by ``retuned_pipelines.care``, how it is done stands
in the workshop, and where it runs is up to the lanes.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from retuned.errors import Interrupted, RetunedError, TransientError
from retuned.ingest.intake import NoModel
from retuned.registry.history.events import Event, EventKind, new_event_id
from retuned.runtime.lanes import Lane
from retuned_pipelines.care import react
from retuned_pipelines.care.facts import Abandoned, Arrived, Fact, Measured
from retuned_pipelines.care.orders import Notify, Study, Work
from retuned_pipelines.care.state import CareState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from retuned.registry.journal import Journal
    from retuned.runtime.clock import Clock
    from retuned.runtime.lanes import Lanes
    from retuned_pipelines.care.orders import Order
    from retuned_pipelines.spec import ModelSpec

_log = logging.getLogger(__name__)

NOTICE_S = 0.1
"""What comes within so many seconds is looked at together."""

FIRST_RETRY_S = 5.0
LAST_RETRY_S = 600.0

ATTEMPTS = 3
"""An order that fails this often, for no reason that passes by itself, is let go."""

_STATE = TypeAdapter(CareState)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """An order that failed and waits to be tried again.

    Attributes:
        order: its id.
        error: what went wrong.
        attempts: how often it was tried.
        retry_at: when it is tried again, seconds since the epoch.
    """

    order: str
    error: str
    attempts: int
    retry_at: float


class Keeper:
    """Takes care of one model. May be called from any thread.

    A fact that was accepted survives a crash, with what it caused: the journal stores the
    new state, which names every order in flight, and the events in one transaction.
    """

    def __init__(  # noqa: PLR0913 (the composition root hands in every dependency by name)
        self,
        spec: ModelSpec,
        *,
        journal: Journal,
        carry_out: Callable[[ModelSpec, Work], Fact],
        count: Callable[[ModelSpec], Arrived],
        lanes: Lanes,
        clock: Clock,
        observe: Callable[[Event], None],
        may_decide: Callable[[], bool] = lambda: True,
    ) -> None:
        """Read the model's last state from the journal; parked until `resume`.

        While ``may_decide`` says no, as another daemon takes care of the model, nothing is begun
        and no result is taken in: what was in flight is begun again at the next `resume`.
        """
        self.spec = spec
        self._journal = journal
        self._carry_out = carry_out
        self._count = count
        self._lanes = lanes
        self._clock = clock
        self._observe = observe
        self._may_decide = may_decide
        self._lock = threading.RLock()
        self._troubles: dict[str, Trouble] = {}
        self._is_notice_due = False
        self._is_parked = True
        self._under_way: set[str] = set()
        self._begun_anew: set[str] = set()
        stored = journal.state(spec.name)
        self._state = CareState() if stored is None else _STATE.validate_python(stored)

    @property
    def state(self) -> CareState:
        """What is remembered of the model, as of now."""
        return self._state

    @property
    def troubles(self) -> tuple[Trouble, ...]:
        """Orders that failed and wait to be tried again."""
        return tuple(self._troubles.values())

    @property
    def may_decide(self) -> bool:
        """Whether this daemon takes care of the model, as of now."""
        return self._may_decide()

    def resume(self) -> None:
        """Begin again what was in flight when the daemon last stopped, or lost the model's care."""
        self._is_parked = False
        for work in self._state.flight:
            self._begin(work)
        self.notice()

    def park(self) -> None:
        """Begin nothing more; what runs may finish. The champion keeps serving."""
        self._is_parked = True

    def respec(self, spec: ModelSpec) -> None:
        """Follow a changed model file from now on."""
        with self._lock:
            self.spec = spec
        self.notice()

    def notice(self) -> None:
        """Look at the row log soon; many calls in a row cost one look.

        Not at once: a producer that sends batch after batch would have a look for each of them
        run beside the next.
        """
        with self._lock:
            if self._is_notice_due:
                return
            self._is_notice_due = True
        self._lanes.submit(Lane.QUICK, self._look, delay_s=NOTICE_S)

    def accept(self, fact: Fact) -> tuple[Order, ...]:
        """Take in a fact, persist what follows from it, and begin that.

        Returns:
            The orders that follow from it, what is told among them.

        Raises:
            RetunedError: the journal could not be written; the fact is not taken in.
        """
        with self._lock:
            state, orders = react(self.spec, self._state, fact)
            works = [order for order in orders if not isinstance(order, Notify)]
            events = self._events(orders)
            # Counts are read from the log again after a crash, so they alone cost no write.
            if orders or not isinstance(fact, Arrived):
                self._persist(state, events, fact)
            self._state = state
            for order in self._troubles.keys() - {work.id for work in state.flight}:
                # Let go: nobody tries it again.
                del self._troubles[order]
        for event in events:
            self._observe(event)
        for work in works:
            self._begin(work)
        return tuple(orders)

    def tell(self, notice: Notify) -> None:
        """Write into the history what is no fact; without a journal it is lost, which is logged."""
        events = self._events((notice,))
        with self._lock:
            try:
                self._persist(self._state, events, None)
            except RetunedError as error:
                self._warn("journal", error, 0.0)
        for event in events:
            self._observe(event)

    def _look(self) -> None:
        with self._lock:
            self._is_notice_due = False
        if self._is_parked or not self._may_decide():
            return
        try:
            self.accept(self._count(self.spec))
        except RetunedError as error:
            self._warn("look", error, FIRST_RETRY_S)
            self._lanes.submit(Lane.QUICK, self.notice, delay_s=FIRST_RETRY_S)

    def _begin(self, work: Work, delay_s: float = 0.0) -> None:
        lane = Lane.STUDY if isinstance(work, Study) else Lane.QUICK
        self._lanes.submit(lane, lambda: self._perform(work), delay_s=delay_s)

    def _perform(self, work: Work) -> None:
        with self._lock:
            is_due = any(order.id == work.id for order in self._state.flight)
            if self._is_parked or not self._may_decide() or not is_due:
                return
            if work.id in self._under_way:
                # That may come to nothing yet: it began with a lease that was lost since.
                self._begun_anew.add(work.id)
                return
            self._under_way.add(work.id)
        try:
            fact = self._carry_out(self.spec, work)
            if not self._may_decide():
                # Somebody else may have decided otherwise meanwhile.
                return
            self._recover(work)
            self.accept(fact)
        except Interrupted as error:
            extra = {"action": "order_interrupted", "model": self.spec.name, "order": work.id}
            _log.info("%s is interrupted. %s", work.id, error, extra=extra)
        except Exception as error:  # noqa: BLE001 (whatever goes wrong is this model's alone)
            self._fail(work, error)
        finally:
            with self._lock:
                self._under_way.discard(work.id)
                is_wanted = work.id in self._begun_anew
                self._begun_anew.discard(work.id)
            if is_wanted:
                self._begin(work)

    def _fail(self, work: Work, error: Exception) -> None:
        if self._state.work(work.id) is None:
            return  # let go while it was under way
        before = self._troubles.get(work.id)
        attempts = 1 if before is None else before.attempts + 1
        delay_s = min(LAST_RETRY_S, FIRST_RETRY_S * 2 ** (attempts - 1))
        if isinstance(error, TransientError):
            delay_s = min(delay_s, max(error.retry_after, 1.0))
        trouble = Trouble(
            order=work.id,
            error=str(error) or type(error).__name__,
            attempts=attempts,
            retry_at=self._clock.now() + delay_s,
        )
        if attempts >= ATTEMPTS and not isinstance(error, TransientError | OSError):
            self._abandon(work, trouble)
            return
        self._warn(work.id, error, delay_s)
        with self._lock:
            self._troubles[work.id] = trouble
        if before is None:
            body = {"order": work.id, "kind": work.kind, "error": trouble.error}
            self.tell(Notify(event=EventKind.FAILED, body=body))
        self._begin(work, delay_s)

    def _abandon(self, work: Work, trouble: Trouble) -> None:
        _log.error(
            "%s failed %d times and is let go: %s",
            work.id,
            trouble.attempts,
            trouble.error,
            extra={"action": "order_abandoned", "model": self.spec.name, "order": work.id},
        )
        with self._lock:
            self._troubles.pop(work.id, None)
        fact = Abandoned(
            now=self._clock.now(), order=work.id, error=trouble.error, attempts=trouble.attempts
        )
        try:
            self.accept(fact)
        except RetunedError as error:
            self._warn(work.id, error, LAST_RETRY_S)
            self._begin(work, LAST_RETRY_S)

    def _recover(self, work: Work) -> None:
        with self._lock:
            trouble = self._troubles.pop(work.id, None)
        if trouble is not None:
            body = {"order": work.id, "kind": work.kind, "attempts": trouble.attempts + 1}
            self.tell(Notify(event=EventKind.RECOVERED, body=body))

    def _events(self, orders: Sequence[Order]) -> tuple[Event, ...]:
        now, model = self._clock.now(), self.spec.name
        return tuple(
            Event(
                id=f"{model}-{order.key}" if order.key else new_event_id(now),
                at=now,
                model=model,
                kind=EventKind(order.event),
                body=order.body,
            )
            for order in orders
            if isinstance(order, Notify)
        )

    def _persist(self, state: CareState, events: Sequence[Event], fact: Fact | None) -> None:
        report: tuple[str, dict[str, Any]] | None = None
        if isinstance(fact, Measured):
            report = (fact.order, fact.report.to_json())
        self._journal.append(
            self.spec.name, _STATE.dump_python(state, mode="json"), events, drift=report
        )

    def _warn(self, order: str, error: Exception, retry_s: float) -> None:
        _log.warning(
            "%s failed, tried again in %.0f s: %s",
            order,
            retry_s,
            error,
            exc_info=None if isinstance(error, RetunedError) else error,
            extra={
                "action": "order_failed",
                "model": self.spec.name,
                "order": order,
                "retry_s": retry_s,
            },
        )


def under_care(keepers: Mapping[str, Keeper], model: str) -> Keeper:
    """The keeper of a model.

    Raises:
        NoModel: no such model is under care.
    """
    found = keepers.get(model)
    if found is None:
        known = ", ".join(sorted(keepers)) or "none"
        message = f"no model {model!r} is under care; known: {known}"
        raise NoModel(message)
    return found
