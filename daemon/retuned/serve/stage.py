"""The stage: which champion answers for which model."""

from __future__ import annotations

import hashlib
import threading
from contextlib import suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import orjson

from retuned.errors import PermanentError, TransientError
from retuned.registry.pointer import CHAMPION, Crowned, canonical, pointer_text
from retuned.registry.signing import Forged
from retuned.runtime.durable import sync_names, write_durably
from retuned.runtime.libraries import libraries
from retuned.serve.champion import Champion, Models
from retuned_pipelines.models import artifact
from retuned_pipelines.version import Revision, Shadow, Version

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

    from retuned.registry.signing import SigningKey
    from retuned_pipelines.fitting import FittedModel

    Prove = Callable[[str, Mapping[str, bytes]], None]
    """Takes a model's name and artifacts by SHA-256; raises PermanentError for one that is bad."""

_MANIFEST = "manifest.json"


class Stage:
    """The champions that serve. May be used from any thread.

    A champion is on disk before it answers, so that it is there after a crash and while the
    registry is away. What is on disk is signed as what is in the registry.
    """

    def __init__(self, directory: Path, key: SigningKey, prove: Prove | None = None) -> None:
        """Keep champions in that folder, one folder a model.

        Args:
            directory: the folder.
            key: signs and verifies.
            prove: loads artifacts where nothing is lost if that ends the process; None to do
                without.
        """
        self._directory = directory
        self._key = key
        self._prove = prove
        self._champions: Mapping[str, Champion] = MappingProxyType({})
        self._shadows: dict[str, Champion] = {}
        self._lock = threading.Lock()

    def of(self, model: str) -> Champion | None:
        """The champion that answers; None before there is one."""
        return self._champions.get(model)

    def crown(
        self,
        crowned: Crowned,
        artifacts: Mapping[str, bytes],
        *,
        proven: Collection[str] = (),
    ) -> Champion:
        """Let a champion answer from now on; requests under way end with the one before.

        Args:
            crowned: version, revision, epoch.
            artifacts: the fitted members by SHA-256.
            proven: digests of those that a child of this daemon has loaded already.

        Raises:
            Forged: an artifact is not what its digest says.
            PermanentError: an artifact cannot be loaded.
            TransientError: the disk is full.
        """
        model = crowned.version.model
        serving = self.of(model)
        known = {*proven, *(() if serving is None else serving.crowned.revision.artifacts)}
        self._prove_unknown(model, crowned, artifacts, known)
        champion = _loaded(crowned, artifacts, serving)
        with self._lock:
            try:
                self._write(crowned, artifacts)
            except OSError as error:
                message = f"the champion cannot be kept in {self._directory}: {error}"
                raise TransientError(message, retry_after=10.0) from error
            self._put(crowned.version.model, champion)
        return champion

    def beside(
        self,
        shadow: Shadow,
        fetch: Callable[[str], bytes],
        *,
        proven: Collection[str] = (),
    ) -> Champion:
        """Load who stands in shadow; it shares the members of who serves, and answers nobody.

        Args:
            shadow: who.
            fetch: an artifact by SHA-256.
            proven: as for `crown`.

        Raises:
            Forged: an artifact is not what its digest says.
            RetunedError: one cannot be had, or not be loaded.
        """
        champion = self.aside(shadow, fetch, proven=proven)
        self._shadows[shadow.version.model] = champion
        return champion

    def aside(
        self,
        shadow: Shadow,
        fetch: Callable[[str], bytes],
        *,
        proven: Collection[str] = (),
    ) -> Champion:
        """Load a version for whoever asks, as `beside`; nobody remembers it afterwards."""
        model = shadow.version.model
        known = [one for one in (self.of(model), self._shadows.get(model)) if one is not None]
        crowned = Crowned(version=shadow.version, revision=shadow.revision, epoch=0)
        loaded = {name: one for champion in known for name, one in champion.loaded.items()}
        artifacts = {name: fetch(name) for name in _artifact_names(crowned) - {*loaded}}
        self._prove_unknown(model, crowned, artifacts, {*proven, *loaded})
        return Champion.of(crowned, _members(crowned, artifacts, loaded))

    def alone(self, model: str) -> None:
        """Let go of who stands in shadow."""
        self._shadows.pop(model, None)

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
                predecessor=kept["predecessor"],
            )
            sealed = _sealed(kept)
            self._key.unsealed(CHAMPION, sealed)
            is_known = kept["loaded_with"] == dict(libraries())
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
        # Other libraries than those that loaded it last may stumble over it.
        self._prove_unknown(model, crowned, artifacts, names if is_known else ())
        champion = _loaded(crowned, artifacts, None)
        with self._lock:
            if not (is_known and self._key.is_newest(sealed)):
                with suppress(OSError):  # it can be done at the next start
                    self._write(crowned, artifacts)
            self._put(model, champion)
        return champion

    def artifacts(self, model: str) -> dict[str, bytes]:
        """The artifacts of the champion that serves, as they are kept on disk; {} for none.

        Raises:
            PermanentError: one cannot be read.
        """
        champion = self.of(model)
        names = set() if champion is None else _artifact_names(champion.crowned)
        return {name: self._read(model, name) for name in names}

    def artifact(self, model: str, name: str) -> bytes | None:
        """An artifact of the champion that serves, as `artifacts`; None if it has no such."""
        champion = self.of(model)
        has_it = champion is not None and name in champion.loaded
        return self._read(model, name) if has_it else None

    def _read(self, model: str, name: str) -> bytes:
        try:
            return (self._directory / model / name).read_bytes()
        except OSError as error:
            message = f"an artifact of the champion of {model} cannot be read: {error}"
            raise PermanentError(message) from error

    def _prove_unknown(
        self,
        model: str,
        crowned: Crowned,
        artifacts: Mapping[str, bytes],
        known: Collection[str],
    ) -> None:
        """Have artifacts that nobody has loaded here loaded elsewhere, after their digests."""
        unknown = {name: artifacts[name] for name in _artifact_names(crowned) - {*known}}
        for name, data in unknown.items():
            _check_digest(model, name, data)
        if unknown and self._prove is not None:
            self._prove(model, unknown)

    def _put(self, model: str, champion: Champion) -> None:
        self._champions = MappingProxyType({**self._champions, model: champion})

    def _write(self, crowned: Crowned, artifacts: Mapping[str, bytes]) -> None:
        folder = self._directory / crowned.version.model
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        names = _artifact_names(crowned)
        for name in names:
            # Named by its content, and whole since it has that name.
            if not (folder / name).exists():
                write_durably(folder / name, artifacts[name])
        manifest = {
            "version": crowned.version.to_json(),
            "revision": crowned.revision.to_json(),
            "epoch": crowned.epoch,
            "predecessor": crowned.predecessor,
            "signature": _signature(self._key.seal(CHAMPION, pointer_text(crowned))),
            "loaded_with": dict(libraries()),
        }
        # The names of the artifacts are on the disk before a manifest that lists them.
        sync_names(folder)
        write_durably(folder / _MANIFEST, orjson.dumps(manifest))
        sync_names(folder)
        for path in folder.iterdir():
            if path.name not in names | {_MANIFEST}:
                path.unlink(missing_ok=True)


