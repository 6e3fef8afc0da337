"""Versions, revisions, artifacts, pins and champions in Redis, as one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from retuned.registry import artifacts as store
from retuned.registry import manifests
from retuned.registry.champions import Champions
from retuned.registry.history.event_log import EventLog
from retuned.registry.lease.fencing import NoFence, checked
from retuned.registry.memory import Fleeting
from retuned.registry.pins import NotPinned, Pin, Pins
from retuned.registry.shelf import Shelf

if TYPE_CHECKING:
    from collections.abc import Mapping

    from redis import Redis

    from retuned.registry.history.events import Event
    from retuned.registry.lease.fencing import Fence
    from retuned.registry.memory import Memory
    from retuned.registry.pointer import Crowned
    from retuned.registry.shelf import Sealed
    from retuned.registry.signing import SigningKey
    from retuned_pipelines.version import Revision, Version

KEEP_VERSIONS = 5
"""Versions whose newest revision stays loadable, where nobody says otherwise."""

_PIN = "pin"


class Registry:
    """Versions and champions in Redis. May be used from any thread.

    What it holds is remembered outside of it: an older champion that is put back is told from
    the newest, and what is lost can be put back.
    """

    def __init__(  # noqa: PLR0913 (the composition root hands in every dependency by name)
        self,
        redis: Redis,
        key: SigningKey,
        memory: Memory | None = None,
        *,
        events: EventLog | None = None,
        fence: Fence | None = None,
        keep_versions: int = KEEP_VERSIONS,
    ) -> None:
        """Use a client that returns bytes, and the key that signs what is stored.

        Args:
            redis: the client.
            key: signs and verifies.
            memory: outlives Redis; None for one that ends with the process.
            events: the history; None for one whose copy ends with the process.
            fence: tells with which token to write; None where this is the only daemon. Every method
                that writes raises Fenced where another one takes care of the model.
            keep_versions: see `prune`.
        """
        self._redis = redis
        self._key = key
        self._memory = memory or Fleeting()
        events = events or EventLog(redis, key)
        self._fence = fence or NoFence()
        self._champions = Champions(redis, key, self._memory, events, self._fence)
        self._pins = Pins(redis, events, self._fence)
        self._shelf = Shelf(
            redis, key, events, self._pins, fence=self._fence, keep_versions=keep_versions
        )

    def publish(
        self,
        version: Version,
        revision: Revision,
        *,
        expected: str,
        artifacts: Mapping[str, bytes],
        event: Event,
    ) -> Crowned:
        """Make a revision the champion; see `Champions.publish`, also for errors."""
        return self._champions.publish(
            version, revision, expected=expected, artifacts=artifacts, event=event
        )

    def champion(self, model: str) -> Crowned | None:
        """The champion; None before there is one. Errors as for `Champions.champion`."""
        return self._champions.champion(model)

    def saw(self, crowned: Crowned) -> None:
        """Remember a champion that was verified elsewhere; see `Champions.saw`."""
        self._champions.saw(crowned)

    def restore(
        self, crowned: Crowned, *, artifacts: Mapping[str, bytes], event: Event
    ) -> Crowned | None:
        """Put a champion back, with the manifests and pins that are remembered.

        See `Champions.restore`, also for errors.
        """
        model = crowned.version.model

        def put_back(is_empty: bool) -> None:  # noqa: FBT001 (as it is asked for)
            self.mend(model)
            if is_empty:
                self._put_pins_back(model)

        return self._champions.restore(crowned, artifacts=artifacts, event=event, put_back=put_back)

    def reseal(self, model: str) -> None:
        """Sign the champion with the newest key; see `Champions.reseal`, also for errors."""
        self._champions.reseal(model)

    def mend(self, model: str) -> manifests.Ledger:
        """Compare the manifests with what is remembered, and put back what is not as it was.

        Raises:
            RetunedError: Redis or the memory failed; it can be mended again.
        """
        checked(self._redis, self._fence, model)
        ledger = manifests.Ledger(self._redis, model, self._key, self._memory.recall_all(model))
        ledger.mend()
        self._memory.remember(model, ledger.learned)
        return ledger

    def artifact(self, model: str, sha256: str) -> bytes:
        """A fitted model as bytes; its digest has been verified.

        Raises:
            PermanentError: it is not there.
            Forged: it was changed.
            TransientError: Redis is away.
        """
        return store.read(self._redis, model, sha256)

    def put_artifact(self, model: str, sha256: str, data: bytes) -> None:
        """Store an artifact in place of one that was changed or lost.

        Raises:
            Forged: the digest is not that of the data.
            TransientError: Redis is away; it can be stored again.
        """
        checked(self._redis, self._fence, model)
        store.store(self._redis, model, sha256, data, is_checked=True)

    def shelve(
        self,
        version: Version,
        revision: Revision,
        *,
        pin: Pin,
        artifacts: Mapping[str, bytes],
        event: Event,
    ) -> None:
        """Keep a version that does not serve; see `Shelf.put`, also for errors."""
        self._shelf.put(version, revision, pin=pin, artifacts=artifacts, event=event)
        texts = manifests.remembered(version, revision, self._key)
        self._memory.remember(version.model, {**texts, **_remembered(pin)})

    def keep(self, revision: Revision, artifacts: Mapping[str, bytes]) -> None:
        """Keep a new revision of a version that served before; see `Shelf.keep`."""
        sealed = self._shelf.keep(revision, artifacts)
        name = f"{manifests.REVISION}:{revision.name}"
        self._memory.remember(revision.model, {name: sealed})

    def sealed(self, model: str, number: int, revision: int | None = None) -> Sealed:
        """A revision, its version's newest one for None; errors as for `Shelf.sealed`."""
        return self._shelf.sealed(model, number, revision)

    def prune(self, crowned: Crowned, replaced: Revision | None) -> None:
        """Remove artifacts that nobody needs; see `Shelf.prune`, also for errors."""
        checked(self._redis, self._fence, crowned.version.model)
        self._shelf.prune(crowned, replaced)

    def pin(self, model: str, pin: Pin, event: Event) -> None:
        """Keep a version loadable until it is unpinned, and tell of it; safe to repeat.

        Raises:
            NotPinned: there is no such version, or its artifacts are not kept any more.
            TransientError: Redis is away; it may have happened.
        """
        newest = manifests.newest_revision(self._redis, model, pin.version, self._key)
        if newest is None:
            message = f"{model} has no version {pin.version} that could be pinned"
            raise NotPinned(message)
        self._pins.pin(model, pin, newest.artifacts, event)
        self._memory.remember(model, _remembered(pin))

    def unpin(self, model: str, version: int, event: Event) -> None:
        """Let a version go with the others, and tell of it.

        Raises:
            NotPinned: it is not pinned.
            TransientError: Redis is away; it may have happened.
        """
        checked(self._redis, self._fence, model)
        self._memory.remember(model, {f"{_PIN}:{version}": None})
        self._pins.unpin(model, version, event)

    def pins(self, model: str) -> dict[int, Pin]:
        """The pinned versions by number.

        Raises:
            TransientError: Redis is away.
        """
        return self._pins.of(model)

    def versions(self, model: str) -> tuple[Version, ...]:
        """All versions by number, whose signatures fit; of the others the log tells.

        Raises:
            TransientError: Redis is away.
        """
        return manifests.versions(self._redis, model, self._key)

    def revisions(self, model: str, version: int) -> tuple[Revision, ...]:
        """All revisions of a version by number, as `versions`.

        Raises:
            TransientError: Redis is away.
        """
        return manifests.revisions(self._redis, model, version, self._key)

    def is_kept(self, revision: Revision) -> bool:
        """Whether all artifacts of a revision are there still.

        Raises:
            TransientError: Redis is away.
        """
        return store.are_kept(self._redis, revision.model, set(revision.artifacts) - {""})

    def _put_pins_back(self, model: str) -> None:
        for name, value in self._memory.recall_all(model).items():
            if name.startswith(f"{_PIN}:"):
                self._pins.put_back(model, Pin(**orjson.loads(value)))


def _remembered(pin: Pin) -> dict[str, bytes]:
    return {f"{_PIN}:{pin.version}": orjson.dumps(pin.to_json())}
