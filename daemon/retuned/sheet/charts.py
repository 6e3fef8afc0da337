"""Charts as inline SVG."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WIDTH, HEIGHT, EDGE = 900, 160, 8
POINTS = 120
_FEWEST = 2


def line(losses: Sequence[float]) -> str:
    """Mean losses of consecutive rows, oldest first, as a line."""
    if len(losses) < _FEWEST:
        return '<p class="dim">No label has come since the champion began to serve.</p>'
    parts = np.array_split(np.asarray(losses), min(POINTS, len(losses)))
    means = [float(part.mean()) for part in parts]
    top = max(means) or 1.0
    spots = " ".join(
        f"{_across(n, len(means)):.1f},{_up(value / top):.1f}" for n, value in enumerate(means)
    )
    label = f"{len(losses):,} rows, mean {np.mean(losses):.4g}, highest point {top:.4g}"
    return _svg(f'<polyline class="line" points="{spots}"/>', label)


def lines(series: Mapping[str, Sequence[float]], *, unit: str) -> str:
    """Several lines over the same periods, each with its name beside its last point.

    Args:
        series: values (periods) by name; the first is drawn strongest.
        unit: of the values, for the caption.
    """
    values = [value for line in series.values() for value in line]
    low, high = min(values), max(values)
    spread = (high - low) or 1.0
    parts = []
    for place, line in enumerate(series.values()):
        spots = " ".join(
            f"{_across(n, len(line)):.1f},{_up((value - low) / spread):.1f}"
            for n, value in enumerate(line)
        )
        parts.append(f'<polyline class="series s{place}" points="{spots}"/>')
    legend = " ".join(
        f'<span class="key s{place}">{escape(name)}</span>' for place, name in enumerate(series)
    )
    label = f"{unit}, from {low:.4g} to {high:.4g}"
    return _svg("".join(reversed(parts)), label) + f"<p>{legend}</p>"


def areas(series: Mapping[str, Sequence[float]], *, unit: str) -> str:
    """Shares of a whole over time, one on top of the other; each column adds up to 1 or less."""
    below = np.zeros(max(len(row) for row in series.values()))
    parts = []
    for place, (name, row) in enumerate(series.items()):
        above = below + np.asarray(row)
        edge = [*enumerate(above.tolist()), *reversed(list(enumerate(below.tolist())))]
        spots = " ".join(f"{_across(n, len(row)):.1f},{_up(value):.1f}" for n, value in edge)
        parts.append(
            f'<polygon class="area a{place}" points="{spots}"><title>{escape(name)}</title>'
            "</polygon>"
        )
        below = above
    legend = "".join(
        f'<span class="key a{place}">{escape(name)}</span>' for place, name in enumerate(series)
    )
    return _svg("".join(parts), unit) + f'<p class="legend">{legend}</p>'


def cells(rows: Mapping[str, Sequence[float]], *, unit: str) -> str:
    """A grid: a row a name, a column a moment, the darker the larger (values 0 to 1)."""
    columns = max(len(row) for row in rows.values())
    height, left = 18, 170
    width = (WIDTH - left) / columns
    parts = []
    for line, (name, row) in enumerate(rows.items()):
        parts.append(
            f'<text class="name" x="{left - 8}" y="{line * height + 13}">{escape(name[:24])}</text>'
        )
        parts += [
            f'<rect class="cell" x="{left + n * width:.1f}" y="{line * height + 1}" '
            f'width="{max(width - 1, 0.5):.1f}" height="{height - 2}" '
            f'fill-opacity="{min(max(value, 0.0), 1.0):.2f}"><title>{escape(name)}, '
            f"check {n + 1}: {value:.2f}</title></rect>"
            for n, value in enumerate(row)
        ]
    return _svg("".join(parts), unit, height=height * len(rows))


def bars(values: Mapping[str, float], *, unit: str) -> str:
    """Horizontal bars, the largest as wide as the page."""
    top = max(values.values(), default=0.0) or 1.0
    height, left = 24, 170
    parts = [
        f'<text class="name" x="{left - 8}" y="{line * height + 16}">{escape(name)}</text>'
        f'<rect class="bar" x="{left}" y="{line * height + 3}" height="{height - 6}" '
        f'width="{(WIDTH - left - 90) * value / top:.1f}"/>'
        f'<text x="{left + (WIDTH - left - 90) * value / top + 6:.1f}" '
        f'y="{line * height + 16}">{value:,.1f}</text>'
        for line, (name, value) in enumerate(values.items())
    ]
    return _svg("".join(parts), unit, height=height * max(len(values), 1))


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


def _svg(body: str, label: str, *, height: int = HEIGHT) -> str:
    return (
        f'<figure><svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(label)}">'
        f"{body}</svg><figcaption>{escape(label)}</figcaption></figure>"
    )
