"""An intake on real row logs, for tests of what feeds it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from retuned.ingest.intake import Intake, NoModel, Parcel, Taken
from retuned.rows.house import RowLogs
from retuned.rows.log import RowLog
from retuned.runtime.clock import SystemClock
from retuned.runtime.metrics import Metrics
from retuned_pipelines.schema import Task
from retuned_pipelines.spec import ModelSpec

NEVER = threading.Event()


@dataclass
class InHouse:
    """Row logs and their intake; `fault` is raised in its stead as long as it is set."""

    directory: Path
    models: list[str] = field(default_factory=lambda: ["bikes"])
    fault: Exception | None = None
    asked: list[Parcel] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.clock = SystemClock()
        self.metrics = Metrics()
        self.rows = RowLogs(self.directory / "state" / "rows")
        self.intake = Intake(
            rows=self.rows,
            spec_of=self.spec,
            notice=lambda _: None,
            metrics=self.metrics,
            clock=self.clock,
        )

    def spec(self, model: str) -> ModelSpec:
        if model not in self.models:
            raise NoModel(model)
        metric = "neg_mean_absolute_error"
        return ModelSpec(name=model, task=Task.REGRESSION, target="y", time="at", metric=metric)

    def log(self, model: str = "bikes") -> RowLog:
        return self.rows.of(model, Task.REGRESSION)

    def take(self, model: str, parcel: Parcel) -> Taken:
        self.asked.append(parcel)
        if self.fault is not None:
            raise self.fault
        return self.intake.take(model, parcel)

    def fail(self, error: Exception) -> None:
        self.fault = error

    def mend(self) -> None:
        self.fault = None

    @property
    def held(self) -> tuple[int, int]:
        """Rows, and rows with a label."""
        counts = self.log().counts()
        return counts.rows, counts.labelled

    def outcomes(self, source: str) -> dict[str, int]:
        """What became of parcels, as the metrics tell it."""
        found = {}
        for metric in self.metrics.registry.collect():
            for sample in metric.samples:
                is_total = sample.name == "retuned_source_parcels_total"
                if is_total and sample.labels["source"] == source:
                    found[sample.labels["outcome"]] = int(sample.value)
        return found


def rows(first: int, last: int) -> list[dict[str, Any]]:
    return [{"id": n, "at": 1_700_000_000 + n, "x": n / 2} for n in range(first, last)]


def labels(first: int, last: int) -> list[dict[str, Any]]:
    return [{"id": n, "label": float(n)} for n in range(first, last)]


def ndjson(records: list[dict[str, Any]]) -> bytes:
    return b"".join(orjson.dumps(record) + b"\n" for record in records)
