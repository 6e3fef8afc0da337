"""Where the rows of ids are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from retuned.rows.find import chunks, is_there, marks, origins_of, superseded

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from retuned.rows.ids import IdIndex


@dataclass(slots=True)
class Place:
    """Where the row of an id is.

    Attributes:
        digest: the id's.
        seq: sequence number of its newest content; None where it has not come.
        origin: and of the first; None likewise.
        is_forgotten: whether the id may not come again.
    """

    digest: bytes
    seq: int | None = None
    origin: int | None = None
    is_forgotten: bool = False


def places_of(db: sqlite3.Connection, index: IdIndex, digests: Sequence[bytes]) -> list[Place]:
    """Where the rows of ids are; one `Place` for each id, shared where an id comes twice."""
    shared = {name: Place(name) for name in digests}
    names = list(shared)
    found = {position: seqs[0] for position, seqs in index.find(names).items()}
    positions, seqs = list(found), np.fromiter(found.values(), np.int64)
    kept = is_there(db, seqs)
    origins = origins_of(db, found.values())
    # The newest content may have been dropped, while an older one is still there: an index that
    # was read from the log again finds only that.
    old = superseded(db, seqs[kept].tolist())
    for position, seq, is_kept in zip(positions, seqs.tolist(), kept.tolist(), strict=True):
        if is_kept and seq not in old:
            place = shared[names[position]]
            place.seq, place.origin = seq, origins.get(seq, seq)
    _mark_forgotten(db, shared)
    return [shared[name] for name in digests]


def _mark_forgotten(db: sqlite3.Connection, places: dict[bytes, Place]) -> None:
    (has_any,) = db.execute("SELECT EXISTS (SELECT 1 FROM forgotten)").fetchone()
    if not has_any:
        return
    for part in chunks(list(places)):
        query = f"SELECT digest FROM forgotten WHERE digest IN ({marks(part)})"  # noqa: S608 (only question marks)
        for (name,) in db.execute(query, part):
            place = places[name]
            place.seq = place.origin = None
            place.is_forgotten = True
