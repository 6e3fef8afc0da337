"""Rows and labels that were refused, kept with the reason until they are mended or let go."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from retuned.rows import aside
from retuned.rows.forget import wiped

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    import pyarrow as pa

    from retuned.rows.batch import Rejected
    from retuned.rows.file import LogFile

_REASONS = 50
_CHUNK = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A record in quarantine.

    Attributes:
        id: number in the quarantine, in the order of first refusals.
        cargo: ``rows`` or ``labels``.
        row_id: its row's id; None where it has none that can be read.
        reason: why it was refused the last time.
        record: what was sent, JSON text; longer ones were cut.
        source: where it came from the last time.
        first_us: when it was first refused, microseconds since the epoch.
        last_us: and when last.
        times: how often.
    """

    id: int
    cargo: str
    row_id: str | None
    reason: str
    record: str
    source: str
    first_us: int
    last_us: int
    times: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusals:
    """How much is in quarantine.

    Attributes:
        rows: refused rows.
        labels: refused labels.
        dropped: records that had to leave because there were too many.
    """

    rows: int = 0
    labels: int = 0
    dropped: int = 0


class Quarantine:
    """The quarantine of one model, in its row log's file. May be used from any thread.

    What was kept survives a crash. All methods raise the errors of the file.
    """

    def __init__(self, file: LogFile) -> None:
        """Use the tables in a row log's file."""
        self._file = file
        self._lock = threading.Lock()
        self._held: dict[str, frozenset[str]] | None = None

    def settle(  # noqa: PLR0913 (what came of a parcel)
        self,
        cargo: str,
        refused: Sequence[Rejected],
        came: pa.Array,
        *,
        source: str,
        now_us: int,
        max_rows: int,
    ) -> None:
        """Keep what was refused, and let go what came right in the meantime.

        The same record again only counts. A record leaves when its row's id is among those
        that came, unless the very record was refused once more.

        Args:
            cargo: ``rows`` or ``labels``.
            refused: with their records.
            came: ids that were accepted, Arrow string array.
            source: where they came from.
            now_us: microseconds since the epoch.
            max_rows: records that are kept at the most.
        """
        held = self._ids(cargo)
        right = held.intersection(came.to_pylist()) if held else set()
        if not refused and not right:
            return
        with self._file.write(needs_room=bool(refused)) as db:
            aside.release(
                db, cargo, right, {aside.digest_of(cargo, item.record) for item in refused}
            )
            aside.keep(db, cargo, refused, source, now_us)
            aside.drop(db, max_rows)
        self._note(cargo, {item.id for item in refused if item.id is not None}, 4 * max_rows)

    def page(self, *, limit: int, after: int | None = None, cargo: str = "") -> list[Refused]:
        """The newest records first.

        Args:
            limit: so many at the most.
            after: only those that follow this one in the list; None for the first.
            cargo: only these; "" for both.
        """
        with self._file.read() as db:
            found = db.execute(
                f"SELECT {_COLUMNS} FROM quarantine WHERE id < ? AND (? = '' OR cargo = ?) "  # noqa: S608 (a constant)
                "ORDER BY id DESC LIMIT ?",
                (2**62 if after is None else after, cargo, cargo, limit),
            ).fetchall()
        return [_refused(row) for row in found]

    def of(self, ids: Iterable[int]) -> list[Refused]:
        """Those records among these that are there, oldest first."""
        found = []
        with self._file.read() as db:
            for part in _parts(sorted(set(ids))):
                query = f"SELECT {_COLUMNS} FROM quarantine WHERE id IN ({_marks(part)})"  # noqa: S608 (a constant and question marks)
                found += db.execute(query, part).fetchall()
        return sorted((_refused(row) for row in found), key=lambda item: item.id)

    def ids(self, cargo: str, wanted: Collection[int] | None = None) -> list[int]:
        """Numbers of the records of a cargo, oldest first; only those wanted, None for all."""
        with self._file.read() as db:
            found = db.execute("SELECT id FROM quarantine WHERE cargo = ? ORDER BY id", (cargo,))
            return [number for (number,) in found if wanted is None or number in wanted]

    def counts(self) -> Refusals:
        """How much is there."""
        with self._file.read() as db:
            found = dict(db.execute("SELECT cargo, count(*) FROM quarantine GROUP BY cargo"))
            (dropped,) = db.execute(
                "SELECT coalesce(max(count), 0) FROM quarantine_dropped"
            ).fetchone()
        return Refusals(rows=found.get("rows", 0), labels=found.get("labels", 0), dropped=dropped)

    def reasons(self) -> list[tuple[str, str, int]]:
        """Cargo, reason without the single record's values, and records; most frequent first."""
        with self._file.read() as db:
            return db.execute(
                "SELECT cargo, kind, count(*) AS n FROM quarantine GROUP BY cargo, kind "
                "ORDER BY n DESC, cargo, kind LIMIT ?",
                (_REASONS,),
            ).fetchall()

    def remove(self, ids: Iterable[int] | None) -> int:
        """Let records go for good; None for all. Returns how many there were."""
        wanted = None if ids is None else sorted(set(ids))
        with self._file.write(needs_room=False) as db, wiped(db):
            if wanted is None:
                gone = db.execute("DELETE FROM quarantine").rowcount
            else:
                gone = sum(
                    db.execute(
                        f"DELETE FROM quarantine WHERE id IN ({_marks(part)})",  # noqa: S608 (only question marks)
                        part,
                    ).rowcount
                    for part in _parts(wanted)
                )
        # What the journal still holds of them goes with the journal.
        self._file.give_back(1)
        return int(gone)

    def _ids(self, cargo: str) -> frozenset[str]:
        """Ids of rows that may be in quarantine: all that are, and some that were."""
        with self._lock:
            # Read under the lock: what others add in the meantime is added to this.
            if self._held is None:
                with self._file.read() as db:
                    self._held = {
                        cargo: frozenset(
                            name
                            for (name,) in db.execute(
                                "SELECT DISTINCT row_id FROM quarantine WHERE cargo = ? "
                                "AND row_id IS NOT NULL",
                                (cargo,),
                            )
                        )
                        for cargo in ("rows", "labels")
                    }
            return self._held[cargo]

    def _note(self, cargo: str, ids: set[str], most: int) -> None:
        with self._lock:
            if self._held is None:
                return
            found = self._held[cargo] | ids
            # Those that left are only found out by reading again.
            self._held = None if len(found) > most else {**self._held, cargo: found}


_COLUMNS = "id, cargo, row_id, reason, record, source, first_us, last_us, times"


def _refused(row: Sequence[Any]) -> Refused:
    return Refused(**dict(zip(_COLUMNS.split(", "), row, strict=True)))


def _parts(ids: Sequence[int]) -> Iterable[Sequence[int]]:
    return (ids[start : start + _CHUNK] for start in range(0, len(ids), _CHUNK))


def _marks(part: Sequence[int]) -> str:
    return ",".join("?" * len(part))
