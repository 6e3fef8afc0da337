"""What a daemon knows of one model's lease: what Redis told it, and what it remembers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from threading import Lock
from typing import TYPE_CHECKING

import orjson

from retuned.errors import RetunedError
from retuned.registry.lease.leases import NOBODY, NOWHERE, Found, Home, Party
from retuned.registry.lease.tenure import Role, Tenure

if TYPE_CHECKING:
    from retuned.registry.memory import Memory

TOKEN, HOME = "lease-token", "lease-home"
"""What is remembered of a model's lease outside of Redis."""


@dataclass(slots=True)
class Case:
    """What is known of one model's lease.

    Attributes:
        lock: held by whoever asks Redis, and for as long as that takes.
        found: what Redis told last.
        home: the newest home that is known.
        least: the highest number of a token that is known.
        own_token: of the lease that this daemon took last; "" where it is lost or let go.
        until: so long the daemon relies on that, by its own clock.
        looked_at: when Redis last answered, or was waited for in vain.
        expected_end: when the lease of whoever had it last ends, unless it is renewed.
        stint: see `Tenure`.
    """

    lock: Lock = field(default_factory=Lock)
    found: Found | None = None
    home: Home = NOWHERE
    least: int = 0
    own_token: str = ""
    until: float = float("-inf")
    looked_at: float = float("-inf")
    expected_end: float = float("-inf")
    stint: int = 0

    def lose(self) -> None:
        """Rely on nothing any more."""
        self.own_token, self.until = "", float("-inf")

    def know(self, number: int, home: Home) -> dict[str, bytes | None]:
        """Take in a token's number and a home; returns what is to be remembered of it."""
        news: dict[str, bytes | None] = {}
        if number > self.least:
            self.least, news[TOKEN] = number, str(number).encode()
        if home.party != NOBODY and home.since >= self.home.since and home != self.home:
            self.home = home
            news[HOME] = orjson.dumps([home.party.id, home.party.url, home.since])
        return news

    def tenure(self, party: Party, now: float) -> Tenure:
        """What a daemon is to the model now."""
        found, is_home = self.found, self.home.party.id == party.id
        is_copied = found is not None and not found.is_taken and found.holder.id == party.id
        tenure = Tenure(
            role=Role.STANDBY,
            holder="" if found is None or found.is_taken else found.holder.url,
            home=self.home.party.url,
            # Of two daemons on copies of one state directory the one without the lease has no rows.
            is_home=is_home and not is_copied,
            token=self.least,
        )
        if now >= self.until:
            return tenure
        return replace(
            tenure,
            role=Role.HOLDER if is_home else Role.STAND_IN,
            holder=party.url,
            stint=self.stint,
            took_over=found is not None and found.last not in {NOBODY, party},
        )


def recalled(memory: Memory, model: str) -> Case:
    """What is known from before; a memory that fails knows nothing."""
    try:
        token = memory.recall(model, TOKEN)
        home = memory.recall(model, HOME)
    except RetunedError:
        return Case()
    case = Case(least=int(token or 0))
    if home is not None:
        name, url, since = orjson.loads(home)
        case.home = Home(party=Party(id=name, url=url), since=since)
    return case
