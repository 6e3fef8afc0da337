"""The gate: may a challenger take over?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from retuned_pipelines.evaluate.compare import Comparison, compare
from retuned_pipelines.evaluate.metrics import is_distance
from retuned_pipelines.evaluate.verdict import Ruling, Verdict

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from retuned_pipelines.spec import ModelSpec


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evidence:
    """What two procedures answered on the gate's rows.

    Attributes:
        target: truth (n), in time order; see `metrics`.
        challenger: outputs of the challenger, refitted before each block.
        rival: outputs of the rival, refitted likewise.
        classes: what codes and columns stand for; empty for regression.
        lengths: rows of each block, in order; a block is predicted by one fit of either.
        first_seq: smallest sequence number among the rows.
        last_seq: largest sequence number among the rows.
    """

    target: NDArray[Any]
    challenger: NDArray[np.float64]
    rival: NDArray[np.float64]
    classes: tuple[str, ...]
    lengths: tuple[int, ...]
    first_seq: int
    last_seq: int

    @property
    def blocks(self) -> int:
        """How many blocks the rows come from."""
        return len(self.lengths)


def judge(
    spec: ModelSpec,
    evidence: Evidence,
    *,
    rival_name: str,
    is_simpler: bool,
    rng: np.random.Generator,
) -> Verdict:
    """Give a verdict on the evidence.

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
        rng: source of the bootstrap's resamples.
    """
    policy = spec.gate
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
        confidence=policy.confidence,
        rng=rng,
    )
    is_promoted, reason = _rule(spec, found, rival_name, is_simpler=is_simpler)
    return _verdict(spec, evidence, rival_name, found, is_promoted=is_promoted, reason=reason)


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
    spec: ModelSpec, found: Comparison, rival_name: str, *, is_simpler: bool
) -> tuple[bool, str]:
    policy = spec.gate
    about = (
        f"it removes {found.gain:.1%} of the loss of the {rival_name} "
        f"(at least {found.lower:.1%} with {policy.confidence:.0%} confidence)"
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
    def plain(value: float) -> float:
        # JSON has no infinity and no NaN.
        return value if math.isfinite(value) else 0.0

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
