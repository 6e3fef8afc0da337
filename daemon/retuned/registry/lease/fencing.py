"""Fencing: who has lost a lease writes nothing more, however late it wakes up.

Each time that a model's lease changes hands a token with a higher number is given out. Whoever
writes gives its token, and the script that writes compares it with the newest one. It names its
process too: a replica that took over, or an emptied Redis, may give a number out once more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from retuned.errors import Interrupted
from retuned.registry import keys
from retuned.registry.connect import translated

if TYPE_CHECKING:
    from redis import Redis

REFUSED = -1
"""What a script returns whose token is not the newest."""

FENCED = f"""
if ARGV[#ARGV] ~= '' and redis.call('GET', KEYS[#KEYS]) ~= ARGV[#ARGV] then return {REFUSED} end
"""
"""The beginning of a script that writes. The last of KEYS is the fence, the last of ARGV the token;
"" where there are no leases."""


class Fenced(Interrupted):
    """Another daemon takes care of the model, or nobody for a moment; nothing was written.

    Work that comes to this is not lost: it is begun again by whoever has the lease then.
    """


class Fence(Protocol):
    """Tells with which token to write. May be called from any thread."""

    def token(self, model: str) -> str:
        """The token of the lease that this daemon has; "" where there are no leases.

        Raises:
            Fenced: it has none, or not for certain.
        """


class NoFence:
    """Where there are no leases, because there is one daemon only."""

    def token(self, model: str) -> str:
        """Nothing, which every script lets pass."""
        del model
        return ""


def checked(redis: Redis, fence: Fence, model: str) -> str:
    """The token to write with, which is the newest one now; before what no script writes.

    Raises:
        Fenced: this daemon has none, or another one was given out since.
        TransientError: Redis is away.
    """
    token = fence.token(model)
    if token:
        with translated():
            newest: Any = redis.get(keys.fence(model))
        if newest != token.encode():
            raise refusal(redis, model)
    return token


def refusal(redis: Redis, model: str) -> Fenced:
    """Tell who has the lease.

    Raises:
        TransientError: Redis is away.
    """
    with translated():
        url: Any = redis.hget(keys.lease(model), "url")
    holder = f"{url.decode()} takes care of it by now" if url else "nobody has its lease"
    return Fenced(
        f"nothing of {model} was written: {holder}, and this daemon's token is an old one"
    )
