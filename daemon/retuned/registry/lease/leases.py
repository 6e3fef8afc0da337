"""Leases in Redis: for each model who takes care of it, for how long, and where its rows are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from retuned.registry import keys
from retuned.registry.connect import translated

if TYPE_CHECKING:
    from redis import Redis

ACQUIRE = """
local held = redis.call('HMGET', KEYS[1], 'id', 'url', 'token', 'life')
local home = redis.call('HMGET', KEYS[3], 'id', 'url', 'since', 'last')
if ARGV[5] ~= '' and tonumber(home[3] or 0) < tonumber(ARGV[7]) then
  home = {ARGV[5], ARGV[6], ARGV[7], home[4]}
end
local is_home = home[1] == ARGV[1] or (not home[1] and ARGV[8] == '1')
local may = is_home or ARGV[9] == '1'
if held[1] == ARGV[1] then may = ARGV[10] == '1' or held[4] == ARGV[11]
elseif held[1] then may = is_home and held[1] ~= home[1] end
if not may or not (is_home or home[1]) or ARGV[12] == '0' then
  return {0, held[1] or '', held[2] or '', held[3] or '', redis.call('PTTL', KEYS[1]),
    home[1] or '', home[2] or '', home[3] or '0', home[4] or ''}
end
local newest = string.match(redis.call('GET', KEYS[2]) or '', '^%d+') or 0
local number = string.format('%.0f', math.max(tonumber(newest), tonumber(ARGV[4])) + 1)
local token = number .. '-' .. ARGV[11]
redis.call('SET', KEYS[2], token)
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'id', ARGV[1], 'url', ARGV[2], 'token', token, 'life', ARGV[11])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
if is_home then home = {ARGV[1], ARGV[2], home[3] or number, home[4]} end
redis.call('HSET', KEYS[3], 'id', home[1], 'url', home[2], 'since', home[3],
  'last', ARGV[1] .. ' ' .. ARGV[2])
return {1, ARGV[1], ARGV[2], token, tonumber(ARGV[3]), home[1], home[2], home[3], home[4] or ''}
"""
"""Take a lease, or look who has it. KEYS: lease, fence, home.

ARGV: id, url, milliseconds, highest number known; the home that is known from before ("" for none),
its url and since when; whether (1) the own directory may become the home where none is known;
whether a lease that is free may be taken for another home; whether one of the own id is an older
process's, to be replaced; the own process's name; whether (0) it is only asked who has it.
A home's daemon takes the lease from whoever only stands in for it. A token is a number and the name
of the process that got it: a Redis that lost its newest numbers may give one out twice.
"""

RENEW = """
local held = redis.call('HMGET', KEYS[1], 'id', 'token')
if held[1] ~= ARGV[1] or held[2] ~= ARGV[2] or redis.call('GET', KEYS[2]) ~= ARGV[2] then
  return 0
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
"""
"""KEYS: lease, fence. ARGV: id, token, milliseconds."""

RELEASE = """
local held = redis.call('HMGET', KEYS[1], 'id', 'token')
if held[1] ~= ARGV[1] or held[2] ~= ARGV[2] then return 0 end
return redis.call('DEL', KEYS[1])
"""
"""KEYS: lease. ARGV: id, token."""

SETTLE = """
local held = redis.call('HMGET', KEYS[1], 'id', 'token')
if held[1] ~= ARGV[1] or held[2] ~= ARGV[3] or redis.call('GET', KEYS[2]) ~= ARGV[3] then
  return 0
