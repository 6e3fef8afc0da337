"""What is printed."""

from __future__ import annotations

from statistics import fmean, median
from typing import TYPE_CHECKING

from rich.table import Table
from tests.benchmarks.groups import RETUNED
from tests.benchmarks.peers import MODULES
from tests.benchmarks.shows import BARS, best_of_six, cut

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.benchmarks.results import Figures

    Policies = Mapping[str, Figures]
    Streams = Mapping[str, Policies]

BEST = "best of six"
NOTHING = "-"


def cuts_table(streams: Streams) -> Table:
    """Loss cuts in % and CPU seconds by stream, and the cuts' mean and median."""
    peers = [name for name in MODULES if any(name in found for found in streams.values())]
    columns = [RETUNED, "refit_all", "refit_window", *peers, BEST]
    table = Table(title="Loss cut against never_refitted, %; CPU seconds")
    table.add_column("stream")
    for name in columns:
        table.add_column(name, justify="right")
        table.add_column("CPU s", justify="right", style="dim")
    table.add_column("which")
    table.add_column("persistence", justify="right")
    for stream, policies in streams.items():
        cells = [cell for name in columns for cell in _cells(policies, name)]
        last, _ = _cells(policies, "persistence")
        table.add_row(stream, *cells, best_of_six(policies) or NOTHING, last)
    table.add_section()
    for title, measure in (("mean", fmean), ("median", median)):
        table.add_row(title, *_summary(streams, columns, measure))
    table.add_row("streams", *_summary(streams, columns, len, "d"))
    return table


def shows_table(streams: Streams) -> Table:
    """The bars, what was measured, and whether it clears them."""
    table = Table(title="Shows")
    for name in ("", "measured", "where", "bar", "unit", "verdict"):
        table.add_column(name, justify="right" if name in {"measured", "bar"} else "left")
    for bar in BARS:
        reading = bar.read(streams)
        limit = f"{'>=' if bar.is_least else '<='} {bar.limit:.4g}"
        if reading is None:
            table.add_row(bar.name, NOTHING, "", limit, bar.unit, "not measured")
            continue
        is_cleared = bar.is_cleared(reading)
        table.add_row(
            bar.name,
            f"{reading.value:.2f}",
            reading.where,
            limit,
            bar.unit,
            "pass" if is_cleared else "FAIL",
            style=None if is_cleared else "bold red",
        )
    return table


def _cells(policies: Policies, name: str) -> tuple[str, str]:
    name = _named(policies, name)
    value = cut(policies, name)
    if value is None:
        return NOTHING, NOTHING
    return f"{value:+.1f}", f"{policies[name].cpu_s:.0f}"


def _summary(
    streams: Streams, columns: list[str], measure: Callable[[list[float]], float], form: str = ""
) -> list[str]:
    cells = []
    for name in columns:
        found = [cut(policies, _named(policies, name)) for policies in streams.values()]
        values = [value for value in found if value is not None]
        cells += [format(measure(values), form or "+.1f") if values else NOTHING, ""]
    return cells


def _named(policies: Policies, name: str) -> str:
    return best_of_six(policies) or "" if name == BEST else name
