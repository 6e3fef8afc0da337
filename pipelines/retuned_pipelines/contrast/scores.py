"""How two versions do on the same rows, which neither has learned from."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from retuned_pipelines.evaluate.checks import confidence_in_words
from retuned_pipelines.evaluate.compare import compare
from retuned_pipelines.schema import Task

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from retuned_pipelines.evaluate.compare import Comparison
    from retuned_pipelines.spec import ModelSpec

ROWS = 2000
"""Rows that are compared at the most; of more, as many, evenly spaced in time."""

MIN_ROWS = 50
"""Fewer rows than this say nothing about who is better."""

USUAL = {
    Task.REGRESSION: ("neg_mean_absolute_error", "neg_root_mean_squared_error", "r2"),
    Task.BINARY: ("neg_log_loss", "accuracy", "roc_auc", "average_precision"),
    Task.MULTICLASS: ("neg_log_loss", "accuracy", "f1_macro"),
}
"""Metrics that are looked at beside the model's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """Both by one metric.

    Attributes:
        metric: scikit-learn scorer name; higher is better.
        left: score of the one; None where there is none on these rows.
        right: score of the other.
        gain: share of the left one's loss that the right one does not have (0.1 is ten per cent).
        lower: lower bound of that; None where there is none.
        upper: upper bound of that.
    """

    metric: str
    left: float | None
    right: float | None
    gain: float | None
    lower: float | None
    upper: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """How both do.

    Attributes:
        rows: labelled rows that neither had learned from, and on which they were compared.
        first_seq: smallest sequence number among those; 0 without rows.
        last_seq: the largest.
        confidence: one-sided confidence of each bound.
        metrics: the model's own first; () where nothing was compared.
        told: what it means, in a sentence or two.
    """

    rows: int
    first_seq: int
    last_seq: int
    confidence: float
    metrics: tuple[Scored, ...]
    told: str

    def to_json(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)


def too_few(spec: ModelSpec, rows: int) -> Scores:
    """Say that there are too few rows."""
    told = (
        f"{_labels(rows)} came that neither version had learned from, and {MIN_ROWS} are the least "
        "that says anything: compare again when more have come. A champion learns from new labels "
        "with each refit, so that there are never more than came since the last one."
    )
    return _untold(spec, rows, told)


def impossible(spec: ModelSpec, reason: str) -> Scores:
    """Say why they cannot be compared."""
    return _untold(spec, 0, reason)


def scores(  # noqa: PLR0913 (what is compared, on what, by what luck)
    spec: ModelSpec,
    *,
    target: NDArray[Any],
    left: NDArray[np.float64],
    right: NDArray[np.float64],
    classes: tuple[str, ...],
    seq: NDArray[np.int64],
    names: tuple[str, str],
    rng: np.random.Generator,
) -> Scores:
    """Compare what both answer to the same rows, in time order, at least `MIN_ROWS`.

    As the gate does it (`evaluate.compare`): a paired block bootstrap; for metrics that rank rows,
    the means over as many parts as the gate has blocks.

    Args:
        spec: task, metric and the gate's policy.
        target: truth (n); see `evaluate.metrics`.
        left: outputs of the one.
        right: outputs of the other.
        classes: what codes and columns stand for.
        seq: sequence numbers of the rows (n).
        names: of both, such as ``1.4``.
        rng: source of the resamples.
    """
    blocks = np.array_split(np.arange(len(target)), spec.gate.blocks)
    metrics = dict.fromkeys((spec.metric, *USUAL[spec.task]))
    found = {
        metric: compare(
            metric,
            spec.task,
            target=target,
            challenger=right,
            rival=left,
            classes=classes,
            lengths=[len(block) for block in blocks],
            confidence=spec.gate.confidence,
            rng=rng,
        )
        for metric in metrics
    }
    return Scores(
        rows=len(target),
        first_seq=int(seq.min()),
        last_seq=int(seq.max()),
        confidence=spec.gate.confidence,
        metrics=tuple(_scored(metric, one) for metric, one in found.items()),
        told=_in_words(spec, found[spec.metric], len(target), names),
    )


def _scored(metric: str, found: Comparison) -> Scored:
    return Scored(
        metric=metric,
        left=_finite(found.rival_score),
        right=_finite(found.challenger_score),
        gain=_finite(found.gain),
        lower=_finite(found.lower),
        upper=_finite(found.upper),
    )


def _in_words(spec: ModelSpec, found: Comparison, rows: int, names: tuple[str, str]) -> str:
    left, right = names
    on = f"on {rows:,} rows that neither had learned from"
    if not math.isfinite(found.gain):
        return f"{spec.metric} has no value {on}."
    sure = f"with {confidence_in_words(spec.gate.confidence)} confidence"
    size = f"{abs(found.gain):.1%} {'less' if found.gain >= 0 else 'more'} loss than {left}"
    if found.lower > 0:
        return f"{right} is better: {size} {on}, at least {found.lower:.1%} less {sure}."
    if found.upper < 0:
        return f"{right} is worse: {size} {on}, at least {-found.upper:.1%} more {sure}."
    bounds = (
        f"between {found.lower:+.1%} and {found.upper:+.1%} of it may be gained, each bound {sure}"
        if math.isfinite(found.lower) and math.isfinite(found.upper)
        else "and there is too little to bound it"
    )
    return f"No difference can be told: {right} has {size} {on}; {bounds}."


def _untold(spec: ModelSpec, rows: int, told: str) -> Scores:
    return Scores(
        rows=rows,
        first_seq=0,
        last_seq=0,
        confidence=spec.gate.confidence,
        metrics=(),
        told=told,
    )


def _labels(count: int) -> str:
    return "One label" if count == 1 else f"{count} labels" if count else "No label"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
