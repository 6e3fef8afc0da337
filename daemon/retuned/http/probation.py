"""How a new champion does beside the one before it, as told to who asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from retuned_pipelines.evaluate.sequential import finding

if TYPE_CHECKING:
    from retuned.keeper import Keeper


def probation(keeper: Keeper) -> dict[str, Any] | None:
    """What the champion's probation says so far; None where it is on none."""
    reign = keeper.state.reign
    if reign is None or reign.probation is None:
        return None
    found, shadow = finding(reign.probation.pairs), reign.probation.shadow
    return {
        "version": reign.version.number,
        "beside": shadow.version.number,
        "shadow": shadow.revision.name,
        "since": reign.version.created_at,
        "labels": found.rows + reign.probation.pairs.waiting,
        "until": keeper.spec.gate.probation_rows,
        "e_value": found.e_value,
        "threshold": 1 / found.level,
        "difference": found.mean,
        "lower": found.lower,
        "is_worse": found.is_worse,
    }


def role(keeper: Keeper, version: int) -> str:
    """What a version is at the moment: ``champion``, ``shadow``, or ""."""
    reign = keeper.state.reign
    if reign is None:
        return ""
    if reign.version.number == version:
        return "champion"
    found = reign.probation
    return "shadow" if found is not None and found.shadow.version.number == version else ""
