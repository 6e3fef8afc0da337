"""Tenures: of which models this daemon has the lease, by its own clock.

A lease of ``LEASE_S`` ends in Redis after .6 of it (`Term.ttl_s`), is renewed every sixth, and is
looked at by others every sixth. A holder that dies right after it renewed is followed after .6 +
.17 of ``LEASE_S``, which leaves .23 for taking over. The holder itself counts from before it
asked, and a margin less: its tenure is over before the lease is.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from retuned.registry.lease.fencing import Fence


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
        token: number of the newest lease that is known.
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

    @property
    def is_waiting(self) -> bool:
        """Whether this daemon has the rows, and nobody a lease, as far as it knows."""
        return self.is_home and not self.is_held and not self.holder

    @property
    def is_suspended(self) -> bool:
        """Whether nobody decides, as far as this daemon knows, and it would have to."""
        return self.role is Role.STAND_IN or self.is_waiting


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
