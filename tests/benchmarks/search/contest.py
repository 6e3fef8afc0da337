"""A contest: a table, its rows to search on, and the later ones that tell who found what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from retuned.replay.history import read_history

if TYPE_CHECKING:
    from tests.benchmarks.folder import Stream

    from retuned.replay.history import History
    from retuned_pipelines.spec import ModelSpec

NAMED = (
    "airquality_uci",
    "bank_marketing",
    "beijing_multisite",
    "bike_sharing",
    "elec2",
    "employment_ma",
    "metro_traffic",
    "noaa_weather",
    "nycflights13",
    "turbine_emission",
)
"""The ten tables, named before anything was measured on them.

Left out: outdoor (40 classes, many of them not among the older rows), occupancy (whole days of
one class) and beijing_pm25 (the same city and years as beijing_multisite).
"""

SEARCHED, SCORED = 0.6, 0.2
"""Shares of the rows: the oldest are searched on, the newest are scored on."""

OURS = (
    "SEARCH__TRIALS=10000",
    "GATE__SHARE=0.01",
    "GATE__BLOCKS=4",
)
"""Keys of our model file: as many trials as there is time for, and no rows kept for a gate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """What everybody gets.

    Attributes:
        stream: the table.
        spec: task, target, metric, seed, and our own keys.
        history: all rows, in order.
        seconds: that a search may take.
        threads: cores that it may use.
    """

    stream: Stream
    spec: ModelSpec
    history: History
    seconds: int
    threads: int

    @property
    def searched(self) -> int:
        """How many of the oldest rows are searched on and learned from."""
        return int(SEARCHED * len(self.history.window))

    @property
    def scored(self) -> tuple[int, int]:
        """First and last position (exclusive) of the rows that are scored on."""
        rows = len(self.history.window)
        return rows - int(SCORED * rows), rows


def contest(
    stream: Stream, *, seconds: int, seed: int, threads: int, policy: tuple[str, ...]
) -> Contest:
    """Set up a contest on a stream.

    Args:
        stream: the table.
        seconds: that a search may take.
        seed: of everything random.
        threads: cores that a search may use.
        policy: further keys of our model file, ``KEY=VALUE`` each.

    Raises:
        ConfigError: a key is wrong.
        PermanentError: the file cannot be read.
    """
    metric = "accuracy" if stream.task.is_classification else "neg_mean_absolute_error"
    keys = (f"METRIC={metric}", f"SEARCH__BUDGET_S={seconds}", *OURS, *policy)
    spec = stream.spec(keys, seed)
    history = read_history(stream.path, spec, periods=1, bootstrap=SEARCHED)
    return Contest(stream=stream, spec=spec, history=history, seconds=seconds, threads=threads)
