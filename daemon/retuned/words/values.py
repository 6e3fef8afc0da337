"""Moments and numbers as people read them."""

from __future__ import annotations

from datetime import UTC, datetime


def moment(at: float, *, zone: str = "") -> str:
    """A moment in the time zone of who reads it, with what `zone` formats (``" %Z"``)."""
    return datetime.fromtimestamp(at, UTC).astimezone().strftime(f"%Y-%m-%d %H:%M:%S{zone}")


def short(value: object, *, none: str = "none") -> str:
    """A value, with four digits where it is a number that is not whole."""
    return none if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
