"""How much of a model's past has to be kept, whatever the limits say."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from retuned_pipelines.spec import ModelSpec
    from retuned_pipelines.version import Version

RESERVE = 2
"""So many times what is needed is kept: orders under way look back from when they were given."""


def needed_rows(spec: ModelSpec, version: Version | None) -> int:
    """Labelled rows, the newest ones, that a model needs.

    They are what the next study and the gate look at, a check's reference, and what the
    champion's members are refitted on. A member that learns from everything learns from
    everything that is kept.

    Args:
        spec: the model's policies.
        version: the champion; None before there is one.
    """
    pasts = () if version is None else tuple(member.recipe.past for member in version.members)
    return RESERVE * max(
        spec.search.max_rows,
        spec.gate.max_rows,
        spec.watch.reference_rows,
        spec.watch.min_rows,
        *(past.rows or 0 for past in pasts),
    )
