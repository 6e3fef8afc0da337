"""What else a challenger must not fail at: its family's default, guard metrics, slices.

They only refuse: none of them makes a promotion by luck more probable, so that each has the
policy's confidence, whatever the reign has spent.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from retuned_pipelines.evaluate.compare import Comparison, compare, compare_losses
from retuned_pipelines.evaluate.metrics import row_losses
from retuned_pipelines.evaluate.verdict import Aspect, Check

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from retuned_pipelines.evaluate.evidence import Evidence
    from retuned_pipelines.spec import ModelSpec


def checks(
    spec: ModelSpec, evidence: Evidence, family: str, rng: np.random.Generator
) -> tuple[Check, ...]:
    """Look at everything but the metric against the rival.

    Args:
        spec: task, metric and the gate's policy.
        evidence: outputs on the same rows.
        family: of the challenger.
        rng: source of the bootstraps' resamples.
    """
    guards = (_guard(spec, evidence, guard, rng) for guard in spec.gate.guards)
    return (*_default(spec, evidence, family, rng), *guards, *_slices(spec, evidence, rng))


def _default(
    spec: ModelSpec, evidence: Evidence, family: str, rng: np.random.Generator
) -> Iterator[Check]:
    """Whether the family's default in its place would be better: then it is overtuned."""
    if evidence.default is None:
        return
    found = _compared(spec, spec.metric, evidence, evidence.default, rng)
    is_worse = math.isfinite(found.upper) and found.upper < 0
    sure = f"with {confidence_in_words(spec.gate.confidence)} confidence"
    reason = (
        f"Overtuned: the default recipe of {family} in its place loses less "
        f"(the challenger's loss is {-found.gain:.1%} larger, at least {-found.upper:.1%} {sure})."
        if is_worse
        else f"Not shown to be worse than the default recipe of {family}."
    )
    yield _check(
        Aspect.DEFAULT, family, found, len(evidence.target), reason, is_passed=not is_worse
    )


def _guard(spec: ModelSpec, evidence: Evidence, guard: str, rng: np.random.Generator) -> Check:
    """Whether it is certain that a guard metric does not fall by more than the margin."""
    margin, sure = spec.gate.guard_margin, confidence_in_words(spec.gate.confidence)
    found = _compared(spec, guard, evidence, evidence.rival, rng)
    scores = f"{found.challenger_score:.4g} instead of {found.rival_score:.4g}"
    if not math.isfinite(found.gain):
        is_passed, reason = False, f"Guard {guard}: it has no value on these rows."
    elif found.lower >= -margin:
        is_passed, reason = True, f"Guard {guard} holds: {scores}."
    else:
        is_passed = False
        reason = (
            f"Guard {guard}: {scores}; its loss may be {-found.lower:.1%} larger ({sure} "
            f"confidence), GATE__GUARD_MARGIN is {margin:.1%}."
        )
    return _check(Aspect.GUARD, guard, found, len(evidence.target), reason, is_passed=is_passed)


def _slices(spec: ModelSpec, evidence: Evidence, rng: np.random.Generator) -> Iterator[Check]:
    """Whether the loss on some category certainly rises by more than the margin.

    Certainly, because with many small categories it could never be ruled out for each. One of the
    categories is taken for worse by luck with the policy's probability, all together (Bonferroni).
    """
    of_challenger, of_rival = (
        row_losses(spec.metric, spec.task, evidence.target, output)
        for output in (evidence.challenger, evidence.rival)
    )
    parts = list(_parts(spec, evidence))
    for subject, mask in parts:
        found = compare_losses(
            of_challenger[mask],
            of_rival[mask],
            confidence=1 - (1 - spec.gate.confidence) / len(parts),
            rng=rng,
        )
        is_passed = found.upper >= -spec.gate.guard_margin
        rows = int(mask.sum())
        told = f"{-found.gain:+.1%} loss on {rows} rows"
        reason = (
            f"Slice {subject}: {told}."
            if is_passed
            else f"Slice {subject} is worse: {told}, at least {-found.upper:.1%}; "
            f"GATE__GUARD_MARGIN is {spec.gate.guard_margin:.1%}."
        )
        yield _check(Aspect.SLICE, subject, found, rows, reason, is_passed=is_passed)


def _parts(spec: ModelSpec, evidence: Evidence) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    for column, categories in evidence.slices.items():
        for category, rows in zip(*np.unique(categories, return_counts=True), strict=True):
            if rows >= spec.gate.slice_rows:
                yield f"{column}={category}", np.asarray(categories == category)


def _compared(
    spec: ModelSpec,
    metric: str,
    evidence: Evidence,
    other: NDArray[np.float64],
    rng: np.random.Generator,
) -> Comparison:
    return compare(
        metric,
        spec.task,
        target=evidence.target,
        challenger=evidence.challenger,
        rival=other,
        classes=evidence.classes,
        lengths=evidence.lengths,
        confidence=spec.gate.confidence,
        rng=rng,
    )


def _check(  # noqa: PLR0913 (what a check tells)
    aspect: Aspect, subject: str, found: Comparison, rows: int, reason: str, *, is_passed: bool
) -> Check:
    return Check(
        aspect=aspect,
        subject=subject,
        is_passed=is_passed,
        gain=plain(found.gain),
        lower=plain(found.lower),
        upper=plain(found.upper),
        rows=rows,
        reason=reason,
    )


def plain(value: float) -> float:
    """A number that JSON can hold: it has no infinity and no NaN."""
    return value if math.isfinite(value) else 0.0


def confidence_in_words(confidence: float) -> str:
    """Such as ``95%`` or ``99.24%``: never rounded up to certainty."""
    return f"{100 * min(confidence, 0.9999):.4g}%"
