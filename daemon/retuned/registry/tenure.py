"""Tenures: of which models this daemon has the lease, by its own clock.

A lease of ``LEASE_S`` ends in Redis after .6 of it (`Term.ttl_s`), is renewed every sixth, and is
looked at by others every sixth. A holder that dies right after it renewed is followed after .6 +
.17 of ``LEASE_S``, which leaves .23 for taking over. The holder itself counts from before it
asked, and a margin less: its tenure is over before the lease is.
"""

from __future__ import annotations

import secrets
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from threading import Lock
from typing import TYPE_CHECKING, Protocol

import orjson

from retuned.errors import PermanentError, RetunedError
from retuned.registry.fencing import Fence, Fenced
from retuned.registry.leases import NOBODY, NOWHERE, Found, Home, Party, Wish

if TYPE_CHECKING:
    from collections.abc import Callable

    from retuned.registry.leases import LeaseBook
    from retuned.registry.memory import Memory

TOKEN, HOME = "lease-token", "lease-home"
"""What is remembered of a model's lease outside of Redis."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """How long leases last, in seconds.

    Attributes:
        lease_s: within so many seconds another daemon takes over (``RETUNED_LEASE_S``).
    """

    lease_s: float

    @property
    def ttl_s(self) -> float:
        """After so many a lease that nobody renewed ends in Redis."""
        return 0.6 * self.lease_s

    @property
    def every_s(self) -> float:
        """Between two looks: a holder's to renew, a standby's to take over."""
        return self.lease_s / 6

    @property
    def own_s(self) -> float:
        """So long after asking its holder relies on it: a tenth less, as clocks differ."""
        return 0.9 * self.ttl_s


class Role(StrEnum):
    """What a daemon is to a model."""

    HOLDER = "holder"
    STANDBY = "standby"
    STAND_IN = "stand-in"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenure:
    """What this daemon is to a model at a moment.

    Attributes:
        role: HOLDER takes rows and decides. STANDBY serves what another one decides. STAND_IN
            has the lease of a daemon that is gone, without its rows: it serves and decides nothing.
        holder: where the daemon answers that has the lease; "" where nobody is known.
        home: where the daemon answers, or did, whose state directory has the rows; "" likewise.
        is_home: whether that is this one's.
        token: of the newest lease that is known.
        took_over: whether another daemon had the lease before, where this one has it.
        stint: counts the times that this daemon got the lease, or was certain of it again.
    """

    role: Role
    holder: str = ""
    home: str = ""
    is_home: bool = True
    token: int = 0
    took_over: bool = False
    stint: int = 0

    @property
    def is_held(self) -> bool:
        """Whether this daemon has the lease."""
        return self.role is not Role.STANDBY


class Tenures(Fence, Protocol):
    """The tenures of all models. May be called from any thread."""

    def of(self, model: str) -> Tenure:
        """What this daemon is to a model now; never raises."""

    def look(self, model: str) -> Tenure:
        """The same, after asking Redis where the last answer is too old to rely on."""


class Alone:
    """The tenures of a daemon on a server of its own: there is no other."""

    def __init__(self, url: str = "") -> None:
        """Take where this daemon answers."""
        self._tenure = Tenure(role=Role.HOLDER, holder=url, home=url)

    def of(self, model: str) -> Tenure:
        """Holder."""
        del model
        return self._tenure

    def look(self, model: str) -> Tenure:
        """Holder."""
        return self.of(model)

    def token(self, model: str) -> str:
        """None is needed."""
        del model
        return ""


@dataclass(slots=True)
class _Case:
    """What is known of one model's lease."""

    lock: Lock = field(default_factory=Lock)
    found: Found | None = None
    home: Home = NOWHERE
    least: int = 0
    own_token: int = 0
    until: float = 0.0
    looked_at: float = float("-inf")
    expected_end: float = float("-inf")
    stint: int = 0


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
        self._cases: dict[str, _Case] = {}
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
        with case.lock:
            is_old = self._now() - case.looked_at > 2 * self._term.every_s
        if is_old:
            with suppress(RetunedError):
                self.turn(model, may_take=False)
        return self._tenure(case)

    def token(self, model: str) -> str:
        """The token of the lease that this daemon has.

        Raises:
            Fenced: it has none, or cannot be certain.
        """
        case = self._case(model)
        with case.lock:
            if self._now() < case.until:
                return str(case.own_token)
        holder = self._tenure(case).holder
        told = f"{holder} does" if holder else "nobody does at this moment"
        message = f"this daemon does not take care of {model}: {told}"
        raise Fenced(message)

    def turn(self, model: str, *, may_take: bool = True) -> None:
        """Renew a lease, or take one that may be taken; else hear who has it.

        Raises:
            RetunedError: Redis is away or full, or the memory failed; what is held is held until
                its end.
        """
        case = self._case(model)
        with case.lock:
            if self._is_closed:
                return
            asked = case.looked_at = self._now()
            if case.own_token:
                if self._book.renew(model, self._party, case.own_token, self._term.ttl_s):
                    # Whatever was begun in between was refused, and has to be begun again.
                    case.stint += self._now() >= case.until
                    case.until = asked + self._term.own_s
                    return
                case.own_token, case.until = 0, float("-inf")
            found = self._book.acquire(
                model, self._party, self._term.ttl_s, self._wish(case, asked, may_take=may_take)
            )
            self._learn(model, case, found, asked)

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
        token = int(self.token(model))
        case = self._case(model)
        with case.lock:
            if not self._book.settle(model, self._party, token):
                message = f"this daemon has lost the lease of {model} in this moment"
                raise Fenced(message)
            self._know(model, case, token, Home(party=self._party, since=token))
        return self._tenure(case)

    def release(self, model: str) -> None:
        """Let others have a lease at once; nothing where this daemon has none.

        Raises:
            TransientError: Redis is away; it ends by itself.
        """
        case = self._case(model)
        with case.lock:
            token, case.own_token, case.until = case.own_token, 0, float("-inf")
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

    def _wish(self, case: _Case, now: float, *, may_take: bool) -> Wish:
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

    def _learn(self, model: str, case: _Case, found: Found, asked: float) -> None:
        case.found = found
        if found.holder != NOBODY:
            case.expected_end = asked + found.left_s
        if found.is_taken:
            case.own_token, case.until = found.token, asked + self._term.own_s
            case.stint += 1
        self._know(model, case, found.token, found.home)

    def _know(self, model: str, case: _Case, token: int, home: Home) -> None:
        """Remember the highest token and the newest home, where they are news."""
        texts: dict[str, bytes | None] = {}
        if token > case.least:
            case.least, texts[TOKEN] = token, str(token).encode()
        if home.party != NOBODY and home.since >= case.home.since and home != case.home:
            case.home = home
            texts[HOME] = orjson.dumps([home.party.id, home.party.url, home.since])
        if texts:
            self._memory.remember(model, texts)

    def _tenure(self, case: _Case) -> Tenure:
        found, is_home = case.found, case.home.party.id == self._party.id
        is_copied = found is not None and not found.is_taken and found.holder.id == self._party.id
        tenure = Tenure(
            role=Role.STANDBY,
            holder="" if found is None or found.is_taken else found.holder.url,
            home=case.home.party.url,
            # Of two daemons on copies of one state directory the one without the lease has no rows.
            is_home=is_home and not is_copied,
            token=case.least,
        )
        if self._now() >= case.until:
            return tenure
        return replace(
            tenure,
            role=Role.HOLDER if is_home else Role.STAND_IN,
            holder=self._party.url,
            stint=case.stint,
            took_over=found is not None and found.last not in {NOBODY, self._party},
        )

    def _case(self, model: str) -> _Case:
        case = self._cases.get(model)
        if case is None:
            case = self._cases.setdefault(model, self._recalled(model))
        return case

    def _recalled(self, model: str) -> _Case:
        """What is known from before; a memory that fails knows nothing."""
        case = _Case()
        try:
            token = self._memory.recall(model, TOKEN)
            home = self._memory.recall(model, HOME)
        except RetunedError:
            return case
        case.least = int(token or 0)
        if home is not None:
            name, url, since = orjson.loads(home)
            case.home = Home(party=Party(id=name, url=url), since=since)
        return case


def _uptime() -> float:
    """Seconds since the machine started, those that it slept through among them."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
