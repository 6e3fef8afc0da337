"""Keeping row logs small: merging, dropping what is too old, closing what nobody uses."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING

from retuned.errors import RetunedError
from retuned.rows.retain import Limits
from retuned_pipelines.retention import needed_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from retuned.keeper import Keeper
    from retuned.rows.house import RowLogs
    from retuned.rows.log import RowLog
    from retuned.runtime.clock import Clock
    from retuned_pipelines.care.state import Reign
    from retuned_pipelines.spec import RetainPolicy

_log = logging.getLogger(__name__)

EVERY_S = 30.0
IDLE_ROUNDS = 10
"""A log that nobody used for so many rounds is closed until it is needed."""

AGE_ROUNDS = 120
"""After so many rounds a log that nobody used is looked at, for rows that are too old by now."""

_MB = 1_000_000
_DAY_US = 86_400_000_000


class Housekeeping:
    """Tidies the row logs of all models, one after the other."""

    def __init__(
        self, *, rows: RowLogs, keepers: Callable[[], Mapping[str, Keeper]], clock: Clock
    ) -> None:
        """Take the logs and who is under care."""
        self._rows = rows
        self._keepers = keepers
        self._clock = clock
        self._stopping = threading.Event()
        self._rounds = 0
        self._tidied: dict[str, tuple[int, RetainPolicy]] = {}

    async def run(self) -> None:
        """Tidy again and again."""
        try:
            while True:
                await asyncio.sleep(EVERY_S)
                await asyncio.to_thread(self.tidy)
                if self._rounds % IDLE_ROUNDS == 0:
                    await asyncio.to_thread(self._rows.rest_idle)
        finally:
            self._stopping.set()

    def tidy(self) -> None:
        """Tidy every log that was used since; one model's trouble is no other's."""
        self._rounds += 1
        for name, keeper in self._keepers().items():
            if self._stopping.is_set():
                return
            try:
                self._tidy(name, keeper)
            except Exception as error:  # noqa: BLE001 (one model's trouble is no other's)
                told = "The rows of %s cannot be tidied: %s"
                is_ours = isinstance(error, RetunedError)
                _log.warning(
                    told,
                    name,
                    error if is_ours else repr(error),
                    exc_info=None if is_ours else error,
                    extra={"action": "tidy_failed", "model": name},
                )

    def _tidy(self, name: str, keeper: Keeper) -> None:
        spec, reign = keeper.spec, keeper.state.reign
        log = self._rows.of(name, spec.task)
        keep = spec.retain
        # To look at a log is to use it: one that nobody else uses would never be closed.
        is_idle = self._tidied.get(name) == (log.uses, keep)
        if is_idle and not (keep.days and self._rounds % AGE_ROUNDS == 0):
            return
        limits = Limits()
        if keep.rows or keep.days or keep.mb:
            before = round(self._clock.now() * 1e6 - keep.days * _DAY_US) if keep.days else None
            limits = Limits(
                rows=keep.rows,
                data_bytes=keep.mb * _MB,
                before_us=before,
                floor=needed_rows(spec, None if reign is None else reign.version),
                needed_us=_reference_begins(log, reign, spec.watch.reference_rows),
            )
        dropped = log.tidy(limits)
        self._tidied[name] = (log.uses, keep)
        if dropped.segments:
            _log.info(
                "Dropped the oldest %d rows of %s: more than RETAIN__... keeps.",
                dropped.rows,
                name,
                extra={"action": "rows_dropped", "model": name, "rows": dropped.rows},
            )


def _reference_begins(log: RowLog, reign: Reign | None, rows: int) -> int | None:
    """The oldest time that the champion's reference has, microseconds since the epoch."""
    if reign is None:
        return None
    newest = min(rows, reign.revision.rows)
    reference = log.window(as_of=reign.revision.fitted_as_of, newest=newest, with_labels=False)
    return int(reference.time[0]) if len(reference) else None
