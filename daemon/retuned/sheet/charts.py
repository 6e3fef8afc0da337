"""Charts as inline SVG."""

from __future__ import annotations

import math
from html import escape
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

WIDTH, HEIGHT, EDGE = 900, 160, 8
TALL = 180
"""Pixels that a plot is high on every screen; only its width is stretched."""

SCALE, ROOM = 52, 7
"""Pixels for the numbers beside a plot, and the room above and below it that they need."""

POINTS = 120
_FEWEST = 2
_WHOLE = 1000
_TICKS = 4
_LEEWAY = 1e-6
"""Of a step: what floating point may be off by at a tick."""


def line(losses: Sequence[float]) -> str:
    """Mean losses of consecutive rows, oldest first, as a line."""
    if len(losses) < _FEWEST:
        return '<p class="dim">No label has come since the champion began to serve.</p>'
    parts = np.array_split(np.asarray(losses), min(POINTS, len(losses)))
    means = [float(part.mean()) for part in parts]
    top = max(means) or 1.0
    label = f"{len(losses):,} rows, mean {np.mean(losses):.4g}, highest point {top:.4g}"
    return _plot(
        lambda up: f'<polyline class="line" points="{_spots(means, up)}"/>',
        ticks=_ticks(0.0, top),
        label=label,
    )


def lines(
    series: Mapping[str, Sequence[float]],
    *,
    unit: str,
    dates: Sequence[str] = (),
    marks: Mapping[int, str] = MappingProxyType({}),
    from_zero: bool = False,
) -> str:
    """Several lines over the same periods, and a legend with their last values.

    Args:
        series: values (periods) by name; the first is drawn broad, below the others.
        unit: of the values, for the caption.
        dates: what is written below, evenly spaced from the first edge to the last.
        marks: what happened at the beginning of some periods, by their number.
        from_zero: whether zero is shown too.
    """
    values = [value for line in series.values() for value in line]
    ticks = _ticks(0.0 if from_zero else min(values), max(values))
    count = max(len(line) for line in series.values())

    def body(up: Callable[[float], float]) -> str:
        flags = "".join(
            f'<line class="mark" x1="{_slot(n, count):.1f}" x2="{_slot(n, count):.1f}" y1="0" '
            f'y2="{TALL}"><title>{escape(what)}</title></line>'
            for n, what in marks.items()
        )
        drawn = [
            f'<polyline class="series s{place}" points="{_spots(line, up)}">'
            f"<title>{escape(name)}</title></polyline>"
            for place, (name, line) in enumerate(series.items())
        ]
        return flags + "".join(drawn)

    legend = "".join(
        f'<span class="key s{place}">{escape(name)} <small>{_said(line[-1])}</small></span>'
        for place, (name, line) in enumerate(series.items())
    )
    told = "; a dashed line: " + ", ".join(dict.fromkeys(marks.values())) if marks else ""
    label = f"{unit}, at the end beside each name{told}"
    return _plot(body, ticks=ticks, label=label, dates=dates, legend=legend)


def areas(series: Mapping[str, Sequence[float]], *, unit: str, dates: Sequence[str] = ()) -> str:
    """Shares of a whole, a step a period, one on top of the other, the first at the bottom.

    Args:
        series: shares (periods) by name; together at most 1 in each period.
        unit: of the shares, for the caption.
        dates: as for `lines`.
    """
    count = max(len(row) for row in series.values())

    def body(up: Callable[[float], float]) -> str:
        below, drawn = np.zeros(count), []
        for place, (name, row) in enumerate(series.items()):
            above = below + np.asarray(row)
            edges = [*_steps(above), *reversed(_steps(below))]
            spots = " ".join(f"{_slot(x, count):.1f},{up(y):.1f}" for x, y in edges)
            drawn.append(
                f'<polygon class="area a{place}" points="{spots}"><title>{escape(name)}</title>'
                "</polygon>"
            )
            below = above
        return "".join(drawn)

    legend = "".join(
        f'<span class="key a{place}">{escape(name)}</span>' for place, name in enumerate(series)
    )
    return _plot(body, ticks=(0.0, 0.5, 1.0), label=unit, dates=dates, legend=legend, is_share=True)


def cells(rows: Mapping[str, Sequence[float]], *, unit: str, dates: Sequence[str] = ()) -> str:
    """A grid: a row a name, a column a moment, the darker the larger (values 0 to 1).

    Args:
        rows: values by name.
        unit: of the values, for the caption.
        dates: as for `lines`.
    """
    columns = max(len(row) for row in rows.values())
    tall = 20
    names = "".join(f'<span title="{escape(name)}">{escape(name)}</span>' for name in rows)
    squares = "".join(
        f'<rect class="cell" x="{_slot(n, columns):.1f}" y="{line * tall + 1}" '
        f'width="{max(0.9 * WIDTH / columns, 0.5):.1f}" height="{tall - 2}" '
        f'fill-opacity="{min(max(value, 0.0), 1.0):.2f}"><title>{escape(name)}, '
        f"check {n + 1}: {value:.2f}</title></rect>"
        for line, (name, row) in enumerate(rows.items())
        for n, value in enumerate(row)
    )
    return _figure(
        f'<div class="names">{names}</div>' + _stretched(squares, tall * len(rows), unit),
        label=unit,
        dates=dates,
        kind="grid",
    )


