"""A model's chain of events in a Redis stream, and the scripts that write it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from retuned.errors import PermanentError
from retuned.registry import keys
from retuned.registry.connect import translated
from retuned.registry.history import chain
from retuned.registry.history.chain import BEGINNING, Checkpoint, Entry, Link, Reading, link_of
from retuned.registry.signing import Forged

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from redis import Redis

    from retuned.registry.signing import SigningKey

HEAD = """
local function link_of(entry)
  for at = 1, entry and #entry[2] or 0, 2 do
    if entry[2][at] == 'link' then return entry[2][at + 1] end
  end
  return entry and '?' or ''
end
local function head(stream)
  local found = redis.pcall('XREVRANGE', stream, '+', '-', 'COUNT', 1)
  if found.err and string.find(found.err, 'WRONGTYPE') then return '?' end
  if found.err then redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1) end
  return link_of(found[1])
end
"""
"""A part of scripts: `head` is the link that stands last in a stream, '' for an empty one.

It is '?' for what is no link, or where something stands that is no stream.
"""

CHECKING = "if head(KEYS[{stream}]) ~= ARGV[{first}] then return 5 end"
APPENDING = """
if ARGV[{first} + 1] ~= '' then
  redis.call('XADD', KEYS[{stream}], '*', 'event', ARGV[{first} + 1], 'link', ARGV[{first} + 2])
end
"""
"""Parts of scripts that append an event with a change of their own: `HEAD`, then, before anything
is written, `CHECKING`, which returns `MOVED`, and then this. ARGV from there on: what
`EventLog.along` gives.
"""

MOVED = 5
"""Somebody else has appended in the meantime: catch up, and try again."""

_APPEND_ALL = """
for at = {first}, #ARGV, 2 do
  redis.call('XADD', KEYS[1], '*', 'event', ARGV[at], 'link', ARGV[at + 1])
end
return 1
"""

APPEND = HEAD + "if head(KEYS[1]) ~= ARGV[1] then return 0 end" + _APPEND_ALL.format(first=2)
"""KEYS: events. ARGV: the link that is gone on from, then event and link, again and again."""

REPLACE = (
    HEAD
    + """
if head(KEYS[1]) ~= ARGV[1] then return 0 end
if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('RENAME', KEYS[1], KEYS[3]) end
if ARGV[2] == '' then redis.call('DEL', KEYS[2]) else redis.call('SET', KEYS[2], ARGV[2]) end
"""
    + _APPEND_ALL.format(first=3)
)
"""KEYS: events, checkpoint, refused. ARGV: as for APPEND, with the checkpoint after the link."""

LET_GO = (
    HEAD
    + """
