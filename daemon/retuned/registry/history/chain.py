"""The chain of a model's events: each link signs a digest of everything before it.

Link n has the digest SHA-256(model, n, digest of n - 1, event) and an HMAC over it. Digests find
what was changed without a key; one signature of a known key vouches for all that it covers, so
that a history outlives the keys that signed its beginning.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import orjson

from retuned.registry.pointer import canonical
from retuned.registry.signing import Forged, UnknownKey

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from retuned.registry.signing import SigningKey

CHECKPOINT = "checkpoint"
"""What a checkpoint is sealed as, and remembered by; see `SigningKey.seal`."""

_EVENT = b"event"
_PARTS = 3
_DIGITS = 15


@dataclass(frozen=True, slots=True)
class Link:
    """Where an event stands in the chain.

    Attributes:
        number: from 1.
        digest: of the event and everything before it, hexadecimal; "" before the first.
        signature: over the digest, as `SigningKey.sign` makes it; "" where a checkpoint stands
            for it.
    """

    number: int = 0
    digest: str = ""
    signature: str = ""

    @property
    def text(self) -> str:
        """As it stands beside its event; "" before the first."""
        return f"{self.number} {self.digest} {self.signature}" if self.signature else ""

    @classmethod
    def of(cls, text: str) -> Link | None:
        """Read `text`; None where it is none."""
        parts = text.split(" ")
        if len(parts) != _PARTS or not (parts[0].isascii() and parts[0].isdigit()):
            return None
        if len(parts[0]) > _DIGITS:
            return None
        return cls(int(parts[0]), parts[1], parts[2])


BEGINNING = Link()


@dataclass(frozen=True, slots=True)
class Entry:
    """An event as it is stored.

    Attributes:
        text: its JSON.
        link: where it stands; None where nothing that is a link was found beside it.
    """

    text: bytes
    link: Link | None


def link_of(entry: Entry) -> Link:
    """The link of an entry; `BEGINNING` where it has none."""
    return BEGINNING if entry.link is None else entry.link


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Stands for the beginning of a chain that is not kept any more.

    Attributes:
        model: whose.
        number: of the last link that was let go, and so how many there were.
        digest: of that link.
        at: when it was let go, seconds since the epoch.
    """

    model: str
    number: int
    digest: str
    at: float

    @property
    def link(self) -> Link:
        """What the first link that is kept comes after."""
        return Link(self.number, self.digest)

    def sealed(self, key: SigningKey) -> bytes:
        """As it is stored."""
        value = {"model": self.model, "number": self.number, "digest": self.digest, "at": self.at}
        return key.seal(CHECKPOINT, canonical(value))

    @classmethod
    def trusted(cls, sealed: bytes) -> Checkpoint:
        """Read one that comes from where nobody else writes."""
        return cls(**orjson.loads(sealed.partition(b"\n")[2]))

    @classmethod
    def read(cls, model: str, sealed: bytes, key: SigningKey) -> Checkpoint:
        """Verify a checkpoint, and only then read it.

        Raises:
            Forged: its signature does not fit, or it is that of another model.
        """
        try:
            found = cls(**orjson.loads(key.unsealed(CHECKPOINT, sealed)))
        except Forged as error:
            message = f"the checkpoint of {model}'s history is refused: {error}"
            raise type(error)(message) from error
        if found.model != model:
            message = f"the checkpoint of {model}'s history is that of {found.model}: it was moved"
            raise Forged(message)
        return found


def linked(model: str, before: Link, texts: Iterable[bytes], key: SigningKey) -> tuple[Entry, ...]:
    """Link events to a chain, one after the other."""
    found: list[Entry] = []
    for text in texts:
        number = before.number + 1
        digest = _digest(model, number, before.digest, text)
        before = Link(number, digest, key.sign(_message(digest)))
        found.append(Entry(text, before))
    return tuple(found)


@dataclass(slots=True)
class Reading:
    """What a look at a whole chain has found.

    Attributes:
        entries: how many entries there are.
        last: the last link that stands there, genuine or not.
        good: how many entries of the beginning are without a finding.
        findings: what is wrong, in plain words.
        is_foreign: whether the only thing wrong is that its end is signed with an unknown key.
    """

    entries: int
    last: Link
    good: int = 0
    findings: list[str] = field(default_factory=list)
    is_foreign: bool = False


