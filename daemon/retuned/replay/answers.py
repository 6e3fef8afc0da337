"""Who answered in each period of a replay, and from which past it had learned."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from retuned.replay.history import PERIOD_US
from retuned.words.recipes import identity, names_of
from retuned_pipelines.recipe import Past

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from retuned.replay.history import History
    from retuned.replay.outcome import Life

EDGES = 5
"""Dates below a plot."""


TAKEOVERS = {"promoted", "revised", "rolled_back"}
"""Events that tell who answers from then on, and from which recipes."""


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """Who answered in each period.

    Attributes:
        dates: below a plot over periods.
        when: the date at each edge of a period.
        names: short names of all recipes that ever had a weight, by their identity.
        bodies: what was told of the revision that served (periods); None for none.
    """

    dates: Sequence[str]
    when: Sequence[str]
    names: Mapping[str, str]
    bodies: Sequence[Mapping[str, Any] | None]

    @classmethod
    def of(cls, life: Life, history: History) -> Answers:
        """Look up the revisions that served."""
        told = [event.body for event in life.events if event.kind.value in TAKEOVERS]
        by_name = {f"{body['version']}.{body['revision']}": body for body in told}
        edges = [float(history.window.time[max(edge - 1, 0)]) / 1e6 for edge in history.edges]
        return cls(
            dates=dates(history),
            when=[told_day(history, at) for at in edges],
            names=_named(told),
            bodies=[by_name.get(name) for name in life.champions],
        )

    def shares(self, key: Callable[[Mapping[str, Any]], str]) -> dict[str, list[float]]:
        """Shares of the answers (periods) of recipes with the same key, the largest first."""
        found: dict[str, list[float]] = defaultdict(lambda: [0.0] * len(self.bodies))
        for number, body in enumerate(self.bodies):
            for recipe, weight in _weighed(body):
                found[key(recipe)][number] += weight
        answered = ((name, row) for name, row in found.items() if any(row))
        return dict(sorted(answered, key=lambda item: -sum(item[1])))

    def mean(self, value: Callable[[Mapping[str, Any], int], float]) -> list[float]:
        """Mean by weight (periods) of a function of a recipe and the rows known."""
        return [
            sum(weight * value(recipe, body["rows"]) for recipe, weight in _weighed(body))
            if body is not None
            else 0.0
            for body in self.bodies
        ]

    def until(self, name: str, row: Sequence[float]) -> str:
        """A member's name, and since when it answers no more, by its shares (periods)."""
        last = max(number for number, share in enumerate(row) if share)
        is_gone = last < len(row) - 1
        return f"{name} †\u00a0{self.when[last + 1]}" if is_gone else name


def _named(told: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Short names of all recipes by their identity, and which study found them."""
    found: dict[str, str] = {}
    for body in told:
        for recipe in body["recipes"]:
            found.setdefault(identity(recipe), body.get("study", ""))
    names = names_of(recipe for body in told for recipe in body["recipes"])
    return {
        key: f"{name}, found by {found[key]}" if found[key] else name for key, name in names.items()
    }


def _weighed(body: Mapping[str, Any] | None) -> Iterator[tuple[Mapping[str, Any], float]]:
    if body is not None:
        yield from zip(body["recipes"], body["weights"], strict=True)


def learned_from(recipe: Mapping[str, Any], rows: int) -> float:
    """Rows that a recipe learns from, where so many labelled ones are known.

    Where old rows count less it is the sum of what they count.
    """
    past = Past(**recipe["past"])
    size = past.size(rows)
    if past.half_life_rows is None:
        return float(size)
    each = 0.5 ** (1 / past.half_life_rows)
    newest = rows if past.rows is None else min(rows, past.rows)
    # A sample is spread evenly: each of its rows counts as its neighbours would.
    return float((1 - each**newest) / (1 - each) * size / newest) if newest else 0.0


def kind_of_past(recipe: Mapping[str, Any]) -> str:
    """Which past a recipe learns from, in a legend's few words."""
    past = Past(**recipe["past"])
    if past.time_feature:
        return "everything, time as a feature"
    if past.half_life_rows is not None:
        return "old rows count less"
    if past.since_change:
        return "rows since the last change"
    return "everything" if past.rows is None else "the newest rows"


def dates(history: History) -> list[str]:
    """What is written below a plot: moments at evenly spaced edges of periods."""
    picks = np.linspace(0, len(history.edges) - 1, EDGES).round().astype(int)
    rows = [max(history.edges[pick] - 1, 0) for pick in picks]
    return told_moments(history, [float(history.window.time[row]) / 1e6 for row in rows])


def told_moments(history: History, times: Sequence[float]) -> list[str]:
    """Moments, as exact as their spread asks for; row numbers where rows have no times."""
    if not is_dated(history):
        return [_row(at) for at in times]
    days = (times[-1] - times[0]) / 86_400
    form = "%b %Y" if days > 150 else "%d %b" if days > 5 else "%d %b %H:%M"  # noqa: PLR2004 (see the line)
    return [f"{datetime.fromtimestamp(at, UTC):{form}}" for at in times]


def told_day(history: History, at: float) -> str:
    """The day of a moment, or a row number; on one line."""
    told = f"{datetime.fromtimestamp(at, UTC):%d %b %Y}" if is_dated(history) else _row(at)
    return told.replace(" ", "\u00a0")


def is_dated(history: History) -> bool:
    """Whether the rows have times; where they have none, `read_history` counts from 1970."""
    return bool(history.window.time[0])


def _row(at: float) -> str:
    return f"row {int(at * 1e6) // PERIOD_US + 1:,}"