end
local since = string.match(ARGV[3], '^%d+')
redis.call('HSET', KEYS[3], 'id', ARGV[1], 'url', ARGV[2], 'since', since)
return 1
"""
"""Make the holder's directory the home. KEYS: lease, fence, home. ARGV: id, url, token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """A daemon, as others know it.

    Attributes:
        id: the name of its state directory.
        url: where it answers.
    """

    id: str
    url: str


NOBODY = Party(id="", url="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """Where a model's rows are.

    Attributes:
        party: the daemon of that state directory; NOBODY before there was any.
        since: number of the token with which it became the home; a later home has a higher one.
    """

    party: Party = NOBODY
    since: int = 0


NOWHERE = Home()


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A model's lease, as Redis has it.

    Attributes:
        is_taken: whether whoever asked has it from now on.
        holder: who has it; NOBODY where it is free.
        token: its token, to renew it and to write with; "" where it is free.
        number: the token's number; 0 where it is free.
        left_s: seconds until it ends.
        home: where the rows are.
        last: who had it before; NOBODY where nobody is known.
    """

    is_taken: bool
    holder: Party
    token: str
    number: int
    left_s: float
    home: Home
    last: Party


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """How a lease is asked for.

    Attributes:
        least: highest number that is known; the new one is above it, also in a Redis that lost it.
        home: the home that is known, for such a Redis.
        may_take: whether it is taken at all, or only asked who has it.
        may_settle: whether the own directory may become the home, where none is known.
        may_stand_in: whether it is taken although another directory is the home.
        may_replace: whether a lease of the own directory is one of an earlier process.
        life: names the process. A lease that it took, and heard nothing of, is its own.
    """

    least: int = 0
    home: Home = NOWHERE
    may_take: bool = True
    may_settle: bool = True
    may_stand_in: bool = True
    may_replace: bool = True
    life: str = ""


class LeaseBook:
    """The leases of all models. May be used from any thread.

    Every method raises TransientError where Redis is away or full; it may have happened then.
    """

    def __init__(self, redis: Redis) -> None:
        """Use a client that returns bytes."""
        self._redis = redis
        self._acquire = redis.register_script(ACQUIRE)
        self._renew = redis.register_script(RENEW)
        self._release = redis.register_script(RELEASE)
        self._settle = redis.register_script(SETTLE)

    def acquire(self, model: str, party: Party, ttl_s: float, wish: Wish) -> Found:
        """Take a model's lease for that many seconds if it may be taken, or tell who has it."""
        known = wish.home
        with translated():
            found: Any = self._acquire(
                keys=[keys.lease(model), keys.fence(model), keys.home(model)],
                args=[
                    party.id,
                    party.url,
                    round(ttl_s * 1000),
                    wish.least,
                    known.party.id,
                    known.party.url,
                    known.since,
                    int(wish.may_settle),
                    int(wish.may_stand_in),
                    int(wish.may_replace),
                    wish.life,
                    int(wish.may_take),
                ],
            )
        return _read(found)

    def renew(self, model: str, party: Party, token: str, ttl_s: float) -> bool:
        """Keep a lease for that many seconds from now on; False where it is lost."""
        with translated():
            is_kept: Any = self._renew(
                keys=[keys.lease(model), keys.fence(model)],
                args=[party.id, token, round(ttl_s * 1000)],
            )
        return bool(is_kept)

    def release(self, model: str, party: Party, token: str) -> None:
        """Let others have a lease at once; one that is lost already is left alone."""
        with translated():
            self._release(keys=[keys.lease(model)], args=[party.id, token])

    def settle(self, model: str, party: Party, token: str) -> bool:
        """Make the holder's directory the home for good; False where the lease is lost."""
        with translated():
            is_done: Any = self._settle(
                keys=[keys.lease(model), keys.fence(model), keys.home(model)],
                args=[party.id, party.url, token],
            )
        return bool(is_done)


def _read(found: list[Any]) -> Found:
    is_taken, holder, url, token, left_ms, home, home_url, since, last = found
    return Found(
        is_taken=bool(is_taken),
        holder=Party(id=holder.decode(), url=url.decode()),
        token=token.decode(),
        number=_number(token),
        left_s=max(0, left_ms) / 1000,
        home=Home(party=Party(id=home.decode(), url=home_url.decode()), since=int(since)),
        last=_party(last),
    )


def _number(token: bytes) -> int:
    number, _, _ = token.partition(b"-")
    return int(number or 0)


def _party(told: bytes) -> Party:
    """Who had a lease, by what ``last`` says."""
    name, _, url = told.decode().partition(" ")
    return Party(id=name, url=url)
