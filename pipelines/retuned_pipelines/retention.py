"""How much of a model's past has to be kept, whatever the limits say: rows, and versions."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

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


def kept_versions(
    *,
    champion: int,
    predecessor: int,
    known: Collection[int],
    pinned: Collection[int],
    newest: int,
) -> frozenset[int]:
    """Numbers of the versions whose newest revision stays loadable.

    Args:
        champion: what answers requests.
        predecessor: what answered before it; 0 for none.
        known: all versions.
        pinned: versions that somebody wants kept.
        newest: so many of the newest versions stay in any case.
    """
    latest = sorted(known)[-newest:] if newest else []
    return frozenset({champion, predecessor, *pinned, *latest} - {0})