def _signature(sealed: bytes) -> str:
    return sealed.partition(b"\n")[0].decode()


def _sealed(kept: dict[str, Any]) -> bytes:
    """The pointer as it was signed: what stands there may be an older release's."""
    text = {name: kept[name] for name in ("epoch", "predecessor", "version", "revision")}
    text["model"] = kept["version"]["model"]
    return str.encode(kept["signature"]) + b"\n" + canonical(text)


def _artifact_names(crowned: Crowned) -> set[str]:
    """The artifacts of a revision; retired members have none."""
    return set(crowned.revision.artifacts) - {""}


def _loaded(crowned: Crowned, artifacts: Mapping[str, bytes], serving: Champion | None) -> Champion:
    """Load what does not serve already, and remember what each member was before."""
    elder: Models = ()
    if serving is not None and serving.crowned.version.number == crowned.version.number:
        pairs = zip(
            serving.crowned.revision.artifacts,
            crowned.revision.artifacts,
            serving.models,
            strict=True,
        )
        elder = tuple(model if new and old != new else None for old, new, model in pairs)
    known = {} if serving is None else serving.loaded
    return Champion.of(crowned, _members(crowned, artifacts, known), elder)


def _members(
    crowned: Crowned, artifacts: Mapping[str, bytes], known: Mapping[str, FittedModel]
) -> Models:
    """The members of a revision; who is loaded already is not loaded again."""
    return tuple(
        known.get(name) or (_load(crowned, name, artifacts) if name else None)
        for name in crowned.revision.artifacts
    )


def _load(crowned: Crowned, name: str, artifacts: Mapping[str, bytes]) -> FittedModel:
    _check_digest(crowned.version.model, name, artifacts[name])
    try:
        return artifact.load(artifacts[name])
    except ValueError as error:
        message = f"the champion of {crowned.version.model} cannot be loaded: {error}"
        raise PermanentError(message) from error


def _check_digest(model: str, name: str, data: bytes) -> None:
    if hashlib.sha256(data).hexdigest() != name:
        message = f"artifact {name[:12]} of {model} was changed"
        raise Forged(message)
