"""Figures for Prometheus; every metric's name stands here and nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

if TYPE_CHECKING:
    from retuned.registry.events import Event
    from retuned_pipelines.search.trial import Trial

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Metrics:
    """Counts what the daemon does. May be used from any thread."""

    def __init__(self) -> None:
        """Start at zero, in a registry of its own."""
        self.registry = CollectorRegistry()
        # Rows and labels that came, by what became of them: accepted, duplicates, revised,
        # rejected.
        self._ingested = Counter(
            "retuned_ingested_total",
            "Rows and labels that came.",
            ["model", "kind", "outcome"],
            registry=self.registry,
        )
        # Rows that were predicted.
        self._predicted = Counter(
            "retuned_predictions_total", "Rows predicted.", ["model"], registry=self.registry
        )
        # Seconds of a predict request, without the network.
        self._predict_seconds = Histogram(
            "retuned_predict_seconds",
            "Seconds of a predict request.",
            ["model"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        # Events of the history, by kind.
        self._events = Counter(
            "retuned_events_total", "Events.", ["model", "kind"], registry=self.registry
        )
        # Trials, by outcome: ok or failed.
        self._trials = Counter(
            "retuned_trials_total", "Trials.", ["model", "outcome"], registry=self.registry
        )
        # CPU seconds of trials.
        self._trial_cpu = Counter(
            "retuned_trial_cpu_seconds_total",
            "CPU seconds of trials.",
            ["model"],
            registry=self.registry,
        )
        # Rows and labels in the row log.
        self._rows = Gauge(
            "retuned_rows", "Rows in the row log.", ["model", "kind"], registry=self.registry
        )
        # Version and revision that serve.
        self._version = Gauge(
            "retuned_champion_version",
            "Version number that serves; 0 before there is one.",
            ["model"],
            registry=self.registry,
        )
        self._revision = Gauge(
            "retuned_champion_revision",
            "Revision number, within its version, that serves; 0 before there is one.",
            ["model"],
            registry=self.registry,
        )
        # Orders that were begun and have not ended.
        self._in_flight = Gauge(
            "retuned_orders_in_flight",
            "Orders that were begun and have not ended.",
            ["model"],
            registry=self.registry,
        )
        # Orders that failed and wait to be tried again.
        self._troubles = Gauge(
            "retuned_troubles",
            "Orders that failed and wait to be tried again.",
            ["model"],
            registry=self.registry,
        )
        # 1 while the registry answers.
        self._registry_up = Gauge(
            "retuned_registry_up", "Whether the registry answers.", registry=self.registry
        )

    def ingested(self, model: str, kind: str, **outcomes: int) -> None:
        """Count rows or labels by what became of them."""
        for outcome, count in outcomes.items():
            self._ingested.labels(model, kind, outcome).inc(count)

    def predicted(self, model: str, rows: int, seconds: float) -> None:
        """Count a predict request."""
        self._predicted.labels(model).inc(rows)
        self._predict_seconds.labels(model).observe(seconds)

    def event(self, event: Event) -> None:
        """Count an event."""
        self._events.labels(event.model, event.kind.value).inc()

    def trial(self, model: str, trial: Trial) -> None:
        """Count a trial."""
        self._trials.labels(model, "failed" if trial.score is None else "ok").inc()
        self._trial_cpu.labels(model).inc(trial.cost.cpu_s)

    def look(self, model: str, *, champion: tuple[int, int], in_flight: int, troubles: int) -> None:
        """Set what is read when somebody asks.

        Args:
            model: its name.
            champion: version and revision that serve; zeros before there is one.
            in_flight: orders that were begun.
            troubles: those among them that failed and wait.
        """
        version, revision = champion
        self._version.labels(model).set(version)
        self._revision.labels(model).set(revision)
        self._in_flight.labels(model).set(in_flight)
        self._troubles.labels(model).set(troubles)

    def rows(self, model: str, *, rows: int, labelled: int) -> None:
        """Set what the row log holds."""
        self._rows.labels(model, "rows").set(rows)
        self._rows.labels(model, "labelled").set(labelled)

    def registry_up(self, *, is_up: bool) -> None:
        """Set whether the registry answers."""
        self._registry_up.set(is_up)

    def page(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self.registry)
