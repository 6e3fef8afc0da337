"""What is there beside the champion: versions that never served, and what is kept of others."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from retuned.errors import PermanentError, TransientError
from retuned.registry import artifacts as store
from retuned.registry import keys, manifests
from retuned.registry.connect import translated
from retuned.registry.history.stream import APPENDING, CHECKING, HEAD
from retuned.registry.lease.fencing import FENCED
from retuned.registry.manifests import TEXT
from retuned.registry.takeover import Outcome
from retuned_pipelines.retention import kept_versions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from redis import Redis

    from retuned.registry.history.event_log import EventLog
    from retuned.registry.history.events import Event
    from retuned.registry.lease.fencing import Fence
    from retuned.registry.pins import Pin, Pins
    from retuned.registry.pointer import Crowned
    from retuned.registry.signing import SigningKey
    from retuned_pipelines.version import Revision, Version

SHELVE = (
    FENCED
    + HEAD
    + TEXT
    + """
local version = redis.call('HGET', KEYS[1], ARGV[1])
local revision = redis.call('HGET', KEYS[2], ARGV[3])
if (version and text(version) ~= text(ARGV[2]))
  or (revision and text(revision) ~= text(ARGV[4])) then return 2 end
if revision then return 1 end
for number = 5, #KEYS - 1 do
  if redis.call('EXISTS', KEYS[number]) == 0 then return 4 end
end
"""
    + CHECKING.format(stream=4, first=6)
    + """
redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2])
redis.call('HSETNX', KEYS[2], ARGV[3], ARGV[4])
redis.call('HSET', KEYS[3], ARGV[1], ARGV[5])
"""
    + APPENDING.format(stream=4, first=6)
    + "return 1"
)
"""KEYS: versions, revisions, pins, events; then the artifacts; last the fence.

ARGV: version number, sealed version, revision number, sealed revision, pin; then as
`stream.APPENDING`; last the token. Returns an Outcome.
"""


KEEP = (
    FENCED
    + TEXT
    + """
local revision = redis.call('HGET', KEYS[1], ARGV[1])
if revision and text(revision) ~= text(ARGV[2]) then return 2 end
for number = 2, #KEYS - 1 do
  if redis.call('EXISTS', KEYS[number]) == 0 then return 4 end
end
redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2])
return 1
"""
)
"""KEYS: revisions, artifacts, fence. ARGV: revision number, sealed revision, token.

Returns an Outcome.
"""


class NoVersion(PermanentError):
    """There is no such version or revision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """A revision and its version; the signatures were verified."""

    version: Version
    revision: Revision


