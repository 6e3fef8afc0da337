"""One check: every measurement on one pair of windows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retuned_pipelines.drift.inputs import measure_inputs
from retuned_pipelines.drift.performance import measure_loss
from retuned_pipelines.drift.report import DriftReport, Span

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from retuned_pipelines.spec import ModelSpec
    from retuned_pipelines.window import Window


def check(
    spec: ModelSpec,
    *,
    reference: Window,
    current: Window,
    reference_losses: NDArray[np.float64],
    current_losses: NDArray[np.float64],
) -> DriftReport:
    """Measure change between what the champion learned from and what came since.

    Args:
        spec: metric and the watch policy.
        reference: rows that the champion could learn from.
        current: rows since the last check.
        reference_losses: losses earlier in the reign (n), in order.
        current_losses: losses of labels that came since the last check (m), in order.
    """
    return DriftReport(
        as_of=current.as_of,
        reference=_span(reference),
        current=_span(current),
        measurements=(
            measure_loss(reference_losses, current_losses, spec.metric, spec.watch),
            *measure_inputs(reference, current, spec.watch),
        ),
    )


def _span(window: Window) -> Span:
    if len(window) == 0:
        return Span(first_seq=0, last_seq=0, rows=0)
    return Span(first_seq=int(window.seq.min()), last_seq=int(window.seq.max()), rows=len(window))
