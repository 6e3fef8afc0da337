"""Events: the lines of a model's append-only history."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping


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
    LEASE = "lease"
    MENDED = "mended"
    REKEYED = "rekeyed"


REIGNING = ("promoted", "revised", "rolled_back", "restored")
"""Kinds that tell of who answers from then on; such a body has ``version`` and ``revision``."""


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

    @property
    def text(self) -> bytes:
        """JSON that is the same whenever it is written: what is signed."""
        return orjson.dumps(self.to_json(), option=orjson.OPT_SORT_KEYS)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Event:
        """Read what `to_json` wrote."""
        return cls(**{**value, "kind": EventKind(value["kind"])})


def new_event_id(now: float) -> str:
    """A unique id; ids of later moments sort later."""
    return f"{int(now * 1000):012x}-{secrets.token_hex(4)}"