class Shelf:
    """Versions that do not serve, in Redis. May be used from any thread."""

    def __init__(  # noqa: PLR0913 (what the registry is made of)
        self,
        redis: Redis,
        key: SigningKey,
        events: EventLog,
        pins: Pins,
        *,
        fence: Fence,
        keep_versions: int,
    ) -> None:
        """Use a client that returns bytes, the key that signs, the history, and what is pinned."""
        self._fence = fence
        self._redis = redis
        self._key = key
        self._events = events
        self._pins = pins
        self._keep_versions = keep_versions
        self._shelve = redis.register_script(SHELVE)
        self._keep = redis.register_script(KEEP)
        self._turn = threading.Lock()

    def put(
        self,
        version: Version,
        revision: Revision,
        *,
        pin: Pin,
        artifacts: Mapping[str, bytes],
        event: Event,
    ) -> None:
        """Keep a version that does not serve, pinned, and tell of it, as one; safe to repeat.

        Args:
            version: what is kept.
            revision: its first one.
            pin: who brought it, and why.
            artifacts: the fitted members by SHA-256.
            event: tells of it.

        Raises:
            Conflict: a number stands for something else.
            Forged: an artifact is not what its digest says.
            Fenced: another daemon takes care of the model.
            TransientError: Redis is away; it may have happened, and can be asked for again.
        """
        model, names = version.model, sorted(set(revision.artifacts) - {""})
        token = self._fence.token(model)
        # Pruning must not come in between: it would take what no version names yet.
        with self._turn:
            for name in names:
                store.store(self._redis, model, name, artifacts[name])
            found = self._events.along(
                event, lambda told: self._put(version, revision, pin, names, (*told, token))
            )
        if Outcome(found).raised(self._redis, revision) is not Outcome.DONE:
            message = f"an artifact of {revision.name} of {model} was removed while it was stored"
            raise TransientError(message)

    def _put(
        self,
        version: Version,
        revision: Revision,
        pin: Pin,
        names: list[str],
        told: tuple[str, bytes, str, str],
    ) -> int:
        model = version.model
        with translated():
            found: Any = self._shelve(
                keys=[
                    keys.versions(model),
                    keys.revisions(model, version.number),
                    keys.pins(model),
                    keys.events(model),
                    *(keys.artifact(model, name) for name in names),
                    keys.fence(model),
                ],
                args=[
                    version.number,
                    manifests.sealed_version(version, self._key),
                    revision.number,
                    manifests.sealed_revision(revision, self._key),
                    orjson.dumps(pin.to_json()),
                    *told,
                ],
            )
        return int(found)

    def keep(self, revision: Revision, artifacts: Mapping[str, bytes]) -> bytes:
        """Keep a new revision of a version that served before; safe to repeat.

        Args:
            revision: refitted, but it does not serve.
            artifacts: those of its fitted members that are not here yet, by SHA-256.

        Returns:
            Its manifest as it is stored.

        Raises:
            Conflict: its number stands for something else.
            Forged: an artifact is not what its digest says.
            PermanentError: an artifact that was here is not any more.
            Fenced: another daemon takes care of the model.
            TransientError: Redis is away; it may have happened, and can be asked for again.
        """
        model, sealed = revision.model, manifests.sealed_revision(revision, self._key)
        token = self._fence.token(model)
        with self._turn:
            for name, data in artifacts.items():
                store.store(self._redis, model, name, data)
            names = sorted(set(revision.artifacts) - {""})
            with translated():
                found: Any = self._keep(
                    keys=[
                        keys.revisions(model, revision.version),
                        *(keys.artifact(model, name) for name in names),
                        keys.fence(model),
                    ],
                    args=[revision.number, sealed, token],
                )
        if Outcome(found).raised(self._redis, revision) is not Outcome.DONE:
            message = f"{revision.name} of {model} cannot be kept: the registry lost an artifact"
            raise PermanentError(message)
        return sealed

    def sealed(self, model: str, number: int, revision: int | None) -> Sealed:
        """A revision and its version, the newest one for None.

        Raises:
            NoVersion: it is not there.
            Forged: it was changed.
            TransientError: Redis is away.
        """
        with translated():
            version: Any = self._redis.hget(keys.versions(model), str(number))
        found = manifests.stored(self._redis, keys.revisions(model, number))
        wanted = max(found, default=0) if revision is None else revision
        if version is None or wanted not in found:
            name = number if revision is None else f"{number}.{revision}"
            message = f"{model} has no version {name}: 'retuned versions {model}' lists them"
            raise NoVersion(message)
        name = f"{number}.{wanted}"
        return Sealed(
            version=manifests.read_version(model, number, version, self._key),
            revision=manifests.read_revision(model, name, found[wanted], self._key),
        )

    def prune(self, crowned: Crowned, replaced: Revision | None) -> None:
        """Remove artifacts of versions that nobody needs; manifests stay.

        Kept are those of the champion and the revision that it replaced, its predecessor, and
        the newest revision of each version that `retention.kept_versions` names.

        Raises:
            Fenced: another daemon takes care of the model.
            TransientError: Redis is away; it can be pruned again.
        """
        token = self._fence.token(crowned.version.model)
        with self._turn:
            wanted = self._kept(crowned) - {crowned.version.number}
            model = crowned.version.model
            kept = [crowned.revision, replaced]
            if crowned.predecessor:
                kept.append(
                    manifests.one_revision(self._redis, model, crowned.predecessor, self._key)
                )
            kept.extend(
                manifests.newest_revision(self._redis, model, number, self._key)
                for number in wanted
            )
            names = {name for one in kept if one is not None for name in one.artifacts}
            store.prune(self._redis, model, names, token)

    def _kept(self, crowned: Crowned) -> frozenset[int]:
        model = crowned.version.model
        with translated():
            fields: Any = self._redis.hkeys(keys.versions(model))
        return kept_versions(
            champion=crowned.version.number,
            predecessor=crowned.predecessor_version,
            known=[int(field) for field in fields if field.isdigit()],
            pinned=self._pins.of(model),
            newest=self._keep_versions,
        )
