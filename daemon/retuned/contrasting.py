"""Two versions side by side, as far as rows and artifacts of both are there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from retuned.errors import PermanentError
from retuned_pipelines.contrast.recipes import RecipeDiff, recipe_diff
from retuned_pipelines.contrast.scores import MIN_ROWS, ROWS, Scores, impossible, scores, too_few
from retuned_pipelines.contrast.training import TrainingDrift, training_drift
from retuned_pipelines.fitting import aligned, encoded_target
from retuned_pipelines.version import Shadow
from retuned_pipelines.window import evenly

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from retuned.registry.shelf import Sealed
    from retuned.registry.versions import Registry
    from retuned.rows.log import RowLog
    from retuned.serve.champion import Champion
    from retuned.serve.stage import Stage
    from retuned_pipelines.spec import ModelSpec
    from retuned_pipelines.version import Revision
    from retuned_pipelines.window import Window

LOOKED_BACK = 20_000
"""Labelled rows among which one looks for those that had a label before; older ones are taken for
such."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """How two versions differ.

    Attributes:
        recipes: what they are made of.
        scores: how they do on the same rows.
        drift: how their training data differ.
    """

    recipes: RecipeDiff
    scores: Scores
    drift: TrainingDrift

    def to_json(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "recipes": self.recipes.to_json(),
            "scores": self.scores.to_json(),
            "drift": self.drift.to_json(),
        }


def contrast(  # noqa: PLR0913, PLR0917 (what is compared, and where it is)
    spec: ModelSpec, log: RowLog, registry: Registry, stage: Stage, left: Sealed, right: Sealed
) -> Contrast:
    """Compare two versions, each in one revision.

    Args:
        spec: task, metric and policies.
        log: the model's rows.
        registry: has artifacts.
        stage: has those that serve, and loads the others.
        left: the one.
        right: the other.

    Raises:
        RetunedError: rows or registry cannot be read now.
    """
    revisions, most = (left.revision, right.revision), spec.watch.reference_rows
    # Of millions of rows each of these takes seconds; those refitted together share it.
    learned = {span: _learned(log, span, most) for span in dict.fromkeys(map(_span, revisions))}
    windows = learned[_span(left.revision)], learned[_span(right.revision)]
    return Contrast(
        recipes=recipe_diff((left.version, left.revision), (right.version, right.revision)),
        scores=_scores(spec, log, registry, stage, left, right),
        drift=training_drift(spec.watch, revisions, windows),
    )


def _scores(  # noqa: PLR0913, PLR0917 (as above)
    spec: ModelSpec, log: RowLog, registry: Registry, stage: Stage, left: Sealed, right: Sealed
) -> Scores:
    rows = _unseen(log, max(left.revision.fitted_as_of, right.revision.fitted_as_of))
    if len(rows) < MIN_ROWS:
        return too_few(spec, len(rows))
    try:
        one, other = (_loaded(registry, stage, side) for side in (left, right))
    except PermanentError as error:
        reason = (
            f"They cannot be scored: {error}. Artifacts are kept of the newest versions and of "
            "pinned ones: pin versions you may want to compare."
        )
        return impossible(spec, reason)
    classes = tuple(dict.fromkeys((*other.classes, *one.classes)))
    return scores(
        spec,
        target=encoded_target(rows, classes),
        left=_outputs(one, rows, classes),
        right=_outputs(other, rows, classes),
        classes=classes,
        seq=rows.seq,
        names=(left.revision.name, right.revision.name),
        rng=np.random.default_rng(spec.search.seed),
    )


def _unseen(log: RowLog, after: int) -> Window:
    """Rows whose first label came after a sequence number; of many a part."""
    came = log.matured(after, log.counts().last_seq, most=ROWS)
    if came is None:
        return log.window(newest=0)
    is_older = came.seq <= after
    if is_older.any():
        # A row whose label was corrected since was learned from with the label of before.
        first = int(came.seq[is_older].min())
        known = log.window(as_of=after, first_seq=first, newest=LOOKED_BACK, labelled=True)
        is_known = np.isin(came.seq, known.seq)
        if len(known) == LOOKED_BACK:
            is_known |= is_older & (came.time <= known.time.min())
        came = came.take(np.flatnonzero(~is_known))
    return came.take(evenly(len(came), ROWS))


def _span(revision: Revision) -> tuple[int, int, int]:
    """First and last row that a revision learned from, and the newest label."""
    return revision.first_seq, revision.last_seq, revision.fitted_as_of


def _learned(log: RowLog, span: tuple[int, int, int], most: int) -> Window:
    """Rows of a span that are there still, evenly spaced; none of an import's, which has none."""
    first, last, as_of = span
    known = log.matured(first - 1, as_of, most=most) if last else None
    if known is None:
        return log.window(newest=0)
    known = known.take(np.flatnonzero((known.seq >= first) & (known.seq <= last)))
    return known.take(evenly(len(known), most))


def _loaded(registry: Registry, stage: Stage, side: Sealed) -> Champion:
    model = side.version.model
    serving = stage.of(model)
    if serving is not None and serving.crowned.revision.name == side.revision.name:
        return serving
    found = Shadow(version=side.version, revision=side.revision)
    return stage.aside(found, lambda name: registry.artifact(model, name))


def _outputs(champion: Champion, rows: Window, classes: tuple[str, ...]) -> NDArray[np.float64]:
    output = champion.outputs(rows.features)
    return aligned(output, champion.classes, classes) if classes else output
