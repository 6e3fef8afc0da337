"""The spool: files that are dropped in a folder are taken once."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import zip_longest
from typing import TYPE_CHECKING

from retuned.errors import RetunedError, TransientError
from retuned.ingest.intake import Cargo, NoModel
from retuned.ingest.media import BadPayload, UnsupportedContent
from retuned.sources.folder import Folder
from retuned.sources.media import parcel_of
from retuned.sources.retries import Retries

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Collection, Iterator, Sequence
    from pathlib import Path

    from retuned.ingest.intake import Parcel, Taken
    from retuned.runtime.clock import Clock
    from retuned.runtime.metrics import Metrics
    from retuned.sources.folder import Dropped

_log = logging.getLogger(__name__)

SOURCE = "spool"
ATTEMPTS = 3
"""A file that fails this often, for no reason that is foreseen, is let go."""

RETRY_S = 5.0
PURGE_EVERY_S = 600.0


@dataclass(frozen=True, slots=True)
class _Waiting:
    model: str
    cargo: Cargo
    folder: Folder
    file: Dropped


class Spool:
    """Takes files from ``<directory>/<model>/rows`` and ``labels``. Use from one thread.

    A file is moved when what it holds is durable. After a crash in between it is taken again,
    and all of it is a repetition then. Files of a folder are taken in the order in which they
    were written, so that of two revisions the later one counts.
    """

    def __init__(  # noqa: PLR0913 (the composition root hands in every dependency by name)
        self,
        directory: Path,
        *,
        models: Callable[[], Collection[str]],
        is_ours: Callable[[str], bool] = lambda _: True,
        take: Callable[[str, Parcel], Taken],
        every_s: float,
        keep_done_s: float,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        """Take what it needs.

        Args:
            directory: the spool's folder; made where it is not there.
            models: names of the models under care.
            is_ours: whether a model's rows are this daemon's; the files of others wait.
            take: takes a parcel in, see `Intake.take`.
            every_s: seconds between two looks.
            keep_done_s: seconds that a file is kept once it was taken.
            metrics: counts what becomes of files.
            clock: the time.
        """
        self._directory = directory
        self._models = models
        self._is_ours = is_ours
        self._take = take
        self._every_s = every_s
        self._keep_done_s = keep_done_s
        self._metrics = metrics
        self._clock = clock
        self._retries = Retries(clock)
        self._odd: dict[Path, str] = {}
        self._purge_at = 0.0

    def run(self, stop: threading.Event) -> None:
        """Look, and look again, until asked to stop."""
        while not stop.is_set():
            self.look(stop)
            stop.wait(self._every_s)

    def look(self, stop: threading.Event) -> None:
        """Take what waits in all folders, one file a folder in turn."""
        models = sorted(self._models())
        odd = dict(self._strangers(models))
        ours = [(model, cargo) for model in models if self._is_ours(model) for cargo in Cargo]
        folders = [(m, c, Folder(self._directory / m / c.value)) for m, c in ours]
        queues = [self._waiting(*folder, odd) for folder in folders]
        for path, why in odd.items():
            if self._odd.get(path) != why:
                _log.warning("Spool: %s %s.", path, why, extra={"action": "spool_odd"})
        self._odd = odd
        for turn in zip_longest(*queues):
            for one in turn:
                if stop.is_set():
                    return
                if one is not None and self._is_due(one):
                    self._bring(one, stop)
        self._purge(folder for *_, folder in folders)

    def _strangers(self, models: Collection[str]) -> Iterator[tuple[Path, str]]:
        """Folders of which no model is under care, if anything waits there."""
        with suppress(OSError):  # what cannot be looked at is told of as folders of models are
            for path in sorted(self._directory.iterdir()):
                for folder in (Folder(path / cargo.value) for cargo in Cargo):
                    if path.name not in models and folder.holds_anything():
                        yield folder.path, f"has files, but no model {path.name!r} is under care"

    def _waiting(
        self, model: str, cargo: Cargo, folder: Folder, odd: dict[Path, str]
    ) -> Sequence[_Waiting]:
        try:
            folder.prepare()
            found = folder.look()
        except OSError as error:
            odd[folder.path] = f"cannot be used: {error.strerror}"
            return ()
        odd |= found.odd
        return [_Waiting(model, cargo, folder, file) for file in found.waiting]

    def _is_due(self, one: _Waiting) -> bool:
        return all(self._retries.is_due(str(p)) for p in (one.folder.path, one.file.path))

    def _bring(self, one: _Waiting, stop: threading.Event) -> None:
        """Take one file; whatever happens, others have their turn."""
        try:
            self._bring_in(one)
        except FileNotFoundError:
            return  # whoever dropped it has taken it back
        except NoModel:
            return
        except RetunedError as error:
            # No fault of this file; a later one must not overtake it.
            pause = error.retry_after if isinstance(error, TransientError) else RETRY_S
            if not stop.is_set():
                self._wait(one, one.folder.path, error, pause)
        except OSError as error:
            self._wait(one, one.file.path, error, RETRY_S)
        except Exception as error:  # noqa: BLE001 (one bad file is no other's trouble)
            _log.warning(
                "%s failed", one.file.path, exc_info=True, extra={"action": "spool_failed"}
            )
            if self._wait(one, one.file.path, repr(error), RETRY_S) >= ATTEMPTS:
                with suppress(OSError):
                    self._let_go(one, f"an unexpected error: {error!r}")

    def _bring_in(self, one: _Waiting) -> None:
        try:
            taken = self._take(one.model, parcel_of(one.file.path, one.cargo))
        except (BadPayload, UnsupportedContent) as error:
            self._let_go(one, str(error))
            return
        if taken.receipt is None:
            self._let_go(one, _all_refused(one.cargo, taken))
            return
        for path in (one.folder.path, one.file.path):
            self._retries.worked(str(path))
        if self._is_growing(one):
            return
        receipt = {
            "file": one.file.path.name,
            "model": one.model,
            "cargo": one.cargo.value,
            "taken_at": datetime.fromtimestamp(self._clock.now(), UTC).isoformat(),
            **asdict(taken.receipt),
            "rejected": taken.refused,
            "quarantined": taken.quarantined,
        }
        rejected = [item.told() for item in taken.rejected]
        target = one.folder.done(one.file, receipt, rejected)
        self._metrics.parcel(one.model, SOURCE, "taken")
        told = "Taken from the spool: %s, %d accepted, %d rejected."
        _log.log(
            logging.WARNING if rejected else logging.DEBUG,
            told,
            target,
            taken.receipt.accepted,
            taken.refused,
            extra={"action": "spool_taken", "model": one.model},
        )

    def _let_go(self, one: _Waiting, reason: str) -> None:
        if self._is_growing(one):
            return
        target = one.folder.failed(one.file, reason)
        self._retries.worked(str(one.file.path))
        self._metrics.parcel(one.model, SOURCE, "failed")
        extra = {"action": "spool_refused", "model": one.model}
        _log.error("Cannot be taken from the spool: %s: %s", target, reason, extra=extra)

    def _is_growing(self, one: _Waiting) -> bool:
        """Whether it was written while it was read: then it is taken again as it now is."""
        if not one.file.has_changed():
            return False
        told = "%s was written while it was read, and is taken again: drop files by renaming them."
        _log.warning(told, one.file.path, extra={"action": "spool_growing", "model": one.model})
        return True

    def _wait(self, one: _Waiting, path: Path, why: object, pause_s: float) -> int:
        self._metrics.parcel(one.model, SOURCE, "postponed")
        action = "spool_waits"
        return self._retries.failed(str(path), why, first_s=pause_s, action=action, model=one.model)

    def _purge(self, folders: Iterator[Folder]) -> None:
        now = self._clock.now()
        if now < self._purge_at and self._keep_done_s:
            return
        self._purge_at = now + PURGE_EVERY_S
        for folder in folders:
            try:
                folder.purge(now - self._keep_done_s)
            except OSError as error:
                told = "%s cannot be tidied up: %s"
                _log.warning(told, folder.path, error, extra={"action": "spool_untidy"})


def _all_refused(cargo: Cargo, taken: Taken) -> str:
    if not taken.rejected:
        return f"there are no {cargo.value} in it"
    lines = [f"none of {taken.refused} {cargo.value} can be taken:"]
    lines += [f"{item.index}, id {item.id}: {item.reason}" for item in taken.rejected]
    return "\n".join(lines)
