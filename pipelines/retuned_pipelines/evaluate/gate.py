"""The gate: may a challenger take over?"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from retuned_pipelines.evaluate.checks import checks, confidence_in_words, plain
from retuned_pipelines.evaluate.compare import Comparison, compare
from retuned_pipelines.evaluate.evidence import Evidence
from retuned_pipelines.evaluate.metrics import is_distance, row_losses
from retuned_pipelines.evaluate.sequential import pace
from retuned_pipelines.evaluate.spending import level_of
from retuned_pipelines.evaluate.verdict import Aspect, Check, Ruling, Verdict

if TYPE_CHECKING:
    from retuned_pipelines.evaluate.sequential import Pace
    from retuned_pipelines.spec import ModelSpec


def judge(  # noqa: PLR0913 (what a ruling depends on)
    spec: ModelSpec,
    evidence: Evidence,
    *,
    rival_name: str,
    is_simpler: bool,
    number: int = 0,
    rng: np.random.Generator,
) -> Verdict:
    """Give a verdict on the evidence of the metric; `confirm` looks at everything else.

    A challenger is promoted if the lower bound of its gain is above ``min_gain``, or if it is
    simpler and the lower bound is above ``-margin``. Against the constant baseline, when
    nothing serves yet, the estimate alone decides if the metric is a mean distance: waiting would
    cost more than an error that the next comparison mends. By other metrics (accuracy, an AUC)
    noise is as often as not better than a constant, so there the lower bound must be above 0.

    Args:
        spec: task, metric and the gate's policy.
        evidence: outputs on the same rows.
        rival_name: ``champion`` or ``constant``.
        is_simpler: whether the challenger's recipe is of a simpler family than the rival's.
        number: which challenger of the reign this is, from 1; the more there were, the more
            certain it must be (`spending`). 0 where nothing reigns yet.
        rng: source of the bootstrap's resamples.
    """
    policy = spec.gate
    confidence = 1 - level_of(1 - policy.confidence, number) if number else policy.confidence
    if evidence.blocks < policy.min_blocks:
        return _refused_unseen(spec, evidence, rival_name)
    found = compare(
        spec.metric,
        spec.task,
        target=evidence.target,
        challenger=evidence.challenger,
        rival=evidence.rival,
        classes=evidence.classes,
        lengths=evidence.lengths,
        confidence=confidence,
        rng=rng,
    )
    sure = confidence_in_words(confidence)
    is_promoted, reason = _rule(spec, found, rival_name, sure, is_simpler=is_simpler)
    verdict = _verdict(
        spec, evidence, rival_name, found, is_promoted=is_promoted, reason=_nth(reason, number)
    )
    scatter = _pace(spec, evidence) if number else None
    return replace(verdict, confidence=confidence, number=number, pace=scatter)


def confirm(
    spec: ModelSpec,
    verdict: Verdict,
    evidence: Evidence,
    *,
    family: str,
    rng: np.random.Generator,
) -> Verdict:
    """Look at what else a promoted challenger must not fail at; leave any other verdict as it is.

    Args:
        spec: task and the gate's policy.
        verdict: of `judge`, on the same evidence.
        evidence: outputs on the same rows, the default's and the slices among them.
        family: of the challenger.
        rng: source of the bootstraps' resamples.
    """
    if not verdict.is_promoted:
        return verdict
    found = checks(spec, evidence, family, rng)
    failed = [check.reason for check in found if not check.is_passed]
    if failed:
        return replace(
            verdict,
            ruling=Ruling.REFUSED,
            checks=found,
            reasons=(*failed, *verdict.reasons),
        )
    return replace(verdict, checks=found, reasons=(*verdict.reasons, *_also(spec, evidence, found)))


def refused(spec: ModelSpec, *, rival_name: str, reason: str) -> Verdict:
    """Refuse a challenger that could not be compared at all."""
    nothing = np.empty(0)
    evidence = Evidence(
        target=nothing,
        challenger=nothing,
        rival=nothing,
        classes=(),
        lengths=(),
        first_seq=0,
        last_seq=0,
    )
    return _verdict(spec, evidence, rival_name, _NOTHING, is_promoted=False, reason=reason)


_NOTHING = Comparison(
    challenger_score=0.0, rival_score=0.0, gain=0.0, lower=0.0, upper=0.0, blocks=0
)


def _rule(
    spec: ModelSpec, found: Comparison, rival_name: str, sure: str, *, is_simpler: bool
) -> tuple[bool, str]:
    policy = spec.gate
    about = (
        f"it removes {found.gain:.1%} of the loss of the {rival_name} "
        f"(at least {found.lower:.1%} with {sure} confidence)"
    )
    if not math.isfinite(found.gain):
        return False, "Too little evidence: the metric has no value on these rows."
    if found.blocks < policy.min_blocks:
        return False, (
            f"Too little evidence: {spec.metric} has a value in {found.blocks} blocks only, those "
            f"with rows of every class, GATE__MIN_BLOCKS is {policy.min_blocks}."
        )
    if rival_name == "constant":
        return _rule_first(found, about, by_estimate=is_distance(spec.metric))
    if found.lower > policy.min_gain:
        return True, f"Better: {about}."
    if is_simpler and found.lower > -policy.margin:
        return True, f"Not worse and simpler: {about}."
    if found.gain > 0:
        return False, f"Not enough evidence of a gain: {about}."
    return False, f"No gain: {about}."


def _rule_first(found: Comparison, about: str, *, by_estimate: bool) -> tuple[bool, str]:
    if (found.gain if by_estimate else found.lower) > 0:
        return True, f"Better than a constant, and nothing serves yet: {about}."
    if found.gain > 0:
        return False, f"Not enough evidence that it is better than a constant: {about}."
    return False, f"No better than a constant: {about}."


def _nth(reason: str, number: int) -> str:
    """Say why more confidence is asked for than the policy's."""
    if number <= 1:
        return reason
    return f"{reason} It is challenger {number} of this reign, and so has to be more certain."


