"""The champion of each model: one compare-and-set makes a takeover."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from retuned.registry import artifacts as store
from retuned.registry import keys, manifests
from retuned.registry.connect import translated
from retuned.registry.history.stream import RESEAL
from retuned.registry.lease.fencing import FENCED, REFUSED, checked, refusal
from retuned.registry.pointer import (
    CHAMPION,
    Crowned,
    canonical,
    check_order,
    epoch_of,
    pointer_text,
    read_pointer,
)
from retuned.registry.signing import Forged, UnknownKey
from retuned.registry.takeover import Conflict, Outcome, Takeover

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from redis import Redis

    from retuned.registry.history.event_log import EventLog
    from retuned.registry.history.events import Event
    from retuned.registry.lease.fencing import Fence
    from retuned.registry.memory import Memory
    from retuned.registry.signing import SigningKey
    from retuned_pipelines.version import Revision, Version

_RESEAL = FENCED + RESEAL + "\nreturn 1"
"""As `stream.RESEAL`; the last of KEYS is the fence, the last of ARGV the token."""

_ATTEMPTS = 100


class Champions:
    """The champions in Redis. May be used from any thread.

    The newest one is remembered outside of it: an older one that is put back does not pass for it.
    """

    def __init__(
        self, redis: Redis, key: SigningKey, memory: Memory, events: EventLog, fence: Fence
    ) -> None:
        """Use a client that returns bytes; for the rest see `versions.Registry`."""
        self._redis = redis
        self._key = key
        self._memory = memory
        self._fence = fence
        self._takeover = Takeover(redis, key, events)
        self._reseal = redis.register_script(_RESEAL)
        self._lock = threading.Lock()

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
            event: tells of it; its id is that of the request.

        Raises:
            Conflict: the champion is another one, the number stands for something else, or the
                request was carried out and its champion replaced since.
            Forged: an artifact is not what its digest says, or the champion that stands there
                does not verify.
            TransientError: Redis is away; it may have happened, and can be asked for again.
        """
        model = version.model
        for _ in range(_ATTEMPTS):
            token = checked(self._redis, self._fence, model)
            self._store(model, revision, artifacts)
            seen, found = self._seen(model), self._raw(model)
            before = None if found is None else self._read(model, found, seen)
            if before is not None and _is_same(before, version, revision):
                return before
            _check_expected(model, before, expected)
            crowned = _succeeding(before, seen, version, revision)
            outcome = self._takeover(crowned, found, event, token=token)
            if outcome.raised(self._redis, revision) is Outcome.DONE:
                self._remember(crowned, self._takeover.sealed(crowned))
                return crowned
            if outcome is Outcome.REPEATED:
                message = (
                    f"{revision.name} of {model} took over when this was first asked for, and was "
                    "replaced since"
                )
                raise Conflict(message)
        message = (
            f"the registry's champion of {model} changes all the time: is this one of several?"
        )
        raise Conflict(message)

    def champion(self, model: str) -> Crowned | None:
        """The champion; None before there is one.

        Raises:
            Forged: its signature does not fit, or is that of another model.
            Stale: it is older than one that was seen before.
            TransientError: Redis is away.
        """
        # Read first: what comes from Redis afterwards is not older.
        seen = self._seen(model)
        found = self._raw(model)
        return None if found is None else self._read(model, found, seen)

    def saw(self, crowned: Crowned) -> None:
        """Remember a champion that was verified elsewhere, unless a newer one is known.

        Raises:
            RetunedError: the memory failed.
        """
        self._remember(crowned, self._takeover.sealed(crowned))

    def restore(
        self,
        crowned: Crowned,
        *,
        artifacts: Mapping[str, bytes],
        event: Event,
        put_back: Callable[[bool], object],
    ) -> Crowned | None:
        """Put a champion back into a registry that lost it, or holds one that does not verify.

        It has the epoch that it had; a higher one, if a newer champion has been seen, which is
        lost.

        Args:
            crowned: what serves.
            artifacts: its fitted members by SHA-256.
            event: tells of it.
            put_back: puts back what else is remembered; told whether the registry is empty.

        Returns:
            The champion as it stands there now; None where one stands there that verifies.

        Raises:
            UnknownKey: what stands there was signed with a key that is not ours; left alone.
            Conflict: somebody else put one there in the meantime.
            TransientError: Redis is away; it can be asked for again.
        """
        model = crowned.version.model
        token = checked(self._redis, self._fence, model)
        self.saw(crowned)
        seen, found = self._seen(model), self._raw(model)
        if found is not None and not self._is_refused(model, found, seen):
            return None
        for name in set(crowned.revision.artifacts) - {""}:
            store.store(self._redis, model, name, artifacts[name], is_checked=True)
        put_back(found is None)
        if seen is not None and seen.partition(b"\n")[2] != pointer_text(crowned):
            crowned = replace(crowned, epoch=epoch_of(seen) + 1)
        outcome = self._takeover(crowned, found, event, token=token)
        if outcome.raised(self._redis, crowned.revision) is not Outcome.DONE:
            message = f"the registry's champion of {model} changed while it was put back"
            raise Conflict(message)
        self._remember(crowned, self._takeover.sealed(crowned))
        return crowned

    def reseal(self, model: str) -> None:
        """Sign the champion with the newest key, if an older one did; it changes nothing else.

        Raises:
            RetunedError: Redis or the memory failed, or it does not verify.
        """
        found = self._raw(model)
        if found is None or self._key.is_newest(found):
            return
        text, token = self._key.unsealed(CHAMPION, found), self._fence.token(model)
        with translated():
            is_done: Any = self._reseal(
                keys=[keys.champion(model), keys.fence(model)],
                args=[found, self._key.seal(CHAMPION, text), token],
            )
        if is_done == REFUSED:
            raise refusal(self._redis, model)

    def _store(self, model: str, revision: Revision, artifacts: Mapping[str, bytes]) -> None:
        for name in set(revision.artifacts) - {""}:
            store.store(self._redis, model, name, artifacts[name])

    def _raw(self, model: str) -> bytes | None:
        with translated():
            found: Any = self._redis.get(keys.champion(model))
        return None if found is None else bytes(found)

    def _read(self, model: str, sealed: bytes, seen: bytes | None) -> Crowned:
        crowned = read_pointer(model, sealed, self._key)
        check_order(model, sealed, crowned.epoch, seen)
        self._remember(crowned, sealed)
        return crowned

    def _is_refused(self, model: str, sealed: bytes, seen: bytes | None) -> bool:
        try:
            self._read(model, sealed, seen)
        except UnknownKey:
            raise
        except Forged:
            return True
        return False

    def _seen(self, model: str) -> bytes | None:
        return self._memory.recall(model, CHAMPION)

    def _remember(self, crowned: Crowned, sealed: bytes) -> None:
        model = crowned.version.model
        with self._lock:
            seen = self._seen(model)
            if seen is not None and epoch_of(seen) >= crowned.epoch:
                return
            texts = manifests.remembered(crowned.version, crowned.revision, self._key)
            self._memory.remember(model, {**texts, CHAMPION: sealed})


def _is_same(crowned: Crowned, version: Version, revision: Revision) -> bool:
    known = [crowned.version.to_json(), crowned.revision.to_json()]
    return canonical(known) == canonical([version.to_json(), revision.to_json()])


def _check_expected(model: str, before: Crowned | None, expected: str) -> None:
    name = "" if before is None else before.revision.name
    if name != expected:
        message = (
            f"the registry's champion of {model} is {name or 'none'}, not {expected or 'none'}: "
            "another daemon changed it, or Redis lost its data"
        )
        raise Conflict(message)


def _succeeding(
    before: Crowned | None, seen: bytes | None, version: Version, revision: Revision
) -> Crowned:
    epoch, predecessor = 0 if seen is None else epoch_of(seen), ""
    if before is not None:
        epoch = max(epoch, before.epoch)
        is_other = before.version.number != version.number
        predecessor = before.revision.name if is_other else before.predecessor
    return Crowned(version=version, revision=revision, epoch=epoch + 1, predecessor=predecessor)
