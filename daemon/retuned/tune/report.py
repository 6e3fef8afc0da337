"""Evidently's page of a check, rendered in a child process when somebody asks for it."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from retuned.errors import PermanentError
from retuned.tune.data import WindowFile
from retuned.tune.executor import Call, Limits, Priority
from retuned.tune.work import ReportRequest, render_report
from retuned_pipelines.drift.report import DriftReport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from retuned.registry.journal import Journal
    from retuned.rows.log import RowLog
    from retuned.tune.bench import Bench
    from retuned_pipelines.window import Window

MAX_ROWS = 5000
"""Rows of either window at the most, the newest ones: Evidently takes a minute for 100,000."""

KEPT = 20
"""Pages kept on disk for each model, 4 to 7 MB each."""

_LIMITS = Limits(wall_s=120.0, memory_mb=2000)


class NoReport(PermanentError):
    """There is no check of that id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reports:
    """Renders each page once. May be used from any thread; the second who asks waits.

    Attributes:
        journal: knows what each check looked at.
        log_of: the row log of a model.
        bench: runs the child process.
    """

    journal: Journal
    log_of: Callable[[str], RowLog]
    bench: Bench
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def render(self, model: str, report: str) -> Path:
        """Render the page of a check, or find the one that was rendered before.

        Raises:
            NoReport: there is no such check.
            PermanentError: it cannot be rendered.
            Interrupted: the daemon stops.
        """
        stored = self.journal.drift(model, report)
        if stored is None:
            message = f"model {model} has no check {report!r}"
            raise NoReport(message)
        folder = self.bench.directory / "reports" / model
        page = folder / f"{report}.html"
        with self._lock:
            if not page.exists():
                self._render(DriftReport.from_json(stored), model, report, page)
                _prune(folder)
        return page

    def _render(self, found: DriftReport, model: str, report: str, page: Path) -> None:
        log = self.log_of(model)
        before, after = found.reference, found.current
        reference = log.window(
            as_of=before.last_seq, first_seq=before.first_seq, newest=min(before.rows, MAX_ROWS)
        )
        current = log.window(as_of=after.last_seq, first_seq=after.first_seq, newest=MAX_ROWS)
        with (
            self._file(reference, model, f"{report}-reference") as one,
            self._file(current, model, f"{report}-current") as two,
        ):
            request = ReportRequest(reference=one, current=two, output=page)
            (outcome,) = self.bench.all_of(
                [
                    Call(
                        function=render_report,
                        request=request,
                        limits=_LIMITS,
                        priority=Priority.REPORT,
                        group=f"{model}/{report}",
                    )
                ]
            )
        if outcome.error:
            message = f"Evidently could not render check {report} of {model}: {outcome.error}"
            raise PermanentError(message)

    @contextmanager
    def _file(self, window: Window, model: str, name: str) -> Iterator[WindowFile]:
        with WindowFile.write(window, self.bench.window_path(model, name)) as file:
            yield file


def _prune(folder: Path) -> None:
    pages = sorted(folder.glob("*.html"), key=lambda page: page.stat().st_mtime)
    for page in pages[:-KEPT]:
        page.unlink(missing_ok=True)
