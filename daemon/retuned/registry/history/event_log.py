"""The history of a model: a chain that every writer goes on from, or does not write."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retuned.errors import RetunedError, TransientError
from retuned.registry.history import chain
from retuned.registry.history.chain import Checkpoint, link_of
from retuned.registry.history.events import EventKind
from retuned.registry.history.mending import Mending
from retuned.registry.history.stream import MOVED, PAGE, Stream, verified
from retuned.registry.journal import Journal
from retuned.runtime.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis import Redis

    from retuned.registry.history.chain import Reading
    from retuned.registry.history.events import Event
    from retuned.registry.signing import SigningKey

KEPT = 100_000
"""Events of one model that are kept, in Redis and in the journal."""

_ATTEMPTS = 100
_AT_ONCE = 200


class EventLog:
    """The history in Redis, with a verified copy in the journal. May be used from any thread.

    What is written goes on from the newest link that this daemon knows, by compare-and-set: of
    any number of daemons nobody forks the chain. Where Redis has lost it, or somebody changed
    it, the copy is put back before anything is appended.
    """

    def __init__(self, redis: Redis, key: SigningKey, journal: Journal | None = None) -> None:
        """Use a client that returns bytes; without a journal the copy ends with the process."""
        self._redis = redis
        self._key = key
        journal = journal or Journal(None, SystemClock())
        self.archive, self._clock = journal.archive, journal.clock
        self._stream = Stream(redis)
        self._mending = Mending(self._stream, self.archive, key, self._clock)

    def append(self, event: Event) -> None:
        """Append an event, unless one of that id is there; it waits in the journal until then.

        Raises:
            TransientError: Redis is away; the event waits.
            Forged: what stands there cannot be gone on from; the event waits.
        """
        self.archive.add([event])
        self.forward(event.model)

    def forward(self, model: str) -> int:
        """Append what waits of a model, up to some hundred; returns how many events.

        Raises:
            TransientError: Redis is away; what was not sent still waits.
            Forged: as for `append`.
        """
        for _ in range(_ATTEMPTS):
            waiting = self.archive.waiting(_AT_ONCE, model)
            if not waiting:
                return 0
            before = self.archive.head(model)
            texts = (event.text for event in waiting)
            entries = chain.linked(model, self._end(model), texts, self._key)
            if self._stream.append(model, before.text, entries):
                self.archive.keep(model, entries)
                return len(entries)
            self.catch_up(model)
        raise _restless(model)

    def along(self, event: Event, write: Callable[[tuple[str, bytes, str]], int]) -> int:
        """Append an event with a change of its own, as one: see `stream.APPENDING`.

        What waits in the journal goes before it: it happened before, and perhaps led to it.

        Args:
            event: tells of the change.
            write: runs the script with these arguments; returns what the script does.

        Returns:
            What the script returned, once the history stood still.

        Raises:
            RetunedError: what ``write`` raises, and as for `catch_up`.
        """
        while self.forward(event.model):
            pass
        for _ in range(_ATTEMPTS):
            outcome = write(self._next(event))
            if outcome != MOVED:
                return outcome
            self.catch_up(event.model)
        raise _restless(event.model)

    def _next(self, event: Event) -> tuple[str, bytes, str]:
        """The link to go on from; the event and its link, b"" and "" where it is there."""
        before = self.archive.head(event.model)
        if self.archive.is_linked(event.model, event.id):
            return before.text, b"", ""
        end = self._end(event.model)
        (entry,) = chain.linked(event.model, end, [event.text], self._key)
        return before.text, entry.text, link_of(entry).text

    def newest(self, model: str, limit: int) -> tuple[Event, ...]:
        """The newest events, oldest first, as of the last time that Redis answered.

        Raises:
            RetunedError: the journal failed.
        """
        self.is_current(model)
        return self.archive.newest(model, limit)

    def is_current(self, model: str) -> bool:
        """Bring the copy up to date; False where Redis is away or cannot be gone on from."""
        try:
            self.catch_up(model)
        except RetunedError:
            return False
        return True

    def catch_up(self, model: str) -> None:
        """Copy what others have appended; put back what Redis lost, or what was changed there.

        Raises:
            TransientError: Redis is away.
            UnknownKey: the chain goes on with a key that this daemon has not got.
        """
        self._mending.catch_up(model)

    def audit(self, model: str) -> None:
        """Verify the whole chain, and put it right; let go of what is too much.

        Raises:
            TransientError: Redis is away.
            UnknownKey: as for `catch_up`.
        """
        self.catch_up(model)
        if self.verified(model).findings:
            self._mending.catch_up(model, is_wrong=True)
        self._sign_anew(model)
        self._trim(model)

    def verified(self, model: str) -> Reading:
        """Verify the whole chain in Redis; nothing is changed.

        Raises:
            TransientError: Redis is away.
        """
        return verified(self._redis, model, self._key, self.archive.head(model))

    def verified_copy(self, model: str) -> Reading:
        """Verify the copy in the journal.

        Raises:
            RetunedError: the journal failed.
        """
        return self.archive.verified(model, self._key)

    def _end(self, model: str) -> chain.Link:
        """What the next event comes after."""
        head = self.archive.head(model)
        return head if head.signature else self._mending.base(model)

    def _sign_anew(self, model: str) -> None:
        """Let the newest key vouch for what an older one signed."""
        head = self.archive.head(model)
        if head.signature and not self._key.is_newest(head.signature.encode()):
            body = {"until": head.number, "key": self._key.id}
            self._mending.tell(model, EventKind.REKEYED, body)
            self.forward(model)
        sealed = self._stream.checkpoint(model)
        if sealed is not None and not self._key.is_newest(sealed):
            anew = Checkpoint.read(model, sealed, self._key).sealed(self._key)
            self._stream.reseal(model, sealed, anew)

    def _trim(self, model: str) -> None:
        sealed = self._stream.checkpoint(model)
        if sealed is not None:
            # Another daemon may have let go already.
            gone = Checkpoint.read(model, sealed, self._key).link
            if gone.number > self._mending.base(model).number:
                self.archive.begin_after(model, gone.number, sealed)
        while (count := self.archive.linked_after(model, 0) - KEPT) > 0:
            count = min(count, PAGE)
            part = next(self.archive.entries(model, limit=count + 1))
            gone, first = link_of(part[count - 1]), link_of(part[count])
            checkpoint = Checkpoint(
                model=model, number=gone.number, digest=gone.digest, at=self._clock.now()
            ).sealed(self._key)
            if not self._stream.let_go(model, count, first, checkpoint):
                return
            self.archive.begin_after(model, gone.number, checkpoint)


def _restless(model: str) -> TransientError:
    return TransientError(f"the history of {model} changes all the time: is this one of several?")
