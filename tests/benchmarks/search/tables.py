"""Who found what, as ratios."""

from __future__ import annotations

from math import exp, log
from statistics import fmean
from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.benchmarks.results import Figures

OURS = "retuned"
NOT_WORSE = 1.01
"""Our loss, as a share of another's, up to which it is not worse."""


def mean_losses(
    found: Mapping[tuple[str, int], Mapping[str, Figures]],
) -> dict[str, dict[str, float]]:
    """Losses by table and rival: means over the seeds that all rivals of the table have."""
    losses: dict[str, dict[str, list[float]]] = {}
    for (table, _), figures in found.items():
        for rival, figure in figures.items():
            losses.setdefault(table, {}).setdefault(rival, []).append(figure.loss)
    return {
        table: {rival: fmean(values) for rival, values in by.items()}
        for table, by in losses.items()
    }


def tell(found: Mapping[tuple[str, int], Mapping[str, Figures]], seconds: int) -> Iterator[Table]:
    """Losses by table; and against each other rival on how many tables we are not worse."""
    losses = mean_losses(found)
    rivals = sorted({rival for by in losses.values() for rival in by}, key=lambda r: r != OURS)
    table = Table(title=f"{seconds} s: mean loss on the newest rows; ours as a share of theirs")
    table.add_column("table")
    for rival in rivals:
        table.add_column(rival, justify="right")
        if rival != OURS:
            table.add_column("ratio", justify="right")
    for name, by in losses.items():
        cells = []
        for rival in rivals:
            cells.append(f"{by[rival]:.5g}" if rival in by else "-")
            if rival != OURS:
                cells.append(f"{by[OURS] / by[rival]:.3f}" if {rival, OURS} <= set(by) else "-")
        table.add_row(name, *cells)
    yield table
    verdicts = Table(title=f"{seconds} s: against each")
    for title in ("rival", "not worse", "tables", "geometric mean of ratios", "worst", "best"):
        verdicts.add_column(title)
    for rival in rivals:
        ratios = [by[OURS] / by[rival] for by in losses.values() if {rival, OURS} <= set(by)]
        if rival == OURS or not ratios:
            continue
        verdicts.add_row(
            rival,
            str(sum(ratio <= NOT_WORSE for ratio in ratios)),
            str(len(ratios)),
            f"{exp(fmean(log(ratio) for ratio in ratios)):.3f}",
            f"{max(ratios):.3f}",
            f"{min(ratios):.3f}",
        )
    yield verdicts
