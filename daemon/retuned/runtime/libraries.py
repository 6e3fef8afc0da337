"""Which libraries decide what a fit gives, and whether an artifact can be loaded."""

from __future__ import annotations

import importlib.metadata
import platform

_NAMES = ("lightgbm", "numpy", "retuned", "scikit-learn", "scipy", "skops")


def libraries() -> tuple[tuple[str, str], ...]:
    """Versions by name, Python's own among them."""
    found = {name: importlib.metadata.version(name) for name in _NAMES}
    return tuple(sorted({**found, "python": platform.python_version()}.items()))