def bars(values: Mapping[str, float], *, unit: str) -> str:
    """Horizontal bars, the largest as wide as there is room."""
    top = max(values.values(), default=0.0) or 1.0
    rows = "".join(
        f"<span>{escape(name)}</span>"
        f'<svg viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="bar" width="{100 * value / top:.2f}" height="1"/></svg>'
        f"<b>{value:,.1f}</b>"
        for name, value in values.items()
    )
    caption = f"<figcaption>{escape(unit)}</figcaption>"
    return f'<figure><div class="bars">{rows}</div>{caption}</figure>'


def trials(found: Sequence[Mapping[str, Any]]) -> str:
    """Scores of trials in their order as dots, the best so far as a line."""
    scored = [trial for trial in found if trial["score"] is not None]
    if len(scored) < _FEWEST:
        return ""
    scores = np.array([trial["score"] for trial in scored])
    # A few hopeless trials would flatten all others.
    low, high = float(np.quantile(scores, 0.1)), float(scores.max())
    spread = (high - low) or 1.0
    heights = np.clip((scores - low) / spread, 0.0, 1.0)
    last = max(trial["number"] for trial in scored) + 1
    dots = "".join(
        f'<circle class="{escape(trial["origin"])}" r="4" cx="{_across(trial["number"], last):.1f}"'
        f' cy="{_up(float(height)):.1f}"><title>trial {trial["number"]}, '
        f"{escape(trial['origin'])}, {trial['score']:.4g}</title></circle>"
        for trial, height in zip(scored, heights, strict=True)
    )
    best = np.maximum.accumulate(heights)
    spots = " ".join(
        f"{_across(trial['number'], last):.1f},{_up(float(height)):.1f}"
        for trial, height in zip(scored, best, strict=True)
    )
    legend = " ".join(
        f'<span class="key {name}">{name}</span>'
        for name in ("default", "champion", "random", "bayesian")
    )
    label = f"best {high:.4g}; each dot a trial, higher is better"
    return _svg(f'<polyline class="best" points="{spots}"/>{dots}', label) + f"<p>{legend}</p>"


def _across(number: int, count: int) -> float:
    return EDGE + (WIDTH - 2 * EDGE) * number / max(count - 1, 1)


def _up(share: float) -> float:
    return HEIGHT - EDGE - (HEIGHT - 2 * EDGE) * share


def _slot(number: float, count: int) -> float:
    """Where the slot of a period begins."""
    return WIDTH * number / max(count, 1)


def _spots(values: Sequence[float], up: Callable[[float], float]) -> str:
    """Points in the middle of their periods."""
    return " ".join(
        f"{_slot(n + 0.5, len(values)):.1f},{up(value):.1f}" for n, value in enumerate(values)
    )


def _steps(values: NDArray[np.float64]) -> list[tuple[int, float]]:
    return [(n + side, value) for n, value in enumerate(values.tolist()) for side in (0, 1)]


def _said(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= _WHOLE else f"{value:.4g}"


def _ticks(low: float, high: float) -> tuple[float, ...]:
    """Round numbers from below the lowest value to above the highest."""
    spread = (high - low) or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(spread / _TICKS))
    step = next(size * power for size in (1, 2, 5, 10) if size * power * _TICKS >= spread)
    first = math.floor(low / step + _LEEWAY)
    last = max(math.ceil(high / step - _LEEWAY), first + 1)
    return tuple(step * number for number in range(first, last + 1))


def _plot(  # noqa: PLR0913 (what a plot is made of)
    body: Callable[[Callable[[float], float]], str],
    *,
    ticks: Sequence[float],
    label: str,
    dates: Sequence[str] = (),
    legend: str = "",
    is_share: bool = False,
) -> str:
    """A plot with numbers at the left.

    Args:
        body: draws what is shown, given the function from values to heights.
        ticks: numbers at the left, ascending; the first and the last are the plot's edges.
        label: the caption.
        dates: as for `lines`.
        legend: HTML.
        is_share: numbers are written as percentages.
    """
    low, high = ticks[0], ticks[-1]

    def up(value: float) -> float:
        return ROOM + (TALL - 2 * ROOM) * (1 - (value - low) / (high - low))

    numbers = "".join(
        f'<text x="{SCALE - 8}" y="{up(tick) + 4:.1f}">'
        f"{f'{tick:.0%}' if is_share else f'{tick:,.10g}'}</text>"
        for tick in ticks
    )
    rules = "".join(
        f'<line class="rule" x1="0" x2="{WIDTH}" y1="{up(tick):.1f}" y2="{up(tick):.1f}"/>'
        for tick in ticks
    )
    scale = f'<svg class="scale" width="{SCALE}" height="{TALL}" aria-hidden="true">{numbers}</svg>'
    return _figure(
        scale + _stretched(rules + body(up), TALL, label), label=label, dates=dates, legend=legend
    )


def _stretched(body: str, tall: int, label: str) -> str:
    """A drawing as wide as there is room, always as high; it must hold no text."""
    return (
        f'<svg class="drawn" height="{tall}" viewBox="0 0 {WIDTH} {tall}" '
        f'preserveAspectRatio="none" role="img" aria-label="{escape(label)}">{body}</svg>'
    )


def _figure(
    body: str, *, label: str, dates: Sequence[str], legend: str = "", kind: str = "plot"
) -> str:
    below = "".join(f"<span>{escape(date)}</span>" for date in dates)
    return (
        f'<figure><div class="{kind}">{body}'
        + (f'<div class="dates">{below}</div>' if dates else "")
        + "</div>"
        + (f'<p class="legend">{legend}</p>' if legend else "")
        + f"<figcaption>{escape(label)}</figcaption></figure>"
    )


def _svg(body: str, label: str) -> str:
    return (
        f'<figure><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">'
        f"{body}</svg><figcaption>{escape(label)}</figcaption></figure>"
    )
