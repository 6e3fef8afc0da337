"""What child processes do when a model leaves, comes in, or is fitted once more."""

from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from retuned.runtime.durable import write_durably
from retuned.runtime.libraries import libraries
from retuned_pipelines.fitting import fit, learned
from retuned_pipelines.handout.bundle import bundle
from retuned_pipelines.handout.foreign import taken
from retuned_pipelines.handout.manifest import Form, Manifest, NoSuchForm
from retuned_pipelines.models import artifact
from retuned_pipelines.provenance import answers, answers_digest, as_then, rows_digest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from retuned.tune.data import WindowFile
    from retuned_pipelines.fitting import FittedModel
    from retuned_pipelines.provenance import Provenance
    from retuned_pipelines.recipe import Recipe
    from retuned_pipelines.schema import Task
    from retuned_pipelines.window import Window

_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Refused:
    """What was asked for cannot be, and why."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleRequest:
    """Pack a revision; its models are None, and loaded from the folder by their digests."""

    manifest: Manifest
    folder: Path
    form: Form


def pack(request: BundleRequest) -> bytes | Refused:
    """Load a revision's members and pack them as a zip."""
    models = tuple(
        artifact.load((request.folder / name).read_bytes()) if name else None
        for name in request.manifest.revision.artifacts
    )
    try:
        files = bundle(replace(request.manifest, models=models), request.form)
    except NoSuchForm as error:
        return Refused(str(error))
    return _zipped(files)


def _zipped(files: Mapping[str, bytes]) -> bytes:
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(entry, data)
    return output.getvalue()


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignRequest:
    """Check a model from elsewhere on the newest rows, and keep it in a folder."""

    file: Path
    window: WindowFile
    task: Task
    folder: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreign:
    """A model from elsewhere that can serve.

    Attributes:
        recipe: names it.
        sha256: its artifact's digest.
        schema_digest: that of the features that it wants.
        rows: how many it has answered.
        libraries: name and version of those that loaded it.
    """

    recipe: Recipe
    sha256: str
    schema_digest: str
    rows: int
    libraries: tuple[tuple[str, str], ...]


def take(request: ForeignRequest) -> Foreign | Refused:
    """Load a foreign model, let it predict, and write it as an artifact under its digest."""
    window = request.window.read()
    try:
        model = taken(request.file.read_bytes(), window, request.task)
        data = artifact.dump(model)
        # Once more by the way that it will be asked, out of the bytes that will be kept.
        _check(artifact.load(data), window)
    except ValueError as error:
        return Refused(f"the model cannot be imported: {error}")
    digest = hashlib.sha256(data).hexdigest()
    write_durably(request.folder / digest, data)
    return Foreign(
        recipe=model.recipe,
        sha256=digest,
        schema_digest=model.layout.schema.digest,
        rows=len(window),
        libraries=libraries(),
    )


def _check(model: FittedModel, window: Window) -> None:
    try:
        found = model.predict(model.layout.encode(window.features))
    except Exception as error:
        # Whatever code of others raises on rows of ours.
        message = f"it fails on the newest {len(window)} rows: {type(error).__name__}: {error}"
        raise ValueError(message) from error
    shape = (len(window), len(model.classes)) if model.classes else (len(window),)
    if found.shape != shape or not np.isfinite(found).all():
        message = f"it does not give a finite answer for each of the newest {len(window)} rows"
        raise ValueError(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgainRequest:
    """Fit a member once more; the artifact to compare with, None where it is no longer kept."""

    window: WindowFile
    recipe: Recipe
    task: Task
    provenance: Provenance
    threads: int
    stored: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """How a member that was fitted once more compares with what it was.

    Attributes:
        rows: labelled rows found.
        are_rows_the_same: whether they are those that it learned from, with their labels.
        are_features_the_same: whether the features can be read as they were.
        is_identical: whether it answers alike, to the last bit.
        difference: largest difference of two answers; None where there is nothing to compare.
    """

    rows: int
    are_rows_the_same: bool
    are_features_the_same: bool = True
    is_identical: bool = False
    difference: float | None = None


def fit_again(request: AgainRequest) -> Again:
    """Fit a member from its recipe and provenance, and compare the answers."""
    past = request.provenance
    window = request.window.read().labelled()
    rows = learned(request.recipe.past, window, past.changed_seq)[0] if len(window) else window
    if rows_digest(rows) != past.learned:
        return Again(rows=len(rows), are_rows_the_same=False)
    then = as_then(window, past.schema)
    if then is None:
        return Again(rows=len(rows), are_rows_the_same=True, are_features_the_same=False)
    model = fit(
        request.recipe,
        then,
        request.task,
        seed=past.seed,
        threads=request.threads,
        changed_seq=past.changed_seq,
    )
    return Again(
        rows=len(rows),
        are_rows_the_same=True,
        is_identical=answers_digest(model, rows) == past.answers,
        difference=_difference(request.stored, model, rows),
    )


def _difference(stored: Path | None, model: FittedModel, rows: Window) -> float | None:
    if stored is None:
        return None
    one, other = (answers(m, rows) for m in (artifact.load(stored.read_bytes()), model))
    return float(np.abs(one - other).max()) if one.shape == other.shape else None
