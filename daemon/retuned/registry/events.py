"""Events: the append-only history of a model, in a Redis stream."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import orjson

from retuned.registry import keys
from retuned.registry.connect import translated

if TYPE_CHECKING:
    from collections.abc import Mapping

    from redis import Redis

KEPT = 100_000
"""Events of one model that the stream keeps, about."""

IDS_KEPT = 20_000
"""Ids that are remembered to recognise a repetition."""

APPENDING = """
if redis.call('ZADD', KEYS[{ids}], 'NX', ARGV[{first} + 1], ARGV[{first}]) == 1 then
  redis.call('ZREMRANGEBYRANK', KEYS[{ids}], 0, -1 - tonumber(ARGV[{first} + 3]))
  redis.call('XADD', KEYS[{stream}], 'MAXLEN', '~', ARGV[{first} + 4], '*', 'event',
    ARGV[{first} + 2])
end
"""
"""A part of scripts, with the positions of stream and ids in KEYS and of the first argument.

ARGV from there on: `append_args`.
"""

APPEND = APPENDING.format(stream=1, ids=2, first=1)


class EventKind(StrEnum):
    """What an event tells of."""

    DRIFT = "drift"
    DECIDED = "decided"
    STUDY = "study"
    VERDICT = "verdict"
    PROMOTED = "promoted"
    REVISED = "revised"
    ROLLED_BACK = "rolled_back"
    CONFIRMED = "confirmed"
    OPERATOR = "operator"
    FAILED = "failed"
    RECOVERED = "recovered"
    ABANDONED = "abandoned"
    RESTORED = "restored"
    SCHEMA = "schema"
    FORGED = "forged"
    PINNED = "pinned"
    UNPINNED = "unpinned"
    IMPORTED = "imported"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One line of the history.

    Attributes:
        id: unique; an event that is written twice under one id counts once.
        at: seconds since the epoch.
        model: the model's name.
        kind: what it tells of.
        body: what happened.
    """

    id: str
    at: float
    model: str
    kind: EventKind
    body: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "id": self.id,
            "at": self.at,
            "model": self.model,
            "kind": self.kind.value,
            "body": dict(self.body),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Event:
        """Read what `to_json` wrote."""
        return cls(**{**value, "kind": EventKind(value["kind"])})


def new_event_id(now: float) -> str:
    """A unique id; ids of later moments sort later."""
    return f"{int(now * 1000):012x}-{secrets.token_hex(4)}"


def append_args(event: Event) -> list[str | bytes | float]:
    """The arguments of `APPENDING` for an event: id, time, JSON, ids kept, events kept."""
    return [event.id, event.at, orjson.dumps(event.to_json()), IDS_KEPT, KEPT]


class EventLog:
    """The history in Redis. May be used from any thread."""

    def __init__(self, redis: Redis) -> None:
        """Use a client that returns bytes."""
        self._redis = redis
        self._append = redis.register_script(APPEND)

    def append(self, event: Event) -> None:
        """Append an event, unless one of that id is there.

        Raises:
            TransientError: Redis is away; it may have been appended, and can be sent again.
        """
        with translated():
            self._append(
                keys=[keys.events(event.model), keys.event_ids(event.model)],
                args=append_args(event),
            )

    def newest(self, model: str, limit: int) -> tuple[Event, ...]:
        """The newest events, oldest first.

        Raises:
            TransientError: Redis is away.
        """
        with translated():
            found: Any = self._redis.xrevrange(keys.events(model), count=limit)
        return tuple(Event.from_json(orjson.loads(fields[b"event"])) for _, fields in found[::-1])
