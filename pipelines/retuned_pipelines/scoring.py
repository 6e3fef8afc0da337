"""How the losses of labels that came are told: on how many rows, and in which parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from retuned_pipelines.evaluate.metrics import bounded_losses
from retuned_pipelines.weights import BLOCKS
from retuned_pipelines.window import evenly

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from retuned_pipelines.spec import ModelSpec
    from retuned_pipelines.version import Blocks
    from retuned_pipelines.window import Window

MIN_SCORED = 10
"""Fewer labels than this say nothing about who is better."""

MAX_SCORED = 1000
"""Of more labels than this that come at once, as many are scored, evenly spaced in time."""


def sampled(came: Window | None) -> Window | None:
    """The rows to be scored out of those whose labels came; None for none.

    The row of the newest label is among them: it tells up to where labels were looked at.
    """
    if came is None or len(came) == 0:
        return None
    if len(came) <= MAX_SCORED:
        return came
    even = evenly(len(came), MAX_SCORED)
    return came.take(np.union1d(even, [int(came.label_seq.argmax())]))


def block_losses(
    spec: ModelSpec, target: NDArray[Any], outputs: Sequence[NDArray[np.float64] | None]
) -> Blocks:
    """Mean loss of each member on equal parts of the rows (blocks, members).

    Args:
        spec: task and metric.
        target: truth (n), in time order; see `metrics`. At least `MIN_SCORED`.
        outputs: of each member; None for who does not answer.
    """
    if not outputs:
        return ()
    nothing = np.full(len(target), np.nan)
    losses = np.column_stack(
        [
            nothing if output is None else bounded_losses(spec.metric, spec.task, target, output)
            for output in outputs
        ]
    )
    parts = np.array_split(losses, min(BLOCKS, len(target) // MIN_SCORED))
    return tuple(tuple(part.mean(axis=0).tolist()) for part in parts)


def differences_of(
    champion: NDArray[np.float64], predecessor: NDArray[np.float64]
) -> NDArray[np.float64]:
    """How much larger the champion's losses are on the same rows (n); 0 where both are infinite."""
    with np.errstate(invalid="ignore"):
        return np.nan_to_num(champion - predecessor, nan=0.0, posinf=np.inf, neginf=-np.inf)
