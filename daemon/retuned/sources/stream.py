"""Redis streams: entries are taken in order, and acknowledged when they are durable."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import orjson

from retuned.errors import RetunedError, TransientError
from retuned.ingest.intake import Cargo
from retuned.ingest.media import BadPayload, UnsupportedContent
from retuned.sources.entries import lots_of
from retuned.sources.inbox import Inbox
from retuned.sources.retries import Retries

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Collection, Iterator, Sequence

    from retuned.ingest.intake import Parcel, Taken
    from retuned.runtime.clock import Clock
    from retuned.runtime.metrics import Metrics
    from retuned.sources.entries import Entry, Lot
    from retuned.sources.inbox import Inboxes

_log = logging.getLogger(__name__)

SOURCE = "stream"
SERVER = "The streams' Redis"

BLOCK_S = 1.0
"""Less than the client waits for an answer, and how long stopping may take."""

RETRY_S = 5.0
LONGEST_AWAY_S = 5.0
TRIM_EVERY_S = 1.0
CLAIM_EVERY_S = 60.0
FIRST_COUNT, MOST_ENTRIES = 16, 1000
BYTES_AT_ONCE = 8_000_000
"""What one read of a stream brings, about."""


class StreamSource:
    """Takes the entries of each model's two streams. Use from one thread.

    Entries are pending in Redis from the moment they are read until they are acknowledged. A
    stream is `behind` when it may have such entries: after a start, after Redis was away, and
    after something was not taken. Those come first then, so that the order is kept.
    """

    def __init__(  # noqa: PLR0913 (the composition root hands in every dependency by name)
        self,
        inboxes: Inboxes,
        *,
        models: Callable[[], Collection[str]],
        take: Callable[[str, Parcel], Taken],
        keep_s: float,
        metrics: Metrics,
        clock: Clock,
        idle_s: float = CLAIM_EVERY_S,
        block_s: float = BLOCK_S,
    ) -> None:
        """Take what it needs.

        Args:
            inboxes: the streams.
            models: names of the models under care.
            take: takes a parcel in, see `Intake.take`.
            keep_s: seconds that entries stay in their stream once they were taken.
            metrics: counts what becomes of entries.
            clock: the time.
            idle_s: seconds after which entries that another consumer has read are ours.
            block_s: seconds that a turn waits for entries where there are none.
        """
        self._inboxes = inboxes
        self._models = models
        self._take = take
        self._keep_s = keep_s
        self._metrics = metrics
        self._clock = clock
        self._idle_s = idle_s
        self._block_s = block_s
        self._joined: set[Inbox] = set()
        self._behind: set[Inbox] = set()
        self._untrimmed: set[Inbox] = set()
        self._trim_at = self._claim_at = 0.0
        self._count = FIRST_COUNT
        self._retries = Retries(clock)
        self._server = Retries(clock, longest_s=LONGEST_AWAY_S)

    def run(self, stop: threading.Event) -> None:
        """Take what comes, until asked to stop."""
        while not stop.is_set():
            if self._server.is_due(SERVER):
                self.turn(stop)
            else:
                stop.wait(self._block_s / 4)

    def turn(self, stop: threading.Event) -> None:
        """Take what is there; waits a second for it at the most."""
        try:
            self._turn(stop)
        except RetunedError as error:
            # What was read and not acknowledged is found again; so is a group that is lost.
            self._joined.clear()
            self._behind.clear()
            self._claim_at = 0.0
            if not stop.is_set():
                self._server.failed(SERVER, error, first_s=0.5, action="stream_away")
            return
        if self._server.worked(SERVER):
            _log.info("%s answers.", SERVER, extra={"action": "stream_up"})

    def _turn(self, stop: threading.Event) -> None:
        self._follow()
        self._claim()
        due = [box for box in sorted(self._behind, key=_order) if self._retries.is_due(box.key)]
        for box in due:
            if not stop.is_set():
                self._catch_up(box)
        current = sorted(self._joined - self._behind, key=_order)
        if not current:
            stop.wait(0 if due else self._block_s)
            return
        block_ms = None if due else round(self._block_s * 1000)
        came = self._inboxes.read_new(current, self._count, block_ms)
        for box, entries in came.items():
            if stop.is_set():
                return
            self._settle(box, entries)
        self._trim()

    def _follow(self) -> None:
        """Join the streams of models that are new, leave those of models that are gone."""
        boxes = {Inbox(model, cargo) for model in self._models() for cargo in Cargo}
        self._joined &= boxes
        self._behind &= boxes
        for box in sorted(boxes - self._joined, key=_order):
            if not self._retries.is_due(box.key):
                continue
            try:
                self._inboxes.join(box)
            except TransientError:
                raise
            except RetunedError as error:
                # Something else has this name; no other stream minds.
                self._wait(box, error, 0)
                continue
            self._joined.add(box)
            self._behind.add(box)

    def _claim(self) -> None:
        """Now and then take over what another consumer has left."""
        if self._clock.now() < self._claim_at:
            return
        self._claim_at = self._clock.now() + self._idle_s
        self._untrimmed |= self._joined
        for box in self._joined:
            claimed, deleted = self._inboxes.claim(box, round(self._idle_s * 1000))
            if claimed:
                self._behind.add(box)
            if deleted:
                _tell_lost(box, deleted)

    def _catch_up(self, box: Inbox) -> None:
        entries = self._inboxes.read_pending(box, self._count)
        if not entries:
            self._behind.discard(box)
            return
        self._settle(box, entries)

    def _settle(self, box: Inbox, entries: Sequence[Entry]) -> None:
        """Take entries in order, as far as that goes."""
        size = sum(len(entry.payload) for entry in entries)
        self._count = min(MOST_ENTRIES, max(1, BYTES_AT_ONCE * len(entries) // max(1, size)))
        self._untrimmed.add(box)
        gone = [entry.id for entry in entries if entry.is_gone]
        if gone:
            _tell_lost(box, len(gone))
            self._inboxes.acknowledge(box, gone)
        there = [entry for entry in entries if not entry.is_gone]
        for lot in lots_of(there, box.cargo):
            if not self._bring(box, lot):
                self._behind.add(box)
                return
        self._retries.worked(box.key)

    def _bring(self, box: Inbox, lot: Lot) -> bool:
        """Take a lot and acknowledge it; returns whether the next one has its turn."""
        try:
            taken = self._take(box.model, lot.parcel(box.cargo))
        except RetunedError as error:
            if not isinstance(error, BadPayload | UnsupportedContent):
                self._wait(box, error, len(lot.parts))
                return False
            reason = str(error)
        except Exception as error:  # noqa: BLE001 (one bad entry is no other's trouble)
            _log.warning("%s failed", box.key, exc_info=True, extra=_extra(box, "stream_failed"))
            reason = f"an unexpected error: {error!r}"
        else:
            self._acknowledge(box, lot, taken)
            return True
        if len(lot.parts) > 1:
            return all(self._bring(box, single) for single in lot.singles())
        self._refuse(box, lot, reason)
        return True

    def _acknowledge(self, box: Inbox, lot: Lot, taken: Taken) -> None:
        self._inboxes.acknowledge(box, lot.ids, tuple(_refused(box, lot, taken)))
        self._metrics.parcel(box.model, SOURCE, "taken", len(lot.parts))
        if taken.refused:
            told = "%d of the %s that came by stream were refused; the first: %s"
            first = taken.rejected[0].reason
            extra = _extra(box, "stream_rejected")
            _log.warning(told, taken.refused, box.cargo.value, first, extra=extra)

    def _refuse(self, box: Inbox, lot: Lot, reason: str) -> None:
        ((entry, _),) = lot.parts
        if not entry.payload:
            reason = "it has no field 'payload'"
        fields = _fields(box, entry, reason, entry.payload)
        self._inboxes.acknowledge(box, lot.ids, (fields,))
        self._metrics.parcel(box.model, SOURCE, "failed")
        told = "An entry of %s was refused: %s"
        _log.warning(told, box.key, reason, extra=_extra(box, "stream_refused"))

    def _wait(self, box: Inbox, error: RetunedError, count: int) -> None:
        pause = error.retry_after if isinstance(error, TransientError) else RETRY_S
        self._metrics.parcel(box.model, SOURCE, "postponed", count)
        self._retries.failed(box.key, error, first_s=pause, action="stream_waits", model=box.model)

    def _trim(self) -> None:
        if self._clock.now() < self._trim_at or not self._untrimmed:
            return
        self._trim_at = self._clock.now() + TRIM_EVERY_S
        for box in self._untrimmed & self._joined:
            self._inboxes.trim(box, self._keep_s)
        self._untrimmed.clear()


def _refused(box: Inbox, lot: Lot, taken: Taken) -> Iterator[dict[str, str | bytes]]:
    """What is kept of each row or label that was refused."""
    origins = lot.origins()
    for item in taken.rejected:
        if origins:
            entry, record = origins[item.index]
            yield _fields(box, entry, item.reason, orjson.dumps(record))
        else:
            ((entry, _),) = lot.parts
            yield _fields(box, entry, item.reason, item.record.encode())


def _fields(box: Inbox, entry: Entry, reason: str, payload: bytes) -> dict[str, str | bytes]:
    return {
        "cargo": box.cargo.value,
        "entry": entry.id,
        "reason": reason,
        "payload": payload,
        "type": entry.content_type,
    }


def _tell_lost(box: Inbox, count: int) -> None:
    told = "%d entries of %s were deleted before they were taken: let nobody else trim it."
    _log.error(told, count, box.key, extra=_extra(box, "stream_lost"))


def _order(box: Inbox) -> tuple[str, str]:
    return box.model, box.cargo.value


def _extra(box: Inbox, action: str) -> dict[str, str]:
    return {"action": action, "model": box.model}
