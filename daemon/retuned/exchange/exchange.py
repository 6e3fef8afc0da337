"""Where models leave, come in, and are fitted once more, when somebody asks for it."""

from __future__ import annotations

import hashlib
import platform
import shutil
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from retuned.errors import PermanentError
from retuned.exchange.again import Reproduced, members_again
from retuned.exchange.work import BundleRequest, ForeignRequest, Refused, pack, take
from retuned.registry.shelf import Sealed
from retuned.tune.data import WindowFile
from retuned.tune.executor import Call, Limits, Priority
from retuned_pipelines.handout.manifest import Form, Manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from retuned.exchange.work import Foreign
    from retuned.registry.versions import Registry
    from retuned.rows.house import RowLogs
    from retuned.rows.log import RowLog
    from retuned.serve.stage import Stage
    from retuned.tune.bench import Bench
    from retuned_pipelines.spec import ModelSpec

Asked = TypeVar("Asked")
T = TypeVar("T")

CHECKED_ROWS = 5000
"""Of the newest rows so many are predicted by a model that comes in."""

_LIMITS = Limits(wall_s=120.0, memory_mb=2000)


class NotExportable(PermanentError):
    """The model cannot leave in the form that was asked for, or its artifacts are gone."""


class NotImportable(PermanentError):
    """The file is no model that could serve here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """Hands models out and takes them in. May be used from any thread; each call may take long.

    Everything that loads a model runs in a child process, within limits.

    Attributes:
        registry: versions, revisions and artifacts.
        stage: the champions that serve, which are here even while the registry is away.
        rows: the row logs.
        bench: runs the child processes.
        release: retuned's own version.
    """

    registry: Registry
    stage: Stage
    rows: RowLogs
    bench: Bench
    release: str

    def sealed(self, model: str, number: int | None, revision: int | None = None) -> Sealed:
        """A revision: the champion for None, else the newest of a version, or the one named.

        Raises:
            NoVersion: it is not there.
            Forged: it was changed.
            NotExportable: there is no champion yet.
            TransientError: the registry is away.
        """
        champion = self.stage.of(model)
        if champion is not None:
            crowned = champion.crowned
            name = crowned.version.number, crowned.revision.number
            if number is None or (number, revision) == name:
                return Sealed(version=crowned.version, revision=crowned.revision)
        if number is None:
            message = f"{model} has no champion yet"
            raise NotExportable(message)
        return self.registry.sealed(model, number, revision)

    def pack(self, spec: ModelSpec, sealed: Sealed, form: Form) -> bytes:
        """Pack a revision as a zip of its files, card and program.

        Raises:
            NotExportable: not in that form, or its artifacts are no longer kept.
            Interrupted: the daemon stops.
            TransientError: the registry is away.
        """
        with self._folder(spec.name) as folder:
            self._lay_out(sealed, folder)
            manifest = Manifest(
                task=spec.task,
                target=spec.target,
                version=sealed.version,
                revision=sealed.revision,
                models=(None,) * len(sealed.revision.artifacts),
                release=self.release,
                python=platform.python_version(),
            )
            request = BundleRequest(manifest=manifest, folder=folder, form=form)
            return self._run(spec, pack, request, NotExportable)

    def bring(self, spec: ModelSpec, data: bytes) -> Foreign:
        """Check a skops file and keep it as an artifact that waits to be a version.

        Raises:
            NotImportable: it cannot serve here; says why.
            Interrupted: the daemon stops.
        """
        log = self._log(spec)
        if log.schema is None:
            message = f"{spec.name} has no rows yet to try a model on: send some first"
            raise NotImportable(message)
        window = log.window(as_of=log.counts().last_seq, newest=CHECKED_ROWS)
        with self._folder(spec.name) as folder:
            file = folder / "foreign.skops"
            file.write_bytes(data)
            with WindowFile.write(window, folder / "rows.arrow") as rows:
                request = ForeignRequest(
                    file=file, window=rows, task=spec.task, folder=self.bench.brought(spec.name)
                )
                return self._run(spec, take, request, NotImportable)

    def reproduce(self, spec: ModelSpec, sealed: Sealed) -> Reproduced:
        """Fit a revision's members once more and compare them with what they were.

        Raises:
            Interrupted: the daemon stops.
            TransientError: the registry is away.
        """
        siblings = self.registry.revisions(spec.name, sealed.version.number)
        with self._folder(spec.name) as folder:
            self._lay_out(sealed, folder, is_lenient=True)
            return members_again(
                spec, sealed, siblings, log=self._log(spec), bench=self.bench, folder=folder
            )

    def _lay_out(self, sealed: Sealed, folder: Path, *, is_lenient: bool = False) -> None:
        """Write a revision's artifacts into a folder, by their digests, which are verified."""
        model = sealed.version.model
        try:
            known = self.stage.artifacts(model)
        except PermanentError:
            # Another champion has just taken its place there; the registry has both.
            known = {}
        for name in sorted(set(sealed.revision.artifacts) - {""}):
            try:
                data = known.get(name) or self.registry.artifact(model, name)
            except PermanentError as error:
                if is_lenient:
                    continue
                message = (
                    f"the artifacts of {model} {sealed.revision.name} are no longer kept "
                    f"({error}). Kept are those of the champion, and of pinned and the newest "
                    "versions (RETUNED_REGISTRY__KEEP_VERSIONS)"
                )
                raise NotExportable(message) from error
            if hashlib.sha256(data).hexdigest() != name:
                message = f"artifact {name[:12]} of {model} was changed on disk"
                raise NotExportable(message)
            (folder / name).write_bytes(data)

    def _run(
        self,
        spec: ModelSpec,
        function: Callable[[Asked], T | Refused],
        request: Asked,
        failure: type[PermanentError],
    ) -> T:
        """What a child process makes of a request, or why it makes nothing of it."""
        call = Call(
            function=function,
            request=request,
            limits=_LIMITS,
            priority=Priority.REPORT,
            group=f"{spec.name}/exchange",
        )
        (outcome,) = self.bench.all_of([call])
        if outcome.error:
            message = f"{spec.name}: a child process failed with it: {outcome.error}"
            raise failure(message)
        if isinstance(outcome.value, Refused):
            raise failure(outcome.value.why)
        found: T = outcome.value
        return found

    @contextmanager
    def _folder(self, model: str) -> Iterator[Path]:
        """A folder that is gone afterwards; what a killed daemon left is removed at its start."""
        folder = self.bench.directory / "exchange" / f"{model}-{uuid.uuid4().hex}"
        folder.mkdir(parents=True, mode=0o700)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _log(self, spec: ModelSpec) -> RowLog:
        return self.rows.of(spec.name, spec.task)
