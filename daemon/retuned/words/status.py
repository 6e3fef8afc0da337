"""What a model is doing, in words: its lease, its probation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_SIGN = 2.0
"""An e-value below this is no sign of anything."""


def probation_in_words(found: Mapping[str, Any]) -> str:
    """Say in a line how a champion does beside the one before it (in its JSON form)."""
    told = (
        f"on probation beside version {found['beside']}: {found['labels']:,} of "
        f"{found['until']:,} labels"
    )
    if found["is_worse"]:
        return f"{told}, found worse: version {found['beside']} comes back"
    e_value, threshold = found["e_value"], found["threshold"]
    if e_value < _SIGN:
        return f"{told}, no sign of being worse"
    more = found["difference"]
    so_far = f"its loss is larger by {more:.4g} so far" if more > 0 else "so far as good"
    return f"{told}, {so_far} (e-value {e_value:.3g}, it is called worse at {threshold:.0f})"


def lease_in_words(lease: Mapping[str, Any]) -> str:
    """Say who takes care of a model, by its lease in the JSON form; "" where it is this daemon."""
    holder = lease["holder"] or "nobody at this moment"
    if lease["role"] == "stand-in":
        return (
            f"decisions are suspended: the rows are with {lease['home']}, which is gone. Start it "
            "again, or adopt the model here (retuned adopt)"
        )
    if _waits(lease):
        return "Redis does not answer: rows are taken, decisions wait until it does"
    return "" if lease["role"] == "holder" else f"standby; {holder} takes care of it"


def doing_in_words(status: Mapping[str, Any]) -> str:
    """Say in a few words what is being done about a model, by its status in the JSON form."""
    lease = status["lease"]
    if _waits(lease):
        return "waits for Redis"
    if lease["role"] == "standby":
        return f"standby of {lease['holder'] or 'nobody'}"
    if lease["role"] == "stand-in":
        return "suspended: rows are elsewhere"
    return "paused" if status["is_paused"] else ", ".join(status["running"]) or "watching"


def _waits(lease: Mapping[str, Any]) -> bool:
    """Whether the rows are here, and nobody can have the lease as Redis is away."""
    return lease["role"] == "standby" and lease["has_rows"] and lease["holder"] is None
