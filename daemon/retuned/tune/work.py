"""What child processes do: pure computing on a window in a file."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from retuned.runtime.durable import write_durably
from retuned_pipelines.fitting import aligned, fit, learned
from retuned_pipelines.models import artifact
from retuned_pipelines.provenance import Provenance, answers_digest, rows_digest, schema_digest
from retuned_pipelines.validation import validate

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from retuned.tune.data import WindowFile
    from retuned_pipelines.fitting import FittedModel
    from retuned_pipelines.recipe import Recipe
    from retuned_pipelines.schema import Task
    from retuned_pipelines.validation import Terms, Validation
    from retuned_pipelines.window import Window

_TIMED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRequest:
    """Validate a recipe on time-ordered folds."""

    window: WindowFile
    recipe: Recipe
    terms: Terms


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BlockRequest:
    """Fit a recipe on some rows of a window, unless its artifact is given, and predict others."""

    window: WindowFile
    recipe: Recipe
    task: Task
    classes: tuple[str, ...]
    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    seed: int
    threads: int
    changed_seq: int = 0
    fitted: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class FitRequest:
    """Fit recipes on everything known, and keep the models in a folder by their digests."""

    window: WindowFile
    recipes: tuple[Recipe, ...]
    task: Task
    folder: Path
    seed: int
    threads: int
    changed_seq: int
    is_timed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FitResult:
    """A fitted model's file name, which is its SHA-256, and what it learned from.

    Attributes:
        sha256: of the artifact.
        rows: labelled rows learned from.
        first_seq: smallest sequence number among those.
        last_seq: largest sequence number among those.
        first_time: the oldest time among those, microseconds since the epoch.
        last_time: the newest time among those.
        predict_ms: milliseconds to predict one row; 0 where nobody asked.
        provenance: from what it was fitted.
    """

    sha256: str
    rows: int
    first_seq: int
    last_seq: int
    first_time: int
    last_time: int
    predict_ms: float
    provenance: Provenance


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRequest:
    """Render the comparison of two windows for people."""

    reference: WindowFile
    current: WindowFile
    output: Path


def run_trial(request: TrialRequest) -> Validation:
    """Fit and score a recipe on each fold.

    Raises:
        ValueError: there are too few rows for a fold, or the metric has no value on any.
    """
    return validate(request.recipe, request.window.read(), request.terms, time.perf_counter)


def predict_block(request: BlockRequest) -> NDArray[np.float64]:
    """Predict some rows by a model that learned from others; see `FittedModel.predict`."""
    window = request.window.read()
    if request.fitted:
        model = artifact.load(request.fitted)
    else:
        model = fit(
            request.recipe,
            window.take(request.train),
            request.task,
            seed=request.seed,
            threads=request.threads,
            changed_seq=request.changed_seq,
        )
    rows = window.take(request.validation)
    output = model.predict(model.layout.encode(rows.features))
    return aligned(output, model.classes, request.classes) if request.classes else output


def fit_artifacts(request: FitRequest) -> tuple[FitResult, ...]:
    """Fit recipes on everything known and write the models into the folder.

    Each is loaded once from its bytes, here, where nothing but this process can be lost: LightGBM
    may abort.

    Raises:
        ValueError: one cannot be loaded.
    """
    window = request.window.read().labelled()
    return tuple(_fit_artifact(request, recipe, window) for recipe in request.recipes)


def _fit_artifact(request: FitRequest, recipe: Recipe, window: Window) -> FitResult:
    model = fit(
        recipe,
        window,
        request.task,
        seed=request.seed,
        threads=request.threads,
        changed_seq=request.changed_seq,
    )
    data = artifact.dump(model)
    loaded = artifact.load(data)
    digest = hashlib.sha256(data).hexdigest()
    write_durably(request.folder / digest, data)
    rows, _ = learned(recipe.past, window, request.changed_seq)
    return FitResult(
        sha256=digest,
        rows=len(rows),
        first_seq=int(rows.seq.min()),
        last_seq=int(rows.seq.max()),
        first_time=int(rows.time.min()),
        last_time=int(rows.time.max()),
        predict_ms=_predict_ms(loaded, rows) if request.is_timed else 0.0,
        provenance=_provenance(request, loaded, rows),
    )


def _provenance(request: FitRequest, model: FittedModel, rows: Window) -> Provenance:
    return Provenance(
        as_of=rows.as_of,
        changed_seq=request.changed_seq,
        seed=request.seed,
        rows=len(rows),
        first_seq=int(rows.seq.min()),
        last_seq=int(rows.seq.max()),
        learned=rows_digest(rows),
        schema=schema_digest(rows.schema),
        answers=answers_digest(model, rows),
    )


def _predict_ms(model: FittedModel, rows: Window) -> float:
    """Milliseconds to predict one row: the fastest of some attempts, which noise only slows."""
    matrix = model.layout.encode(rows.newest(1).features)
    seconds = []
    for _ in range(_TIMED):
        begun = time.perf_counter()
        model.predict(matrix)
        seconds.append(time.perf_counter() - begun)
    return 1000 * min(seconds)


def load_artifacts(artifacts: tuple[bytes, ...]) -> None:
    """Load artifacts once, here, where nothing but this process can be lost.

    Raises:
        ValueError: one cannot be loaded.
    """
    for data in artifacts:
        artifact.load(data)


def warm_up(_request: None) -> None:
    """Do nothing: what it takes is importing this module."""


def render_report(request: ReportRequest) -> None:
    """Render Evidently's data drift report as one HTML page."""
    from retuned.tune.evidently_page import page  # noqa: PLC0415 (six seconds and 260 MB)

    html = page(request.reference.read(), request.current.read())
    write_durably(request.output, html.encode())
