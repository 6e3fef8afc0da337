"""The one way in for rows and labels, whatever their source: validate, de-duplicate, store."""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from retuned.errors import PermanentError, TransientError
from retuned.ingest.body import Room, plain
from retuned.ingest.changes import declared
from retuned.ingest.formats import pieces
from retuned.ingest.late import without_late
from retuned.ingest.media import BadPayload
from retuned.ingest.parse import ParsedLabels, ParsedRows, read_labels, read_rows
from retuned.ingest.terms import Happened, Span, Terms
from retuned.rows.batch import Receipt
from retuned.rows.classes import joined
from retuned_pipelines.care.orders import Notify
from retuned_pipelines.schema import Schema
from retuned_pipelines.spec import Reaction

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from retuned.ingest.media import Payload
    from retuned.ingest.piece import Piece
    from retuned.ingest.terms import Change
    from retuned.rows.batch import Rejected
    from retuned.rows.house import RowLogs
    from retuned.rows.log import RowLog
    from retuned.runtime.clock import Clock
    from retuned.runtime.metrics import Metrics
    from retuned_pipelines.spec import ModelSpec

TOLD = 1000
"""Refused records of a parcel that are described; all are counted."""

MOST_TOLD = 200
"""Changes of a model's columns that become events, until the next start; all are counted."""

READING = 2
"""Pieces of rows that are read at a time. It is Python that reads: more threads get in each other's
way, while all of them can wait for one commit together."""

_ATTEMPTS = 3
_EVENT = "schema"


class Cargo(StrEnum):
    """What a parcel holds."""

    ROWS = "rows"
    LABELS = "labels"


class NoModel(PermanentError):
    """No such model is under care."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """What a source hands in.

    Attributes:
        cargo: rows or labels.
        payload: the bytes as they came, or a file that holds them; a file is read in pieces.
        content_type: their media type.
        encoding: how they are compressed: ``gzip``, ``zstd``, or "".
        is_strict: whether one record that is refused refuses all.
        source: where it comes from, for people.
    """

    cargo: Cargo
    payload: Payload
    content_type: str
    encoding: str = ""
    is_strict: bool = False
    source: str = "http"


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What became of a parcel; everything that was accepted is durable.

    Attributes:
        receipt: what was stored; None where nothing of the parcel could be taken.
        rejected: what was refused, and why; the first thousand.
        refused: how many were refused.
        quarantined: how many of these are in the quarantine now.
    """

    receipt: Receipt | None
    rejected: tuple[Rejected, ...]
    refused: int = 0
    quarantined: int = 0


