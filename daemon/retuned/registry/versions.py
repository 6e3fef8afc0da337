"""Versions, revisions and the champion: one compare-and-set makes a takeover."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from retuned.errors import PermanentError
from retuned.registry import artifacts as store
from retuned.registry import keys
from retuned.registry.connect import translated
from retuned.registry.events import append_args
from retuned.registry.signing import Forged
from retuned_pipelines.version import Revision, Version

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from redis import Redis

    from retuned.registry.events import Event
    from retuned.registry.signing import SigningKey

PUBLISH = """
local current = redis.call('HGET', KEYS[1], 'name') or ''
local epoch = tonumber(redis.call('HGET', KEYS[1], 'epoch') or '0')
if current == ARGV[1] then
  if redis.call('HGET', KEYS[1], 'signature') == ARGV[5] then return {1, epoch} end
  return {0, current}
end
if current ~= ARGV[2] then return {0, current} end
local version = redis.call('HGET', KEYS[2], ARGV[6])
local revision = redis.call('HGET', KEYS[3], ARGV[7])
if (version and version ~= ARGV[3]) or (revision and revision ~= ARGV[4]) then return {2, ''} end
redis.call('HSET', KEYS[1], 'name', ARGV[1], 'version', ARGV[3], 'revision', ARGV[4],
  'signature', ARGV[5], 'epoch', epoch + 1)
redis.call('HSETNX', KEYS[2], ARGV[6], ARGV[3])
redis.call('HSETNX', KEYS[3], ARGV[7], ARGV[4])
if redis.call('ZADD', KEYS[5], 'NX', ARGV[9], ARGV[8]) == 1 then
  redis.call('ZREMRANGEBYRANK', KEYS[5], 0, -1 - tonumber(ARGV[11]))
  redis.call('XADD', KEYS[4], 'MAXLEN', '~', ARGV[12], '*', 'event', ARGV[10])
end
redis.call('PUBLISH', KEYS[6], ARGV[1])
return {1, epoch + 1}
"""
"""KEYS: champion, versions, revisions, events, event ids, changes.

ARGV: name, expected name, version JSON, revision JSON, signature, version number, revision
number; then as `events.APPEND`: event id, time, JSON, ids kept, events kept.
Returns 1 and the epoch; 0 and the champion's name, if another is expected; or 2, if the number
stands for something else. An error is raised by the first write or by none.
"""

_DONE, _TAKEN = 1, 2


class Conflict(PermanentError):
    """The champion is not the one that was to be replaced, or the number is taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowned:
    """What is champion.

    Attributes:
        version: what was accepted.
        revision: what answers requests.
        epoch: counts the changes of the champion.
    """

    version: Version
    revision: Revision
    epoch: int


def signed_text(version: Version, revision: Revision) -> bytes:
    """What is signed: model, version, revision, their manifests and the artifacts' digests."""
    return _canonical(
        [version.model, version.number, revision.number, version.to_json(), revision.to_json()]
    )


def _canonical(value: object) -> bytes:
    """JSON that is the same for the same value, whatever the order of its keys."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


class Registry:
    """Versions and champions in Redis. May be used from any thread."""

    def __init__(self, redis: Redis, key: SigningKey) -> None:
        """Use a client that returns bytes, and the key that signs what is stored."""
        self._redis = redis
        self._key = key
        self._publish = redis.register_script(PUBLISH)

    def publish(
        self,
        version: Version,
        revision: Revision,
        *,
        expected: str,
        artifacts: Mapping[str, bytes],
        event: Event,
    ) -> Crowned:
        """Make a revision the champion and write the event, as one; safe to repeat.

        Args:
            version: its version.
            revision: what is to answer requests.
            expected: name (``n.r``) of the champion that it replaces; "" for none.
            artifacts: the fitted members by SHA-256.
            event: tells of it.

        Raises:
            Conflict: the champion is another one, or the number stands for something else.
            Forged: an artifact is not what its digest says.
            TransientError: Redis is away; it may have happened, and can be asked for again.
        """
        model = version.model
        for name in set(revision.artifacts) - {""}:
            store.store(self._redis, model, name, artifacts[name])
        with translated():
            outcome, found = self._publish(
                keys=[
                    keys.champion(model),
                    keys.versions(model),
                    keys.revisions(model, version.number),
                    keys.events(model),
                    keys.event_ids(model),
                    keys.changes(model),
                ],
                args=[
                    revision.name,
                    expected,
                    _canonical(version.to_json()),
                    _canonical(revision.to_json()),
                    self._key.sign(signed_text(version, revision)),
                    version.number,
                    revision.number,
                    *append_args(event),
                ],
            )
        if outcome == _TAKEN:
            message = (
                f"the registry has another {revision.name} of {model} already: numbers are "
                "never used twice. Was the state directory restored from an older backup?"
            )
            raise Conflict(message)
        if outcome != _DONE:
            message = (
                f"the registry's champion of {model} is {found.decode() or 'none'}, "
                f"not {expected or 'none'}: another daemon changed it, or Redis lost its data"
            )
            raise Conflict(message)
        return Crowned(version=version, revision=revision, epoch=int(found))

    def champion(self, model: str) -> Crowned | None:
        """The champion; None before there is one.

        Raises:
            Forged: its signature does not fit, or is that of another model.
            TransientError: Redis is away.
        """
        with translated():
            found: Any = self._redis.hgetall(keys.champion(model))
        if not found:
            return None
        try:
            version = Version.from_json(orjson.loads(found[b"version"]))
            revision = Revision.from_json(orjson.loads(found[b"revision"]))
            signature, epoch = found[b"signature"].decode(), int(found[b"epoch"])
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            message = f"the registry's champion of {model} cannot be read: it was changed"
            raise Forged(message) from error
        self._key.verify(signed_text(version, revision), signature)
        if version.model != model:
            message = f"the registry's champion of {model} is one of {version.model}"
            raise Forged(message)
        return Crowned(version=version, revision=revision, epoch=epoch)

    def artifact(self, model: str, sha256: str) -> bytes:
        """A fitted model as bytes; its digest has been verified.

        Raises:
            PermanentError: it is not there.
            TransientError: Redis is away.
        """
        return store.read(self._redis, model, sha256)

    def prune(self, model: str, keep: Collection[str]) -> None:
        """Remove the artifacts that are not named: those of revisions that were succeeded.

        Raises:
            TransientError: Redis is away; it can be pruned again.
        """
        store.prune(self._redis, model, keep)

    def versions(self, model: str) -> tuple[Version, ...]:
        """All versions by number.

        Raises:
            TransientError: Redis is away.
        """
        with translated():
            found: Any = self._redis.hvals(keys.versions(model))
        versions = (Version.from_json(orjson.loads(value)) for value in found)
        return tuple(sorted(versions, key=lambda version: version.number))

    def revisions(self, model: str, version: int) -> tuple[Revision, ...]:
        """All revisions of a version by number.

        Raises:
            TransientError: Redis is away.
        """
        with translated():
            found: Any = self._redis.hvals(keys.revisions(model, version))
        revisions = (Revision.from_json(orjson.loads(value)) for value in found)
        return tuple(sorted(revisions, key=lambda revision: revision.number))
