"""What a stream holds, and as how few parcels it is taken."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from retuned.ingest.intake import Cargo, Parcel
from retuned.ingest.media import JSON, NDJSON

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

PAYLOAD, TYPE = b"payload", b"type"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry of a stream.

    Attributes:
        id: as Redis gave it.
        payload: JSON (as in HTTP), NDJSON, or what ``type`` says; empty where there is none.
        content_type: its media type; empty: JSON or NDJSON.
        is_gone: whether it was deleted from the stream before it was taken.
    """

    id: bytes
    payload: bytes
    content_type: str = ""
    is_gone: bool = False

    @classmethod
    def of(cls, name: bytes, fields: Mapping[bytes, bytes] | None) -> Entry:
        """Read what XREADGROUP returned."""
        if not fields:
            return cls(id=name, payload=b"", is_gone=True)
        kind = fields.get(TYPE, b"").decode("ascii", "replace")
        kind = kind.partition(";")[0].strip().lower()
        return cls(id=name, payload=fields.get(PAYLOAD, b""), content_type=kind)


@dataclass(frozen=True, slots=True)
class Lot:
    """Entries that are taken as one parcel, in the order of the stream.

    Attributes:
        parts: each entry with the objects in it. An entry whose content is no JSON has none,
            and is alone.
    """

    parts: tuple[tuple[Entry, Sequence[Any]], ...]

    @property
    def ids(self) -> tuple[bytes, ...]:
        """The entries' ids."""
        return tuple(entry.id for entry, _ in self.parts)

    def parcel(self, cargo: Cargo) -> Parcel:
        """All of it."""
        records = [record for _, held in self.parts for record in held]
        if records:
            payload, kind = orjson.dumps(records), JSON
        else:
            ((entry, _),) = self.parts
            payload, kind = entry.payload, entry.content_type or JSON
        return Parcel(cargo=cargo, payload=payload, content_type=kind, source="stream")

    def singles(self) -> tuple[Lot, ...]:
        """A lot for each entry."""
        return tuple(Lot((part,)) for part in self.parts)

    def origins(self) -> list[tuple[Entry, Any]]:
        """Each object with its entry, in the order of the parcel."""
        return [(entry, record) for entry, held in self.parts for record in held]


def lots_of(entries: Sequence[Entry], cargo: Cargo) -> Iterator[Lot]:
    """Join neighbours that are JSON or NDJSON; everything else stays for itself."""
    parts = [(entry, _records(entry, cargo)) for entry in entries]
    for is_joined, run in itertools.groupby(parts, key=lambda part: bool(part[1])):
        if is_joined:
            yield Lot(tuple(run))
        else:
            yield from (Lot((part,)) for part in run)


def _records(entry: Entry, cargo: Cargo) -> list[Any]:
    """The objects in an entry; none where it is no JSON, or holds what cannot be joined."""
    if entry.content_type not in {"", JSON, NDJSON}:
        return []
    try:
        found = _loads(entry)
    except orjson.JSONDecodeError:
        return []
    if isinstance(found, dict):
        found = found.get(cargo.value, [found])
    is_plain = isinstance(found, list) and all(isinstance(record, dict) for record in found)
    return found if is_plain else []


def _loads(entry: Entry) -> Any:  # noqa: ANN401 (whatever JSON holds)
    if entry.content_type == NDJSON:
        return [orjson.loads(line) for line in entry.payload.splitlines() if line.strip()]
    try:
        return orjson.loads(entry.payload)
    except orjson.JSONDecodeError:
        if entry.content_type:
            raise
        return [orjson.loads(line) for line in entry.payload.splitlines() if line.strip()]