class Intake:
    """Takes parcels in. May be used from any thread.

    A source acknowledges a parcel to its producer when `take` has returned, and hands it in
    again after a crash or a `TransientError`: what was taken already is then a repetition.
    """

    def __init__(  # noqa: PLR0913 (the composition root hands in every dependency by name)
        self,
        *,
        rows: RowLogs,
        spec_of: Callable[[str], ModelSpec],
        notice: Callable[[str], None],
        metrics: Metrics,
        clock: Clock,
        room: Room | None = None,
        tell: Callable[[str, Notify], None] = lambda _model, _notice: None,
    ) -> None:
        """Take what it needs.

        Args:
            rows: the row logs.
            spec_of: the spec of a model; raises `NoModel`.
            notice: tells a model's keeper that something came.
            metrics: counts what comes.
            clock: the time of rows without one.
            room: how large a parcel may be.
            tell: writes an event into a model's history.
        """
        self._rows = rows
        self._spec_of = spec_of
        self._notice = notice
        self._metrics = metrics
        self._clock = clock
        self._room = room or Room()
        self._tell = tell
        self._lock = threading.Lock()
        self._reading = threading.Semaphore(READING)
        self._told: set[tuple[str, str]] = set()
        self._gone: defaultdict[str, set[str]] = defaultdict(set)
        self._fixed: set[str] = set()

    def take(self, model: str, parcel: Parcel) -> Taken:
        """Take a parcel in, piece by piece.

        Raises:
            NoModel: no such model is under care.
            BadPayload: the payload cannot be read at all, or not to its end. Pieces before
                that were stored; the text says how many records.
            UnsupportedContent: it is of a type that is not read here; nothing was stored.
            TransientError: not now, as the disk is full. Hand it in again: what was stored of
                it is then a repetition.
        """
        spec = self._spec_of(model)
        with plain(parcel.payload, parcel.content_type, parcel.encoding, self._room) as payload:
            if parcel.is_strict:
                taken = self._rehearsed(spec, parcel, payload)
                if taken.refused:
                    self._count(model, parcel.cargo, taken)
                    return taken
            return self._taken(spec, parcel, payload)

    def gone(self, model: str) -> tuple[str, ...]:
        """Columns that the newest rows did not have, where ``SCHEMA__VANISHED=adopt``."""
        with self._lock:
            return tuple(sorted(self._gone[model]))

    def _rehearsed(self, spec: ModelSpec, parcel: Parcel, payload: Payload) -> Taken:
        """What would be refused; nothing is stored."""
        log = self._rows.of(spec.name, spec.task)
        tally = _Tally()
        terms, classes = self._terms(spec, log), log.classes
        for piece in pieces(payload, parcel.content_type, parcel.cargo):
            parsed: ParsedRows | ParsedLabels
            if parcel.cargo is Cargo.ROWS:
                parsed = read_rows(piece, terms, classes)
                labels = parsed.batch.labels.drop_null()
                terms = terms.under(parsed.schema) if parsed.schema.features else terms
            else:
                parsed = self._in_time(spec, log, read_labels(piece, spec, classes))
                labels = parsed.batch.values
            classes = joined(classes, labels.unique().to_pylist(), spec.task)
            tally.refuse(parsed.rejected, 0)
        return tally.taken

    def _taken(self, spec: ModelSpec, parcel: Parcel, payload: Payload) -> Taken:
        store = self._store_rows if parcel.cargo is Cargo.ROWS else self._store_labels
        tally = _Tally()
        try:
            for piece in pieces(payload, parcel.content_type, parcel.cargo):
                receipt, parsed = store(spec, piece)
                if receipt is not None:
                    tally.accept(receipt)
                self._set_aside(spec, parcel, parsed)
                kept = len(parsed.rejected) if spec.quarantine.max_rows else 0
                tally.refuse(parsed.rejected, kept)
        except BadPayload as error:
            if tally.taken.receipt is None and not tally.taken.refused:
                raise
            message = f"{error}. What came before that was taken: {tally.told}"
            raise BadPayload(message) from error
        finally:
            if tally.taken.receipt is not None:
                self._notice(spec.name)
            self._count(spec.name, parcel.cargo, tally.taken)
        return tally.taken

    def _store_rows(self, spec: ModelSpec, piece: Piece) -> tuple[Receipt | None, ParsedRows]:
        log = self._rows.of(spec.name, spec.task)
        for attempt in range(1, _ATTEMPTS + 1):
            terms = self._terms(spec, log)
            with self._reading:
                parsed = read_rows(piece, terms, log.classes)
            receipt = None
            if len(parsed.batch):
                try:
                    receipt = log.append_rows(parsed.batch, parsed.schema)
                except ValueError as error:
                    # Somebody else's rows changed the features meanwhile: read these anew.
                    if attempt < _ATTEMPTS:
                        continue
                    message = f"{error}; send the rows again"
                    raise TransientError(message, retry_after=1.0) from error
            if self._is_fixed(spec, log):
                self._report(spec.name, piece, terms, parsed.changes)
            return receipt, parsed
        raise AssertionError  # the last attempt returns or raises

    def _store_labels(self, spec: ModelSpec, piece: Piece) -> tuple[Receipt | None, ParsedLabels]:
        log = self._rows.of(spec.name, spec.task)
        parsed = self._in_time(spec, log, read_labels(piece, spec, log.classes))
        receipt = log.append_labels(parsed.batch) if len(parsed.batch) else None
        return receipt, parsed

    def _in_time(self, spec: ModelSpec, log: RowLog, parsed: ParsedLabels) -> ParsedLabels:
        if not spec.labels.horizon_s:
            return parsed
        late = log.overdue(parsed.batch.ids.to_pylist(), spec.labels.horizon_s)
        return without_late(parsed, late, spec)

    def _set_aside(
        self, spec: ModelSpec, parcel: Parcel, parsed: ParsedRows | ParsedLabels
    ) -> None:
        """Quarantine what was refused; what came right in the meantime leaves it."""
        self._rows.of(spec.name, spec.task).quarantine.settle(
            parcel.cargo.value,
            parsed.rejected,
            parsed.batch.ids,
            source=parcel.source,
            now_us=round(self._clock.now() * 1e6),
            max_rows=spec.quarantine.max_rows,
        )

    def _terms(self, spec: ModelSpec, log: RowLog) -> Terms:
        now_us = round(self._clock.now() * 1e6)
        schema = declared(log.schema, Schema(spec.features))
        terms = Terms.of(spec, schema, now_us, Span.around(now_us, spec))
        return terms if self._is_fixed(spec, log) else replace(terms, appeared=Reaction.ADOPT)

    def _is_fixed(self, spec: ModelSpec, log: RowLog) -> bool:
        """Whether the features are declared, or the first window has told them."""
        if not spec.features and spec.name not in self._fixed:
            if log.counts().rows < spec.watch.min_rows:
                return False
            self._fixed.add(spec.name)
        return True

    def _report(self, model: str, piece: Piece, terms: Terms, changes: Sequence[Change]) -> None:
        gone = {change.column for change in changes if change.happened is Happened.VANISHED}
        with self._lock:
            if terms.vanished is Reaction.ADOPT and len(piece):
                self._gone[model] = gone
            new = [change for change in changes if (model, change.key) not in self._told]
            # Names that are data would fill the history.
            new = new[: max(0, MOST_TOLD - sum(name == model for name, _ in self._told))]
            self._told |= {(model, change.key) for change in new}
        for change in changes:
            self._metrics.schema_changed(model, change.happened)
        for change in new:
            body = {
                "change": change.happened.value,
                "column": change.column,
                "policy": change.reaction.value,
                "was": change.was,
                "found": change.found,
            }
            self._tell(model, Notify(event=_EVENT, body=body, key=change.key))

    def _count(self, model: str, cargo: Cargo, taken: Taken) -> None:
        receipt = taken.receipt
        self._metrics.ingested(
            model,
            cargo.value,
            accepted=0 if receipt is None else receipt.accepted,
            duplicates=0 if receipt is None else receipt.duplicates,
            revised=0 if receipt is None else receipt.revised,
            rejected=taken.refused,
        )


class _Tally:
    """Adds up what became of the pieces of a parcel."""

    def __init__(self) -> None:
        self.taken = Taken(receipt=None, rejected=())

    @property
    def told(self) -> str:
        receipt = self.taken.receipt
        stored = 0 if receipt is None else receipt.accepted + receipt.duplicates + receipt.revised
        return f"{stored} accepted, {self.taken.refused} refused; send the rest again"

    def accept(self, receipt: Receipt) -> None:
        before = self.taken.receipt
        if before is not None:
            receipt = Receipt(
                accepted=before.accepted + receipt.accepted,
                duplicates=before.duplicates + receipt.duplicates,
                revised=before.revised + receipt.revised,
                forgotten=before.forgotten + receipt.forgotten,
                last_seq=receipt.last_seq,
            )
        self.taken = replace(self.taken, receipt=receipt)

    def refuse(self, rejected: Sequence[Rejected], quarantined: int) -> None:
        self.taken = replace(
            self.taken,
            rejected=(*self.taken.rejected, *rejected)[:TOLD],
            refused=self.taken.refused + len(rejected),
            quarantined=self.taken.quarantined + quarantined,
        )
