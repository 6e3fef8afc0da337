"""The stage: which champion answers for which model."""

from __future__ import annotations

import hashlib
import os
import threading
from types import MappingProxyType
from typing import TYPE_CHECKING

import orjson

from retuned.errors import PermanentError, TransientError
from retuned.registry.signing import Forged
from retuned.registry.versions import Crowned, signed_text
from retuned.serve.champion import Champion
from retuned_pipelines.models import artifact
from retuned_pipelines.version import Revision, Version

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from retuned.registry.signing import SigningKey
    from retuned_pipelines.fitting import FittedModel

_MANIFEST = "manifest.json"


class Stage:
    """The champions that serve. May be used from any thread.

    A champion is on disk before it answers, so that it is there after a crash and while the
    registry is away. What is on disk is signed as what is in the registry.
    """

    def __init__(self, directory: Path, key: SigningKey) -> None:
        """Keep champions in that folder, one folder a model."""
        self._directory = directory
        self._key = key
        self._champions: Mapping[str, Champion] = MappingProxyType({})
        self._lock = threading.Lock()

    def of(self, model: str) -> Champion | None:
        """The champion that answers; None before there is one."""
        return self._champions.get(model)

    def crown(self, crowned: Crowned, artifacts: Mapping[str, bytes]) -> Champion:
        """Let a champion answer from now on; requests under way end with the one before.

        Args:
            crowned: version, revision, epoch.
            artifacts: the fitted members by SHA-256.

        Raises:
            Forged: an artifact is not what its digest says.
            PermanentError: an artifact cannot be loaded.
            TransientError: the disk is full.
        """
        champion = _loaded(crowned, artifacts, self.of(crowned.version.model))
        with self._lock:
            try:
                self._write(crowned, artifacts)
            except OSError as error:
                message = f"the champion cannot be kept in {self._directory}: {error}"
                raise TransientError(message, retry_after=10.0) from error
            self._put(crowned.version.model, champion)
        return champion

    def restore(self, model: str) -> Champion | None:
        """Let the champion answer that was kept on disk; None if there is none.

        Raises:
            Forged: it was changed, or is that of another model.
            PermanentError: it is damaged.
        """
        folder = self._directory / model
        if not (folder / _MANIFEST).exists():
            return None
        try:
            kept = orjson.loads((folder / _MANIFEST).read_bytes())
            crowned = Crowned(
                version=Version.from_json(kept["version"]),
                revision=Revision.from_json(kept["revision"]),
                epoch=kept["epoch"],
            )
            self._key.verify(signed_text(crowned.version, crowned.revision), kept["signature"])
            names = _artifact_names(crowned)
            artifacts = {name: (folder / name).read_bytes() for name in names}
        except (OSError, AttributeError, KeyError, TypeError, ValueError) as error:
            message = (
                f"the champion of {model} in {folder} is damaged ({error}): remove that folder, "
                "the registry has the champion too"
            )
            raise PermanentError(message) from error
        if crowned.version.model != model:
            message = f"the champion in {folder} is one of {crowned.version.model}"
            raise Forged(message)
        champion = _loaded(crowned, artifacts, None)
        with self._lock:
            self._put(model, champion)
        return champion

    def artifacts(self, model: str) -> dict[str, bytes]:
        """The artifacts of the champion that serves, as they are kept on disk; {} for none.

        Raises:
            PermanentError: one cannot be read.
        """
        champion = self.of(model)
        names = set() if champion is None else _artifact_names(champion.crowned)
        try:
            return {name: (self._directory / model / name).read_bytes() for name in names}
        except OSError as error:
            message = f"an artifact of the champion of {model} cannot be read: {error}"
            raise PermanentError(message) from error

    def _put(self, model: str, champion: Champion) -> None:
        self._champions = MappingProxyType({**self._champions, model: champion})

    def _write(self, crowned: Crowned, artifacts: Mapping[str, bytes]) -> None:
        folder = self._directory / crowned.version.model
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        names = _artifact_names(crowned)
        for name in names:
            # Named by its content, and whole since it has that name.
            if not (folder / name).exists():
                _write_durably(folder / name, artifacts[name])
        manifest = {
            "version": crowned.version.to_json(),
            "revision": crowned.revision.to_json(),
            "epoch": crowned.epoch,
            "signature": self._key.sign(signed_text(crowned.version, crowned.revision)),
        }
        # The names of the artifacts are on the disk before a manifest that lists them.
        _sync_names(folder)
        _write_durably(folder / _MANIFEST, orjson.dumps(manifest))
        _sync_names(folder)
        for path in folder.iterdir():
            if path.name not in names | {_MANIFEST}:
                path.unlink(missing_ok=True)


def _artifact_names(crowned: Crowned) -> set[str]:
    """The artifacts of a revision; retired members have none."""
    return set(crowned.revision.artifacts) - {""}


def _loaded(crowned: Crowned, artifacts: Mapping[str, bytes], serving: Champion | None) -> Champion:
    """Load what does not serve already, and remember what each member was before."""
    before: dict[str, FittedModel | None] = {}
    elder: tuple[FittedModel | None, ...] = ()
    if serving is not None:
        before = dict(zip(serving.crowned.revision.artifacts, serving.models, strict=True))
        if serving.crowned.version.number == crowned.version.number:
            pairs = zip(
                serving.crowned.revision.artifacts,
                crowned.revision.artifacts,
                serving.models,
                strict=True,
            )
            elder = tuple(model if new and old != new else None for old, new, model in pairs)
    models = tuple(
        before.get(name) or (_load(crowned, name, artifacts) if name else None)
        for name in crowned.revision.artifacts
    )
    return Champion.of(crowned, models, elder)


def _load(crowned: Crowned, name: str, artifacts: Mapping[str, bytes]) -> FittedModel:
    if hashlib.sha256(artifacts[name]).hexdigest() != name:
        message = f"artifact {name[:12]} of {crowned.version.model} was changed"
        raise Forged(message)
    try:
        return artifact.load(artifacts[name])
    except ValueError as error:
        message = f"the champion of {crowned.version.model} cannot be loaded: {error}"
        raise PermanentError(message) from error


def _write_durably(path: Path, data: bytes) -> None:
    draft = path.with_name(f"{path.name}.tmp")
    with draft.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def _sync_names(folder: Path) -> None:
    """Make the names in a folder survive a crash of the machine."""
    names = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(names)
    finally:
        os.close(names)
