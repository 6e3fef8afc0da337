"""Tenures on a Redis that several daemons use: when it is asked, how long its answer counts."""

from __future__ import annotations

import secrets
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from retuned.errors import PermanentError, RetunedError
from retuned.registry.lease.case import Case, recalled
from retuned.registry.lease.fencing import Fenced
from retuned.registry.lease.leases import NOBODY, Found, Home, Party, Wish

if TYPE_CHECKING:
    from collections.abc import Callable

    from retuned.registry.lease.leases import LeaseBook
    from retuned.registry.lease.tenure import Tenure, Term
    from retuned.registry.memory import Memory


class SharedTenures:
    """Tenures on a Redis that others use too. May be used from any thread."""

    def __init__(  # noqa: PLR0913 (the composition root hands in every dependency by name)
        self,
        book: LeaseBook,
        memory: Memory,
        party: Party,
        term: Term,
        *,
        may_settle: bool = True,
        now: Callable[[], float] | None = None,
    ) -> None:
        """Start without any.

        Args:
            book: the leases in Redis.
            memory: outlives Redis.
            party: this daemon.
            term: how long leases last.
            may_settle: whether rows may have their home in this daemon's state directory.
            now: seconds that never go back, and that pass while the process is stopped or the
                machine sleeps; None for the system's.
        """
        self._book = book
        self._memory = memory
        self._party = party
        self._term = term
        self._may_settle = may_settle
        self._now = now or _uptime
        self._cases: dict[str, Case] = {}
        self._life = secrets.token_hex(8)
        self._is_closed = False

    def of(self, model: str) -> Tenure:
        """What this daemon is to a model now, by its own clock and what it heard last."""
        return self._tenure(self._case(model))

    def look(self, model: str) -> Tenure:
        """The same, after asking Redis where nobody has for longer than two looks take.

        That is so after the process was stopped for a while. Where Redis is away, what was heard
        last counts. No lease is taken here: whoever takes one has to let the keeper go on.
        """
        case = self._case(model)
        if self._tenure(case).is_held:
            return self._tenure(case)
        # At first without the lock: rows do not wait for whoever is asking a Redis that hangs.
        if self._is_old(case):
            with case.lock:
                self._refresh(model, case)
        return self._tenure(case)

    def token(self, model: str) -> str:
        """The token of the lease that this daemon has.

        Raises:
            Fenced: it has none, or cannot be certain.
        """
        case = self._case(model)
        with case.lock:
            if self._now() < case.until:
                return case.own_token
        holder = self._tenure(case).holder
        told = f"{holder} does" if holder else "nobody does at this moment"
        message = f"this daemon does not take care of {model}: {told}"
        raise Fenced(message)

    def turn(self, model: str) -> None:
        """Renew a lease, or take one that may be taken; else hear who has it.

        Raises:
            RetunedError: Redis is away or full, or the memory failed; what is held is held until
                its end.
        """
        case = self._case(model)
        with case.lock:
            self._ask(model, case, may_take=True)

    def settle(self, model: str) -> Tenure:
        """Make this daemon's state directory the home of a model's rows.

        Raises:
            PermanentError: it is none where rows may have their home.
            Fenced: it has not the lease.
            TransientError: Redis is away.
        """
        if not self._may_settle:
            message = (
                f"this daemon waits for the state directory with the rows of {model}, and has none "
                "of its own: stop the daemon that holds it"
            )
            raise PermanentError(message)
        token = self.token(model)
        case = self._case(model)
        with case.lock:
            if not self._book.settle(model, self._party, token):
                message = f"this daemon has lost the lease of {model} in this moment"
                raise Fenced(message)
            news = case.know(case.least, Home(party=self._party, since=case.least))
            self._memory.remember(model, news)
        return self._tenure(case)

    def release(self, model: str) -> None:
        """Let others have a lease at once; nothing where this daemon has none.

        Raises:
            TransientError: Redis is away; it ends by itself.
        """
        case = self._case(model)
        with case.lock:
            token = case.own_token
            case.lose()
        if token:
            self._book.release(model, self._party, token)

    def close(self) -> None:
        """Take no lease any more, and let others have those that are held."""
        self._is_closed = True
        for model in self.models:
            try:
                self.release(model)
            except RetunedError:
                return  # Redis is away: they end by themselves

    @property
    def models(self) -> tuple[str, ...]:
        """Models that were ever asked for."""
        return tuple(self._cases)

    def _is_old(self, case: Case) -> bool:
        return self._now() - case.looked_at > 2 * self._term.every_s

    def _refresh(self, model: str, case: Case) -> None:
        """Ask, unless somebody has while this was waited for; one that hangs is asked once."""
        if not self._is_old(case):
            return
        with suppress(RetunedError):
            self._ask(model, case, may_take=False)

    def _ask(self, model: str, case: Case, *, may_take: bool) -> None:
        if self._is_closed:
            return
        asked = self._now()
        try:
            self._renew_or_acquire(model, case, asked, may_take=may_take)
        finally:
            # When that ended: a Redis that hangs is not asked by everybody who waited for it.
            case.looked_at = self._now()

    def _renew_or_acquire(self, model: str, case: Case, asked: float, *, may_take: bool) -> None:
        if case.own_token:
            if self._book.renew(model, self._party, case.own_token, self._term.ttl_s):
                # Whatever was begun in between was refused, and has to be begun again.
                case.stint += self._now() >= case.until
                case.until = asked + self._term.own_s
                return
            case.lose()
        found = self._book.acquire(
            model, self._party, self._term.ttl_s, self._wish(case, asked, may_take=may_take)
        )
        self._learn(model, case, found, asked)

    def _wish(self, case: Case, now: float, *, may_take: bool) -> Wish:
        return Wish(
            least=case.least,
            home=case.home,
            may_take=may_take,
            may_settle=self._may_settle,
            # A lease that is gone before its time was lost by Redis: its home comes first.
            may_stand_in=now >= case.expected_end,
            may_replace=not case.stint,
            life=self._life,
        )

    def _learn(self, model: str, case: Case, found: Found, asked: float) -> None:
        case.found = found
        if found.holder != NOBODY:
            case.expected_end = asked + found.left_s
        # Before it is relied on: who looks meanwhile must not take a holder for a stand-in.
        news = case.know(found.number, found.home)
        if found.is_taken:
            case.own_token, case.until = found.token, asked + self._term.own_s
            case.stint += 1
        if news:
            self._memory.remember(model, news)

    def _tenure(self, case: Case) -> Tenure:
        return case.tenure(self._party, self._now())

    def _case(self, model: str) -> Case:
        case = self._cases.get(model)
        if case is None:
            case = self._cases.setdefault(model, recalled(self._memory, model))
        return case


def _uptime() -> float:
    """Seconds since the machine started, those that it slept through among them."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
