"""Keeping a chain in Redis and its verified copy in the journal the same."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

import orjson

from retuned.registry.history import chain
from retuned.registry.history.chain import BEGINNING, Checkpoint, Link, link_of
from retuned.registry.history.events import Event, EventKind, new_event_id
from retuned.registry.history.stream import PAGE
from retuned.registry.signing import Forged, UnknownKey

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from retuned.registry.history.archive import Archive
    from retuned.registry.history.chain import Entry
    from retuned.registry.history.stream import Stream
    from retuned.registry.signing import SigningKey
    from retuned.runtime.clock import Clock

_log = logging.getLogger(__name__)

_TOLD = 5


class Mending:
    """Copies what others append; puts back what Redis lost, or what was changed. From any thread.

    What stands in Redis and verifies is believed: a daemon that knows of events that are not in
    that chain appends them again. So no two histories live beside each other, and none is lost.
    """

    def __init__(self, stream: Stream, archive: Archive, key: SigningKey, clock: Clock) -> None:
        """Take the chain, the copy, the keys that verify, and the time."""
        self._stream = stream
        self._archive = archive
        self._key = key
        self._clock = clock
        self._locks: dict[str, threading.RLock] = {}

    def catch_up(self, model: str, *, is_wrong: bool = False) -> None:
        """Make chain and copy the same.

        Args:
            model: whose.
            is_wrong: look at the whole chain, whatever its end looks like.

        Raises:
            TransientError: Redis is away.
            UnknownKey: the chain goes on with a key that is not in the key file; left alone.
        """
        with self._locks.setdefault(model, threading.RLock()):
            head, last = self._archive.head(model), self._stream.last(model)
            if last == head.text and not is_wrong:
                return
            if is_wrong or not self._follow(model, head, Link.of(last)):
                self._mend(model, last)

    def base(self, model: str) -> Link:
        """What the first event of the copy comes after."""
        sealed = self._archive.checkpoint(model)
        return BEGINNING if sealed is None else Checkpoint.trusted(sealed).link

    def tell(self, model: str, kind: EventKind, body: Mapping[str, Any]) -> None:
        """Let an event wait."""
        now = self._clock.now()
        self._archive.add([Event(id=new_event_id(now), at=now, model=model, kind=kind, body=body)])
        _log.warning(
            "History: %s, %s.", kind, body, extra={"action": f"history_{kind}", "model": model}
        )

    def _follow(self, model: str, head: Link, last: Link | None) -> bool:
        """Copy what came after the newest link that is known, if it does go on from there."""
        if last is None or last.number <= head.number or head == BEGINNING:
            return False
        entries = self._stream.newest(model, last.number - head.number + 1)
        if not entries or entries[0].link != head:
            return False
        if chain.read(model, entries[1:], head, self._key).findings:
            return False
        self._archive.keep(model, entries[1:])
        return True

    def _mend(self, model: str, last: str) -> None:
        sealed, wrong = self._checkpoint(model)
        base = BEGINNING if sealed is None else Checkpoint.trusted(sealed).link
        entries = list(self._stream.entries(model))
        reading = chain.read(model, entries, base, self._key)
        if reading.is_foreign and not wrong:
            message = f"the history of {model} is refused: {reading.findings[-1]}"
            raise UnknownKey(message)
        wrong += reading.findings
        again = self._adopt(model, base, sealed, entries[: reading.good])
        if wrong:
            self._overwrite(model, last, base, entries, wrong)
            return
        put_back = self._put_back(model, last, reading.last)
        if put_back or again:
            self.tell(model, EventKind.MENDED, {"put_back": put_back + again, "lost": 0})

    def _checkpoint(self, model: str) -> tuple[bytes | None, list[str]]:
        """The checkpoint in Redis; the copy's, where that one is refused, and why it is."""
        sealed = self._stream.checkpoint(model)
        own = self._archive.checkpoint(model)
        if sealed is None or sealed == own:
            return sealed, []
        try:
            Checkpoint.read(model, sealed, self._key)
        except UnknownKey:
            raise
        except Forged as error:
            return own, [str(error)]
        return sealed, []

    def _adopt(self, model: str, base: Link, sealed: bytes | None, good: Sequence[Entry]) -> int:
        """Copy what verifies and is not known; returns how many of ours have to be sent again.

        Another daemon may have begun anew, or gone on from less than is known here.
        """
        if not good:
            return 0
        known = [n for n, entry in enumerate(good) if self._archive.has(model, link_of(entry))]
        new = good[known[-1] + 1 :] if known else good
        own = self.base(model)
        if not new or (not known and link_of(good[-1]).number < own.number):
            return 0
        again = 0
        if known or self._archive.head(model).number > base.number:
            before = link_of(good[known[-1]]) if known else BEGINNING
            again = self._archive.unlink(model, before.number)
        if not known or base.number > own.number:
            self._archive.begin_after(model, base.number, sealed)
        self._archive.keep(model, new)
        return again

    def _put_back(self, model: str, last: str, end: Link) -> int:
        """Append what Redis has lost of its end, or all; returns how many events."""
        if self._archive.head(model).number <= end.number:
            return 0
        if last or not self.base(model).number:
            return self._resend(model, Link.of(last) or BEGINNING)
        return self._write_anew(model, last) or 0

    def _overwrite(
        self, model: str, last: str, base: Link, entries: Sequence[Entry], wrong: Sequence[str]
    ) -> None:
        """Put the copy in place of a chain that does not verify, which is set aside."""
        head = self._archive.head(model)
        told = [
            Event.from_json(orjson.loads(entry.text))
            for entry in chain.genuine(model, entries, base, self._key)
            if link_of(entry).number > head.number
        ]
        beyond = {link_of(entry).number for entry in entries if link_of(entry).number > head.number}
        self._archive.add(told)
        if self._write_anew(model, last) is None:
            return
        more = f" and {len(wrong) - _TOLD} more" * (len(wrong) > _TOLD)
        why = "; ".join(wrong[:_TOLD]) + more
        lost = max(0, len(beyond) - len(told))
        body = {
            "error": f"the history of {model} was changed in the registry: {why}",
            "is_restored": lost == 0,
            "lost": lost,
        }
        self.tell(model, EventKind.FORGED, body)

    def _write_anew(self, model: str, last: str) -> int | None:
        """Write the whole copy; returns how many events, None where somebody was faster."""
        sealed = self._archive.checkpoint(model)
        if sealed is not None:
            sealed = Checkpoint.trusted(sealed).sealed(self._key)
        first = next(self._archive.entries(model, limit=PAGE), [])
        if not self._stream.replace(model, last, sealed, first):
            return None
        return len(first) + (self._resend(model, link_of(first[-1])) if first else 0)

    def _resend(self, model: str, before: Link) -> int:
        """Append the copy after a link, as it was; returns how many events."""
        count = 0
        for part in self._archive.entries(model, before.number, PAGE):
            if not self._stream.append(model, before.text, part):
                break
            before, count = link_of(part[-1]), count + len(part)
        return count
