"""Looking at what came: the champion's losses on matured labels, and a check for drift."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from retuned_pipelines.drift.check import check
from retuned_pipelines.evaluate.metrics import row_losses
from retuned_pipelines.fitting import encoded_target

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from retuned.rows.log import RowLog
    from retuned.serve.champion import Champion
    from retuned_pipelines.care.orders import Measure
    from retuned_pipelines.drift.report import DriftReport
    from retuned_pipelines.spec import ModelSpec


MIN_SCORED = 10
"""Fewer labels than this say nothing about who is better."""


def measure(spec: ModelSpec, order: Measure, log: RowLog) -> DriftReport:
    """Compare the rows and losses since the last check with those before it.

    The reference is the newest rows that the champion could learn from, and the losses of
    its version up to the last check.
    """
    reference = log.window(
        as_of=min(order.since_seq, order.learned_until),
        newest=min(spec.watch.reference_rows, order.learned_rows),
    )
    current = log.window(as_of=order.as_of, first_seq=order.since_seq + 1)
    metric = spec.metric
    earlier = log.losses(order.version, metric=metric, until=order.since_seq)
    later = log.losses(order.version, metric=metric, after=order.since_seq, until=order.as_of)
    return check(
        spec,
        reference=reference,
        current=current,
        reference_losses=earlier.loss[-spec.watch.reference_rows :],
        current_losses=later.loss,
    )


def member_losses(
    spec: ModelSpec, log: RowLog, champion: Champion, until: int
) -> NDArray[np.float64] | None:
    """Mean loss of each member (members) on the labels that came since the champion was fitted.

    None where too few came to tell.
    """
    came = log.matured(champion.crowned.revision.fitted_as_of, until)
    if came is None or len(came) < MIN_SCORED:
        return None
    target = encoded_target(came, champion.classes)
    return np.array(
        [
            row_losses(spec.metric, spec.task, target, output).mean()
            for output in champion.member_outputs(came.features)
        ]
    )


def score_matured(spec: ModelSpec, log: RowLog, champion: Champion, until: int) -> int:
    """Store the champion's loss on each row whose label came since the last time.

    Labels that the champion's revision knew when it was fitted are left out: a loss on what
    was learned says nothing. Before a successor takes over, the champion is scored on every
    label that the successor knows, so that no row goes unscored.

    Args:
        spec: task and metric.
        log: the model's rows.
        champion: what serves.
        until: newest sequence number of labels to look at.

    Returns:
        How many rows were scored.
    """
    after = max(log.last_scored(), champion.crowned.revision.fitted_as_of)
    came = log.matured(after, until)
    if came is None or len(came) == 0:
        return 0
    classes = champion.classes
    target = encoded_target(came, classes)
    losses = row_losses(spec.metric, spec.task, target, champion.outputs(came.features))
    log.append_losses(
        came.seq,
        came.label_seq,
        losses,
        version=champion.crowned.version.number,
        revision=champion.crowned.revision.number,
        metric=spec.metric,
    )
    return len(came)