def read(
    model: str,
    entries: Iterable[Entry],
    base: Link,
    key: SigningKey,
    *,
    remembered: Link = BEGINNING,
) -> Reading:
    """Verify a chain.

    Args:
        model: whose.
        entries: in the order in which they are stored.
        base: what the first one comes after.
        key: verifies.
        remembered: a link that was seen before, outside of where the entries are from.
    """
    walk = _Walk(model, base, key, remembered)
    for entry in entries:
        walk.take(entry)
    return walk.ended()


class _Walk:
    """Goes along a chain, from entry to entry."""

    def __init__(self, model: str, base: Link, key: SigningKey, remembered: Link) -> None:
        self._model = model
        self._base = base
        self._key = key
        self._remembered = remembered
        self._reading = Reading(entries=0, last=base)
        self._unvouched: list[int] = []
        self._unknown = ""

    def take(self, entry: Entry) -> None:
        reading = self._reading
        reading.entries += 1
        wrong, is_placed = _wrong(self._model, entry, reading.last)
        if entry.link is None or not is_placed:
            reading.findings.append(wrong)
            return
        wrong = wrong or self._compared(entry.link)
        wrong = self._signed(entry.link, wrong)
        reading.last = entry.link
        if wrong:
            reading.findings.append(wrong)
        elif not reading.findings:
            reading.good += 1

    def _compared(self, link: Link) -> str:
        is_other = link.number == self._remembered.number and link != self._remembered
        return f"event {link.number} is another one than was seen before" if is_other else ""

    def _signed(self, link: Link, wrong: str) -> str:
        """What is wrong with the signature, where nothing else is; one that fits vouches."""
        refusal = _signature(link, self._key)
        if isinstance(refusal, UnknownKey):
            self._unknown = str(refusal)
            self._unvouched.append(link.number)
        elif refusal is not None:
            return wrong or f"event {link.number} was changed: its signature does not fit"
        elif not wrong:
            self._unvouched.clear()
        return wrong

    def ended(self) -> Reading:
        reading, unvouched = self._reading, self._unvouched
        if unvouched:
            reading.is_foreign = not reading.findings
            reading.good = min(reading.good, unvouched[0] - self._base.number - 1)
            reading.findings.append(f"{_events(unvouched[0], unvouched[-1])}: {self._unknown}")
        if reading.last.number < self._remembered.number:
            gone = _events(reading.last.number + 1, self._remembered.number)
            reading.findings.append(f"the end is cut off: {gone} had been there")
            reading.is_foreign = False
        return reading


def genuine(model: str, entries: Sequence[Entry], base: Link, key: SigningKey) -> Iterator[Entry]:
    """Entries that were linked with a known key, whatever else is wrong around them."""
    before = base
    for entry in entries:
        if entry.link is None:
            continue
        fits = entry.link.digest == _digest(model, entry.link.number, before.digest, entry.text)
        if fits and _signature(entry.link, key) is None:
            yield entry
        before = entry.link


def _wrong(model: str, entry: Entry, before: Link) -> tuple[str, bool]:
    """What is wrong with an entry after another, "" for nothing; and whether it may stand here."""
    link, after = entry.link, f"after event {before.number}"
    if link is None:
        return f"an event that is not of the chain was put in {after}", False
    if link.number <= before.number:
        return f"event {link.number} stands {after}: it was moved or put in again", False
    if link.number > before.number + 1:
        return f"{_events(before.number + 1, link.number - 1)}: not there", True
    if link.digest != _digest(model, link.number, before.digest, entry.text):
        return f"event {link.number} was changed", True
    return "", True


def _events(first: int, last: int) -> str:
    return f"event {first}" if first == last else f"events {first} to {last}"


def _signature(link: Link, key: SigningKey) -> Forged | None:
    """Why a signature is refused; None where it fits."""
    try:
        key.verify(_message(link.digest), link.signature)
    except Forged as error:
        return error
    return None


def _message(digest: str) -> bytes:
    return _EVENT + b"\n" + digest.encode()


def _digest(model: str, number: int, before: str, text: bytes) -> str:
    return hashlib.sha256(f"{model}\n{number}\n{before}\n".encode() + text).hexdigest()
