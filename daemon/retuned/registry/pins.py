"""Pins: versions that stay loadable until somebody lets them go."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import orjson

from retuned.errors import PermanentError
from retuned.registry import keys
from retuned.registry.connect import translated
from retuned.registry.history.stream import APPENDING, CHECKING, HEAD
from retuned.registry.lease.fencing import FENCED, REFUSED, NoFence, refusal

if TYPE_CHECKING:
    from collections.abc import Collection

    from redis import Redis
    from redis.commands.core import Script

    from retuned.registry.history.event_log import EventLog
    from retuned.registry.history.events import Event
    from retuned.registry.lease.fencing import Fence

PIN = (
    FENCED
    + HEAD
    + CHECKING.format(stream=2, first=3)
    + """
for number = 3, #KEYS - 1 do
  if redis.call('EXISTS', KEYS[number]) == 0 then return 0 end
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
"""
    + APPENDING.format(stream=2, first=3)
    + "return 1"
)
"""KEYS: pins, events, artifacts, fence.

ARGV: version number, JSON, as `stream.APPENDING`, token.
"""

UNPIN = (
    FENCED
    + HEAD
    + CHECKING.format(stream=2, first=2)
    + """
if redis.call('HDEL', KEYS[1], ARGV[1]) == 0 then return 0 end
"""
    + APPENDING.format(stream=2, first=2)
    + "return 1"
)
"""KEYS: pins, events, fence. ARGV: version number, as `stream.APPENDING`, token."""


class NotPinned(PermanentError):
    """The version is not pinned, or cannot be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """Who wants a version kept, and why.

    Attributes:
        version: its number.
        who: who asked.
        reason: why.
        at: seconds since the epoch.
    """

    version: int
    who: str
    reason: str
    at: float

    def to_json(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)


class Pins:
    """Pins in Redis. May be used from any thread; every call is safe to repeat."""

    def __init__(self, redis: Redis, events: EventLog, fence: Fence | None = None) -> None:
        """Use a client that returns bytes, and the history; without a fence everybody may write."""
        self._redis = redis
        self._events = events
        self._fence = fence or NoFence()
        self._pin = redis.register_script(PIN)
        self._unpin = redis.register_script(UNPIN)

    def pin(self, model: str, pin: Pin, artifacts: Collection[str], event: Event) -> None:
        """Keep a version's artifacts, and tell of it, as one.

        Raises:
            NotPinned: an artifact is not there any more.
            Fenced: another daemon takes care of the model.
            TransientError: Redis is away; it may have happened.
        """
        names = [keys.artifact(model, name) for name in sorted(set(artifacts) - {""})]
        is_done = self._changed(
            self._pin, model, names, [pin.version, orjson.dumps(pin.to_json())], event
        )
        if not is_done:
            message = (
                f"version {pin.version} of {model} cannot be pinned: its artifacts are not kept "
                "any more (RETUNED_REGISTRY__KEEP_VERSIONS)"
            )
            raise NotPinned(message)

    def unpin(self, model: str, version: int, event: Event) -> None:
        """Let a version go, and tell of it, as one.

        Raises:
            NotPinned: it is not pinned.
            Fenced: another daemon takes care of the model.
            TransientError: Redis is away; it may have happened.
        """
        if not self._changed(self._unpin, model, [], [version], event):
            message = f"version {version} of {model} is not pinned"
            raise NotPinned(message)

    def of(self, model: str) -> dict[int, Pin]:
        """The pins of a model by version. They are not signed: they protect from retention only.

        Raises:
            TransientError: Redis is away.
        """
        with translated():
            found: Any = self._redis.hgetall(keys.pins(model))
        pins: dict[int, Pin] = {}
        for field, value in found.items():
            if field.isdigit():
                pins[int(field)] = _read(int(field), value)
        return pins

    def put_back(self, model: str, pin: Pin) -> None:
        """Pin again in a registry that has lost its data, without an event.

        Raises:
            TransientError: Redis is away; it can be put back again.
        """
        with translated():
            self._redis.hsetnx(keys.pins(model), str(pin.version), orjson.dumps(pin.to_json()))

    def _changed(
        self, script: Script, model: str, artifacts: list[str], args: list[Any], event: Event
    ) -> bool:
        token = self._fence.token(model)

        def write(told: tuple[str, bytes, str]) -> int:
            with translated():
                outcome: Any = script(
                    keys=[keys.pins(model), keys.events(model), *artifacts, keys.fence(model)],
                    args=[*args, *told, token],
                )
            return int(outcome)

        outcome = self._events.along(event, write)
        if outcome == REFUSED:
            raise refusal(self._redis, model)
        return bool(outcome)


def _read(version: int, value: bytes) -> Pin:
    try:
        return Pin(**{**orjson.loads(value), "version": version})
    except (TypeError, ValueError):
        # Whatever stands there: that it was pinned is certain.
        return Pin(version=version, who="", reason="", at=0.0)
