"""The one script that changes a champion."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from retuned.errors import PermanentError
from retuned.registry import keys
from retuned.registry.connect import translated
from retuned.registry.history.stream import APPENDING, CHECKING, HEAD
from retuned.registry.lease.fencing import FENCED, REFUSED, refusal
from retuned.registry.manifests import (
    TEXT,
    read_revision,
    read_version,
    sealed_revision,
    sealed_version,
)
from retuned.registry.pointer import CHAMPION, canonical, pointer_text
from retuned.registry.signing import Forged

if TYPE_CHECKING:
    from redis import Redis

    from retuned.registry.history.event_log import EventLog
    from retuned.registry.history.events import Event
    from retuned.registry.pointer import Crowned
    from retuned.registry.signing import SigningKey
    from retuned_pipelines.version import Revision, Version

REQUESTS_KEPT = 1000
"""Takeovers of a model that are remembered, so that none is made twice."""

TAKE_OVER = (
    FENCED
    + HEAD
    + TEXT
    + """
local found = redis.call('GET', KEYS[1])
if found and redis.call('ZSCORE', KEYS[4], ARGV[7]) then return 3 end
if (found or '') ~= ARGV[1] then return 0 end
local version = redis.call('HGET', KEYS[2], ARGV[3])
local revision = redis.call('HGET', KEYS[3], ARGV[5])
if (version and text(version) ~= text(ARGV[4]))
  or (revision and text(revision) ~= text(ARGV[6])) then return 2 end
for number = 7, #KEYS - 1 do
  if redis.call('EXISTS', KEYS[number]) == 0 then return 4 end
end
"""
    + CHECKING.format(stream=5, first=11)
    + """
redis.call('SET', KEYS[1], ARGV[2])
redis.call('HSETNX', KEYS[2], ARGV[3], ARGV[4])
redis.call('HSETNX', KEYS[3], ARGV[5], ARGV[6])
redis.call('ZADD', KEYS[4], ARGV[8], ARGV[7])
redis.call('ZREMRANGEBYRANK', KEYS[4], 0, -1 - tonumber(ARGV[9]))
"""
    + APPENDING.format(stream=5, first=11)
    + """
redis.call('PUBLISH', KEYS[6], ARGV[10])
return 1
"""
)
"""KEYS: champion, versions, revisions, requests, events, changes; then the artifacts; last the
fence.

ARGV: the sealed pointer that is replaced ("" for none), the new one, version number, sealed
version, revision number, sealed revision, request, epoch, requests kept, name; then as
`stream.APPENDING`; last the token. Returns an Outcome. An error is raised by the first write or
by none.
"""


class Conflict(PermanentError):
    """The champion is not the one that was to be replaced, or the number is taken."""


class Outcome(IntEnum):
    """What came of a takeover."""

    FENCED = REFUSED
    CHANGED = 0
    DONE = 1
    TAKEN = 2
    REPEATED = 3
    LOST = 4

    def raised(self, redis: Redis, revision: Revision) -> Outcome:
        """Itself, unless it is an error whoever wrote.

        Raises:
            Fenced: another daemon takes care of the model.
            Conflict: a number stands for something else.
            TransientError: Redis is away.
        """
        if self is Outcome.FENCED:
            raise refusal(redis, revision.model)
        if self is Outcome.TAKEN:
            raise _number_taken(revision)
        return self


class Takeover:
    """Makes a revision the champion and writes the event, as one. From any thread."""

    def __init__(self, redis: Redis, key: SigningKey, events: EventLog) -> None:
        """Use a client that returns bytes, the key that signs, and the history."""
        self._redis = redis
        self._key = key
        self._events = events
        self._script = redis.register_script(TAKE_OVER)

    def __call__(
        self, crowned: Crowned, replaced: bytes | None, event: Event, *, token: str = ""
    ) -> Outcome:
        """Replace a sealed pointer, None for none.

        Returns:
            DONE; FENCED: the token is not the newest; CHANGED: another pointer stands there; TAKEN:
            version or revision number stand for something else; REPEATED: this was done before;
            LOST: an artifact is not there.

        Raises:
            TransientError: Redis is away; it may have happened.
        """
        version, revision = crowned.version, crowned.revision
        model = version.model
        sealed = self._manifests(version, revision)

        def write(told: tuple[str, bytes, str]) -> int:
            with translated():
                outcome: Any = self._script(
                    keys=[
                        keys.champion(model),
                        keys.versions(model),
                        keys.revisions(model, version.number),
                        keys.requests(model),
                        keys.events(model),
                        keys.changes(model),
                        *(keys.artifact(model, name) for name in set(revision.artifacts) - {""}),
                        keys.fence(model),
                    ],
                    args=[
                        replaced or b"",
                        self.sealed(crowned),
                        version.number,
                        sealed[0],
                        revision.number,
                        sealed[1],
                        _request(crowned, event),
                        crowned.epoch,
                        REQUESTS_KEPT,
                        revision.name,
                        *told,
                        token,
                    ],
                )
            return int(outcome)

        return Outcome(self._events.along(event, write))

    def _manifests(self, version: Version, revision: Revision) -> tuple[bytes, bytes]:
        """Both as they are stored; an older release may have written the same in other words."""
        model, key = version.model, self._key
        with translated():
            old: Any = self._redis.hget(keys.versions(model), str(version.number))
            older: Any = self._redis.hget(
                keys.revisions(model, version.number), str(revision.number)
            )
        ours = [sealed_version(version, key), sealed_revision(revision, key)]
        with suppress(Forged):
            if old is not None and read_version(model, version.number, old, key) == version:
                ours[0] = old
        with suppress(Forged):
            if older is not None and read_revision(model, revision.name, older, key) == revision:
                ours[1] = older
        return ours[0], ours[1]

    def sealed(self, crowned: Crowned) -> bytes:
        """A pointer as it is stored."""
        return self._key.seal(CHAMPION, pointer_text(crowned))


def _number_taken(revision: Revision) -> Conflict:
    """The error of a number that stands for something else."""
    message = (
        f"the registry has another {revision.name} of {revision.model} already: numbers are never "
        "used twice. Was the state directory restored from an older backup?"
    )
    return Conflict(message)


def _request(crowned: Crowned, event: Event) -> str:
    """Names what is asked for; by its event alone it would not differ from a lost daemon's."""
    content = [event.id, crowned.version.to_json(), crowned.revision.to_json()]
    return hashlib.sha256(canonical(content)).hexdigest()[:32]
