"""Time-ordered splits that respect when labels became known.

Rolling origin (Tashman 2000): each block of rows is predicted by models that learned only
from labels known when its first row arrived.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from retuned_pipelines.window import known_at

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from retuned_pipelines.spec import GatePolicy
    from retuned_pipelines.window import Window

VALIDATION_SHARE = 0.5
"""Share of a study's rows on which recipes are validated, the newest ones."""

MIN_TRAIN_ROWS = 30
MIN_VALIDATION_ROWS = 10


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """Positions of rows in a window: learned from, and predicted after that."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]


def folds(window: Window, count: int) -> tuple[Fold, ...]:
    """Cut the newest half of a study's window into validation folds.

    Args:
        window: labelled rows in time order.
        count: folds at the most; fewer where there are too few rows.
    """
    first = int(len(window) * (1 - VALIDATION_SHARE))
    return _rolling(window, first, count, MIN_VALIDATION_ROWS)


def blocks(window: Window, first: int, policy: GatePolicy) -> tuple[Fold, ...]:
    """Cut the newest rows into the gate's blocks.

    Args:
        window: labelled rows in time order.
        first: position of the oldest row that may be used; older ones were studied.
        policy: number and size of blocks.
    """
    oldest = max(first, len(window) - policy.max_rows)
    return _rolling(window, oldest, policy.blocks, policy.block_rows)


def reserve(window: Window, policy: GatePolicy) -> int:
    """Position from which the newest labelled rows are kept from a study, for the gate."""
    wanted = max(int(policy.share * len(window)), policy.blocks * policy.block_rows)
    return len(window) - min(wanted, policy.max_rows, len(window) // 2)


def _rolling(window: Window, first: int, count: int, least: int) -> tuple[Fold, ...]:
    count = min(count, max(0, len(window) - first) // least)
    if count == 0:
        return ()
    known = known_at(window)
    edges = np.linspace(first, len(window), count + 1).astype(np.int64)
    found = (
        Fold(train=np.flatnonzero(known[:start] <= start), validation=np.arange(start, stop))
        for start, stop in pairwise(edges)
    )
    return tuple(fold for fold in found if len(fold.train) >= MIN_TRAIN_ROWS)