local count = tonumber(ARGV[3])
local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', count + 1)
if link_of(first[count + 1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[2], ARGV[2])
redis.call('XTRIM', KEYS[1], 'MAXLEN', redis.call('XLEN', KEYS[1]) - count)
return 1
"""
)
"""KEYS: events, checkpoint. ARGV: link of the first that stays, new checkpoint, how many go."""

RESEAL = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('SET', KEYS[1], ARGV[2]) end"
"""KEYS: a sealed string. ARGV: what stands there, and the same sealed anew."""

PAGE = 500
"""Entries that are read or written at a time."""

_LOOKS = 3


class Stream:
    """The chain of each model as Redis has it. May be used from any thread.

    Every method raises TransientError where Redis is away; a write may then have happened.
    """

    def __init__(self, redis: Redis) -> None:
        """Use a client that returns bytes."""
        self._redis = redis
        self._append = redis.register_script(APPEND)
        self._replace = redis.register_script(REPLACE)
        self._reseal = redis.register_script(RESEAL)
        self._let_go = redis.register_script(LET_GO)

    def last(self, model: str) -> str:
        """The link that stands last; "" for an empty stream."""
        try:
            with translated():
                found: Any = self._redis.xrevrange(keys.events(model), count=1)
        except PermanentError as error:
            if not _is_no_stream(error):
                raise
            return "?"
        return "" if not found else found[0][1].get(b"link", b"?").decode(errors="replace")

    def newest(self, model: str, count: int) -> list[Entry]:
        """The newest entries, oldest first."""
        with translated():
            found: Any = self._redis.xrevrange(keys.events(model), count=count)
        return [_entry(fields) for _, fields in found[::-1]]

    def entries(self, model: str) -> Iterator[Entry]:
        """All entries, oldest first."""
        return _stored(self._redis, model)

    def append(self, model: str, last: str, entries: Iterable[Entry]) -> bool:
        """Append entries, if that link stands last; returns whether it did."""
        with translated():
            return bool(self._append(keys=[keys.events(model)], args=[last, *_flat(entries)]))

    def replace(
        self, model: str, last: str, checkpoint: bytes | None, entries: Iterable[Entry]
    ) -> bool:
        """Set aside what is there, if that link stands last, and begin with these entries."""
        with translated():
            return bool(
                self._replace(
                    keys=[keys.events(model), keys.checkpoint(model), keys.refused_events(model)],
                    args=[last, checkpoint or b"", *_flat(entries)],
                )
            )

    def checkpoint(self, model: str) -> bytes | None:
        """The sealed checkpoint; None where the chain begins with its first link."""
        with translated():
            found: Any = self._redis.get(keys.checkpoint(model))
        return None if found is None else bytes(found)

    def reseal(self, model: str, before: bytes, after: bytes) -> None:
        """Replace the checkpoint by the same one, sealed anew."""
        with translated():
            self._reseal(keys=[keys.checkpoint(model)], args=[before, after])

    def let_go(self, model: str, count: int, first: Link, checkpoint: bytes) -> bool:
        """Let the oldest entries go, if that link is the first to stay; returns whether it is."""
        with translated():
            return bool(
                self._let_go(
                    keys=[keys.events(model), keys.checkpoint(model)],
                    args=[first.text, checkpoint, count],
                )
            )


def verified(redis: Redis, model: str, key: SigningKey, remembered: Link) -> Reading:
    """Verify the whole chain in Redis; nothing is changed.

    Args:
        redis: the client.
        model: whose.
        key: verifies.
        remembered: the newest link that was seen before; read before this is called.

    Raises:
        TransientError: Redis is away.
    """
    for _ in range(_LOOKS):
        with translated():
            sealed: Any = redis.get(keys.checkpoint(model))
        base, refusal = BEGINNING, ""
        try:
            base = BEGINNING if sealed is None else Checkpoint.read(model, sealed, key).link
        except Forged as error:
            refusal = str(error)
        reading = chain.read(model, _stored(redis, model), base, key, remembered=remembered)
        if refusal:
            reading.findings.insert(0, refusal)
            reading.is_foreign = False
        with translated():
            # Otherwise the beginning was let go while it was read.
            if not reading.findings or redis.get(keys.checkpoint(model)) == sealed:
                break
    return reading


def _stored(redis: Redis, model: str) -> Iterator[Entry]:
    start: Any = "-"
    while True:
        try:
            with translated():
                found: Any = redis.xrange(keys.events(model), min=start, count=PAGE)
        except PermanentError as error:
            if not _is_no_stream(error):
                raise
            yield Entry(b"", None)
            return
        yield from (_entry(fields) for _, fields in found)
        if len(found) < PAGE:
            return
        start = b"(" + found[-1][0]


def _is_no_stream(error: PermanentError) -> bool:
    """Whether somebody put something else in the stream's place."""
    return "WRONGTYPE" in str(error.__cause__)


def _entry(fields: Mapping[bytes, bytes]) -> Entry:
    link = fields.get(b"link", b"").decode(errors="replace")
    return Entry(fields.get(b"event", b""), Link.of(link))


def _flat(entries: Iterable[Entry]) -> Iterator[bytes | str]:
    for entry in entries:
        yield entry.text
        yield link_of(entry).text
