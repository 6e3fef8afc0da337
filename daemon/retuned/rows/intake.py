"""The one way in for rows and labels, whatever their source: validate, de-duplicate, store."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from retuned.errors import PermanentError, TransientError
from retuned.rows.ingest import Rejected, parse_labels, parse_rows
from retuned.rows.late import without_late

if TYPE_CHECKING:
    from collections.abc import Callable

    from retuned.rows.batch import Receipt
    from retuned.rows.house import RowLogs
    from retuned.rows.ingest import ParsedLabels, ParsedRows
    from retuned.rows.log import RowLog
    from retuned.runtime.clock import Clock
    from retuned.runtime.metrics import Metrics
    from retuned_pipelines.spec import ModelSpec


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
        payload: the bytes as they came.
        content_type: their media type.
        source: where they come from, for people.
    """

    cargo: Cargo
    payload: bytes
    content_type: str
    source: str = "http"


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What became of a parcel; everything that was accepted is durable.

    Attributes:
        receipt: what was stored; None where nothing of the parcel could be taken.
        rejected: what was refused, and why.
    """

    receipt: Receipt | None
    rejected: tuple[Rejected, ...]


class Intake:
    """Takes parcels in. May be used from any thread.

    A source acknowledges a parcel to its producer when `take` has returned, and hands it in
    again after a crash or a `TransientError`: what was taken already is then a repetition.
    """

    def __init__(
        self,
        *,
        rows: RowLogs,
        spec_of: Callable[[str], ModelSpec],
        notice: Callable[[str], None],
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        """Take what it needs.

        Args:
            rows: the row logs.
            spec_of: the spec of a model; raises `NoModel`.
            notice: tells a model's keeper that something came.
            metrics: counts what comes.
            clock: the time of rows without one.
        """
        self._rows = rows
        self._spec_of = spec_of
        self._notice = notice
        self._metrics = metrics
        self._clock = clock

    def take(self, model: str, parcel: Parcel) -> Taken:
        """Take a parcel in.

        Raises:
            NoModel: no such model is under care.
            BadPayload: the payload cannot be read at all; nothing was stored.
            UnsupportedContent: it is of a type that is not read here.
            TransientError: not now, as the disk is full; nothing was stored, try again.
        """
        spec = self._spec_of(model)
        taken = (
            self._rows_of(spec, parcel)
            if parcel.cargo is Cargo.ROWS
            else self._labels_of(spec, parcel)
        )
        if taken.receipt is not None:
            self._notice(model)
        self._count(model, parcel.cargo, taken)
        return taken

    def _rows_of(self, spec: ModelSpec, parcel: Parcel) -> Taken:
        log, now_us = self._rows.of(spec.name, spec.task), round(self._clock.now() * 1e6)
        parsed = parse_rows(
            parcel.payload, parcel.content_type, spec, log.schema, now_us, classes=log.classes
        )
        receipt = None
        try:
            if len(parsed.batch):
                receipt = log.append_rows(parsed.batch, parsed.schema)
        except ValueError as error:
            # Two first batches at once: the other one fixed the features.
            message = f"{error}; send the rows again"
            raise TransientError(message, retry_after=1.0) from error
        self._set_aside(spec, log, parcel, parsed)
        return Taken(receipt=receipt, rejected=parsed.rejected)

    def _labels_of(self, spec: ModelSpec, parcel: Parcel) -> Taken:
        log = self._rows.of(spec.name, spec.task)
        parsed = parse_labels(parcel.payload, parcel.content_type, spec, classes=log.classes)
        if spec.labels.horizon_s:
            late = log.overdue(parsed.batch.ids.to_pylist(), spec.labels.horizon_s)
            parsed = without_late(parsed, late, spec)
        receipt = log.append_labels(parsed.batch) if len(parsed.batch) else None
        self._set_aside(spec, log, parcel, parsed)
        return Taken(receipt=receipt, rejected=parsed.rejected)

    def _set_aside(
        self, spec: ModelSpec, log: RowLog, parcel: Parcel, parsed: ParsedRows | ParsedLabels
    ) -> None:
        """Quarantine what was refused; what came right in the meantime leaves it."""
        log.quarantine.settle(
            parcel.cargo.value,
            parsed.rejected,
            parsed.batch.ids,
            source=parcel.source,
            now_us=round(self._clock.now() * 1e6),
            max_rows=spec.quarantine.max_rows,
        )

    def _count(self, model: str, cargo: Cargo, taken: Taken) -> None:
        receipt = taken.receipt
        self._metrics.ingested(
            model,
            cargo.value,
            accepted=0 if receipt is None else receipt.accepted,
            duplicates=0 if receipt is None else receipt.duplicates,
            revised=0 if receipt is None else receipt.revised,
            rejected=len(taken.rejected),
        )
