"""Which members are worth a new fit, and what the last one brought.

On few rows a fit costs next to nothing and is always made. On many, each member waits longer as
long as its last fit has shown to bring next to nothing, and comes back at once when one does.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from retuned_pipelines.ensemble import LARGE_ROWS
from retuned_pipelines.models.families import effort

if TYPE_CHECKING:
    from collections.abc import Sequence

    from retuned_pipelines.version import Came, Member, Standing

WORTH = 0.01
"""A fit that cuts a member's loss by less than this share was not worth its cost."""

DOUBT = 0.5
"""Standard errors that are added to a gain before it is said to be too small."""

FACTOR, LONGEST = 4, 128
"""How patience changes on many rows, and how large it becomes (in steps of growth)."""


def due(
    members: Sequence[Member], standing: Standing, labelled: int, share: float
) -> tuple[int, ...]:
    """Positions of the members that are to be fitted anew.

    Args:
        members: of the champion.
        standing: how they stand.
        labelled: labelled rows known now.
        share: of those, that have to be new; where fits are dear, of those that the member knew,
            times its patience.
    """
    found = []
    for position in range(len(members)):
        known = standing.fitted[position]
        new = labelled - known
        wait = share * (standing.patience[position] * known if is_dear(labelled) else labelled)
        if not standing.retired[position] and new >= max(1.0, wait):
            found.append(position)
    return tuple(found)


def refitted(standing: Standing, positions: Sequence[int], labelled: int) -> Standing:
    """The standing after some members were fitted on everything known."""
    fitted = list(standing.fitted)
    for position in positions:
        fitted[position] = labelled
    return replace(standing, fitted=tuple(fitted))


def is_dear(labelled: int) -> bool:
    """Whether there are so many labelled rows that fits have to be worth their cost."""
    return labelled > LARGE_ROWS


def learned(standing: Standing, came: Came) -> Standing:
    """Change the members' patience by what their last fits brought on the labels that came.

    Args:
        standing: how they stand.
        came: their losses, and those of the fits before.
    """
    if not came.elder:
        return standing
    elder = np.array(came.elder)
    gains = elder - np.array(came.losses)
    patience = list(standing.patience)
    for position in np.flatnonzero(np.isfinite(gains).all(axis=0)).tolist():
        scale = float(elder[:, position].mean())
        gain = gains[:, position]
        if scale <= 0 or len(gain) < 2:  # noqa: PLR2004 (a spread needs two)
            continue
        mean = float(gain.mean()) / scale
        error = float(gain.std(ddof=1)) / math.sqrt(len(gain)) / scale
        if mean >= WORTH:
            patience[position] = max(1, patience[position] // FACTOR)
        elif mean + DOUBT * error < WORTH:
            patience[position] = min(LONGEST, patience[position] * FACTOR)
    return replace(standing, patience=tuple(patience))


def cost(members: Sequence[Member], positions: Sequence[int], labelled: int, classes: int) -> float:
    """Effort of fitting members; see `models.families.effort`."""
    return sum(effort(members[position].recipe, labelled, classes) for position in positions)