def _also(spec: ModelSpec, evidence: Evidence, found: tuple[Check, ...]) -> tuple[str, ...]:
    """Say what was looked at and is no reason against the challenger, and what could not be."""
    told = [check.reason for check in found if check.aspect is not Aspect.SLICE]
    slices = sum(check.aspect is Aspect.SLICE for check in found)
    if slices:
        told.append(f"Not shown to be worse on any of {slices} slices.")
    unknown = [column for column in spec.gate.slices if column not in evidence.slices]
    if unknown:
        told.append(f"GATE__SLICES names {', '.join(unknown)}, which no row has.")
    elif spec.gate.slices and not slices:
        told.append(f"No slice has {spec.gate.slice_rows} rows (GATE__SLICE_ROWS).")
    return tuple(told)


def _pace(spec: ModelSpec, evidence: Evidence) -> Pace:
    return pace(
        *(
            row_losses(spec.metric, spec.task, evidence.target, output)
            for output in (evidence.challenger, evidence.rival)
        )
    )


def _refused_unseen(spec: ModelSpec, evidence: Evidence, rival_name: str) -> Verdict:
    reason = (
        f"Too little evidence: {evidence.blocks} blocks of rows that nothing has learned from, "
        f"GATE__MIN_BLOCKS is {spec.gate.min_blocks}."
    )
    return _verdict(spec, evidence, rival_name, _NOTHING, is_promoted=False, reason=reason)


def _verdict(  # noqa: PLR0913 (what a verdict tells)
    spec: ModelSpec,
    evidence: Evidence,
    rival_name: str,
    found: Comparison,
    *,
    is_promoted: bool,
    reason: str,
) -> Verdict:
    return Verdict(
        ruling=Ruling.PROMOTED if is_promoted else Ruling.REFUSED,
        metric=spec.metric,
        rival=rival_name,
        challenger_score=plain(found.challenger_score),
        rival_score=plain(found.rival_score),
        gain=plain(found.gain),
        lower=plain(found.lower),
        upper=plain(found.upper),
        confidence=spec.gate.confidence,
        blocks=evidence.blocks,
        rows=len(evidence.target),
        first_seq=evidence.first_seq,
        last_seq=evidence.last_seq,
        reasons=(reason,),
    )
