"""A model's streams in Redis, as a consumer group sees them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from redis.exceptions import ResponseError

from retuned.registry import keys
from retuned.registry.connect import translated
from retuned.sources.entries import Entry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from redis import Redis

    from retuned.ingest.intake import Cargo

GROUP = "retuned"
CONSUMER = "daemon"
"""One name for all daemons: rows have one home, and who takes over a home goes on there."""

REFUSED_KEPT = 1000

_NEW, _PENDING = ">", "0"
_FIRST = b"0-0"
_CLAIMED = 10
"""Entries of one answer, which has their payloads; they are read again in their order."""


@dataclass(frozen=True, slots=True)
class Inbox:
    """One stream of a model."""

    model: str
    cargo: Cargo

    @property
    def key(self) -> str:
        """Its name in Redis."""
        return keys.inbox(self.model, self.cargo.value)


class Inboxes:
    """The commands on streams. Use from one thread.

    Every method raises TransientError where Redis is away, and PermanentError where it
    refuses; what was not acknowledged then is pending still.
    """

    def __init__(self, redis: Redis, *, prefix: str) -> None:
        """Use a client that returns bytes, and whose answers may take as long as a read blocks.

        Args:
            redis: the client.
            prefix: of the keys that tell where the server is.
        """
        self._redis = redis
        self._prefix = prefix

    def join(self, box: Inbox) -> None:
        """Make the stream and its group, where they are not there; from its first entry on."""
        with translated(prefix=self._prefix):
            try:
                self._redis.xgroup_create(box.key, GROUP, id="0", mkstream=True)
            except ResponseError as error:
                if "BUSYGROUP" not in str(error):
                    raise

    def read_new(
        self, boxes: Sequence[Inbox], count: int, block_ms: int | None
    ) -> dict[Inbox, list[Entry]]:
        """Entries that nobody has read, so many a stream at the most; waits for the first."""
        return self._read(boxes, _NEW, count, block_ms)

    def read_pending(self, box: Inbox, count: int) -> list[Entry]:
        """Entries that were read and not acknowledged, the oldest first."""
        return self._read([box], _PENDING, count, None).get(box, [])

    def claim(self, box: Inbox, idle_ms: int) -> tuple[int, int]:
        """Make entries pending here that another consumer has left.

        Returns:
            How many, and how many more were deleted from the stream before they were taken.
        """
        claimed, deleted, cursor = 0, 0, _FIRST
        with translated(prefix=self._prefix):
            while True:
                found: Any = self._redis.xautoclaim(
                    box.key, GROUP, CONSUMER, idle_ms, cursor, count=_CLAIMED
                )
                cursor, entries, *gone = found  # gone: from 7.0 on
                claimed, deleted = claimed + len(entries), deleted + len(gone[0] if gone else ())
                if cursor == _FIRST:
                    return claimed, deleted

    def acknowledge(
        self,
        box: Inbox,
        ids: Sequence[bytes],
        refused: Sequence[Mapping[str, str | bytes]] = (),
    ) -> None:
        """Acknowledge entries, and keep what of them was refused."""
        with translated(prefix=self._prefix), self._redis.pipeline(transaction=True) as pipe:
            for given in refused[-REFUSED_KEPT:]:
                fields: dict[Any, Any] = dict(given)
                pipe.xadd(keys.refused(box.model), fields, maxlen=REFUSED_KEPT)
            pipe.xack(box.key, GROUP, *ids)
            pipe.execute()

    def trim(self, box: Inbox, keep_s: float) -> None:
        """Delete entries that are acknowledged, except those of the last seconds.

        Whole nodes of a hundred entries or so are deleted, as that costs Redis nothing.
        """
        with translated(prefix=self._prefix):
            first = self._first_needed(box)
            if first is not None and keep_s:
                seconds, _ = _pair(self._redis.time())
                first = min(first, (int((seconds - keep_s) * 1000), 0))
            if first is None or first <= (0, 0):
                return
            # One command deletes 10,000 at the most.
            while self._redis.xtrim(box.key, minid=f"{first[0]}-{first[1]}", approximate=True):
                pass

    def _first_needed(self, box: Inbox) -> tuple[int, int] | None:
        """The oldest entry that is not acknowledged, or the id after all of them."""
        groups: Any = self._redis.xinfo_groups(box.key)
        ours = next((group for group in groups if group["name"] == GROUP.encode()), None)
        if ours is None:
            return None
        if not ours["pending"]:
            milliseconds, number = _id(ours["last-delivered-id"])
            return milliseconds, number + 1
        pending: Any = self._redis.xpending(box.key, GROUP)
        return None if pending["min"] is None else _id(pending["min"])

    def _read(
        self, boxes: Sequence[Inbox], since: str, count: int, block_ms: int | None
    ) -> dict[Inbox, list[Entry]]:
        by_key = {box.key.encode(): box for box in boxes}
        with translated(prefix=self._prefix):
            found: Any = self._redis.xreadgroup(
                GROUP, CONSUMER, dict.fromkeys(by_key, since), count=count, block=block_ms
            )
        # A dict under RESP3, a list of pairs under RESP2.
        streams = found.items() if isinstance(found, dict) else found
        return {by_key[key]: [Entry.of(*entry) for entry in entries] for key, entries in streams}


def _id(given: bytes) -> tuple[int, int]:
    milliseconds, number = _pair(given.split(b"-"))
    return milliseconds, number


def _pair(given: Any) -> tuple[int, int]:  # noqa: ANN401 (as the client returns it)
    first, second = given
    return int(first), int(second)
