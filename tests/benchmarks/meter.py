"""What something costs this process and the children that it has waited for."""

from __future__ import annotations

import resource
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(slots=True)
class Spent:
    """CPU seconds, known at the end."""

    cpu_s: float = 0.0


@contextmanager
def metered() -> Iterator[Spent]:
    """Measure CPU seconds, user and system, of all threads.

    Children of a fork server are not seen; they tell their own.
    """
    spent, begun = Spent(), _now()
    try:
        yield spent
    finally:
        spent.cpu_s = _now() - begun


def _now() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime
