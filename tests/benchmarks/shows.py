"""What the figures show, and the bars that they must clear. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean, median
from typing import TYPE_CHECKING

from tests.benchmarks.groups import RETUNED, SIX

from retuned.replay.policies import NEVER

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from tests.benchmarks.results import Figures

    Policies = Mapping[str, Figures]
    Streams = Mapping[str, Policies]

REFIT_ALL = "refit_all"
HARD_TO_FOLLOW = "occupancy"
"""The stream on which windows of one class only make hindsight hard to follow."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What was measured, and where: a stream's name, or how many of how many."""

    value: float
    where: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """Something to clear.

    Attributes:
        name: what is measured.
        unit: of limit and reading.
        limit: the least, or the most, that clears it.
        is_least: whether the limit is the least.
        read: measures; None where nothing was measured.
    """

    name: str
    unit: str
    limit: float
    is_least: bool
    read: Callable[[Streams], Reading | None]

    def is_cleared(self, reading: Reading) -> bool:
        """Whether a reading is good enough."""
        good, bad = (reading.value, self.limit) if self.is_least else (self.limit, reading.value)
        return good >= bad


def cut(policies: Policies, name: str) -> float | None:
    """Loss cut of a policy in % of never_refitted's loss; None where one was not measured."""
    if name not in policies or NEVER.name not in policies:
        return None
    reference = policies[NEVER.name].loss
    return 100 * (1 - policies[name].loss / reference) if reference else 0.0


def best_of_six(policies: Policies) -> str | None:
    """Name of the window that was best in hindsight; None where one was not measured."""
    names = [window.name for window in SIX]
    if not set(names) <= set(policies):
        return None
    return min(names, key=lambda name: policies[name].loss)


def cuts(streams: Streams, name: str) -> dict[str, float]:
    """Loss cut of a policy in % on each stream where it was measured."""
    found = {stream: cut(policies, name) for stream, policies in streams.items()}
    return {stream: value for stream, value in found.items() if value is not None}


def distances(streams: Streams) -> dict[str, float]:
    """Points of cut by which the best of six windows was better than retuned, by stream."""
    found = {}
    for stream, policies in streams.items():
        best, ours = best_of_six(policies), cut(policies, RETUNED)
        if best is not None and ours is not None:
            found[stream] = (cut(policies, best) or 0.0) - ours
    return found


def cpu_ratios(streams: Streams, name: str) -> dict[str, float]:
    """How many times another policy's CPU seconds retuned took, by stream."""
    return {
        stream: policies[RETUNED].cpu_s / policies[name].cpu_s
        for stream, policies in streams.items()
        if RETUNED in policies and name in policies and policies[name].cpu_s
    }


def _ahead(streams: Streams) -> Reading | None:
    both = {
        stream: policies[RETUNED].loss < policies[REFIT_ALL].loss
        for stream, policies in streams.items()
        if RETUNED in policies and REFIT_ALL in policies
    }
    if not both:
        return None
    ahead = sum(both.values())
    return Reading(100 * ahead / len(both), f"{ahead} of {len(both)}")


def _over(
    measure: Callable[[Collection[float]], float],
) -> Callable[[Streams], Reading | None]:
    def read(streams: Streams) -> Reading | None:
        found = cuts(streams, RETUNED)
        return Reading(measure(found.values()), f"of {len(found)}") if found else None

    return read


def _most(found: Mapping[str, float]) -> Reading | None:
    return Reading(*max((value, name) for name, value in found.items())) if found else None


def _least(found: Mapping[str, float]) -> Reading | None:
    return Reading(*min((value, name) for name, value in found.items())) if found else None


def _distance(*, is_exception: bool) -> Callable[[Streams], Reading | None]:
    def read(streams: Streams) -> Reading | None:
        found = distances(streams).items()
        return _most({k: v for k, v in found if (k == HARD_TO_FOLLOW) == is_exception})

    return read


BARS = (
    Bar(name="mean cut", unit="%", limit=22, is_least=True, read=_over(fmean)),
    Bar(name="median cut", unit="%", limit=10, is_least=True, read=_over(median)),
    Bar(
        name=f"streams ahead of {REFIT_ALL}",
        unit="% of streams",
        limit=100 * 11 / 13,
        is_least=True,
        read=_ahead,
    ),
    Bar(
        name="least cut",
        unit="%",
        limit=0,
        is_least=True,
        read=lambda streams: _least(cuts(streams, RETUNED)),
    ),
    Bar(
        name="farthest below the best of six",
        unit="points of cut",
        limit=0.5,
        is_least=False,
        read=_distance(is_exception=False),
    ),
    Bar(
        name=f"the same on {HARD_TO_FOLLOW}",
        unit="points of cut",
        limit=3,
        is_least=False,
        read=_distance(is_exception=True),
    ),
    Bar(
        name=f"CPU beside {REFIT_ALL}",
        unit="times",
        limit=10,
        is_least=False,
        read=lambda streams: _most(cpu_ratios(streams, REFIT_ALL)),
    ),
    Bar(
        name="CPU beside FLAML",
        unit="times",
        limit=1,
        is_least=False,
        read=lambda streams: _most(cpu_ratios(streams, "flaml")),
    ),
)
"""All bars with their units."""
