"""Figures for Prometheus; every metric's name stands here and nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from retuned.registry.history.events import Event
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
        # Files and stream entries, by what became of them: taken, failed, postponed.
        self._parcels = Counter(
            "retuned_source_parcels_total",
            "Files of the spool and entries of streams.",
            ["model", "source", "outcome"],
            registry=self.registry,
        )
        # Batches with a column that appeared, vanished, or changed its type.
        self._schema_changes = Counter(
            "retuned_schema_changes_total",
            "Batches with a column that appeared, vanished, or changed its type.",
            ["model", "change"],
            registry=self.registry,
        )
        # Rows that were predicted.
        self._predicted = Counter(
            "retuned_predictions_total", "Rows predicted.", ["model"], registry=self.registry
        )
        # Predictions that could not be logged: too many at once, or the disk failed.
        self._unlogged = Counter(
            "retuned_predictions_unlogged_total",
            "Predictions that could not be logged.",
            ["model"],
            registry=self.registry,
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
        # Refused rows and labels in quarantine, and those that had to leave it (dropped).
        self._quarantine = Gauge(
            "retuned_quarantine",
            "Refused rows and labels in quarantine; dropped: those that had to leave it.",
            ["model", "kind"],
            registry=self.registry,
        )
        # Seconds after which labels come, since their rows came or since the rows' own time;
        # the newest labels count most.
        self._label_delay = Gauge(
            "retuned_label_delay_seconds",
            "Seconds after which labels come.",
            ["model", "since", "quantile"],
            registry=self.registry,
        )
        # Rows older than LABELS__HORIZON_S without a label; not there without a horizon.
        self._overdue = Gauge(
            "retuned_unlabelled_overdue",
            "Rows older than LABELS__HORIZON_S without a label.",
            ["model"],
            registry=self.registry,
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
        # 1 while this daemon has a model's lease; always, on a Redis of its own.
        self._lease_held = Gauge(
            "retuned_lease_held",
            "Whether this daemon has the model's lease.",
            ["model"],
            registry=self.registry,
        )
        # 1 while this daemon stands in for one that is gone, and has not its rows.
        self._suspended = Gauge(
            "retuned_decisions_suspended",
            "Whether nothing is decided, as the rows are with a daemon that is gone.",
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

    def parcel(self, model: str, source: str, outcome: str, count: int = 1) -> None:
        """Count files of the spool or entries of a stream: taken, failed or postponed."""
        self._parcels.labels(model, source, outcome).inc(count)

    def schema_changed(self, model: str, change: str) -> None:
        """Count a column of a batch that is not as it was."""
        self._schema_changes.labels(model, change).inc()

    def predicted(self, model: str, rows: int, seconds: float) -> None:
        """Count a predict request."""
        self._predicted.labels(model).inc(rows)
        self._predict_seconds.labels(model).observe(seconds)

    def unlogged(self, model: str, rows: int) -> None:
        """Count predictions that could not be logged."""
        self._unlogged.labels(model).inc(rows)

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

    def lease(self, model: str, *, is_held: bool, is_suspended: bool) -> None:
        """Set who has a model's lease."""
        self._lease_held.labels(model).set(int(is_held))
        self._suspended.labels(model).set(int(is_suspended))

    def rows(self, model: str, *, rows: int, labelled: int) -> None:
        """Set what the row log holds."""
        self._rows.labels(model, "rows").set(rows)
        self._rows.labels(model, "labelled").set(labelled)

    def quarantine(self, model: str, *, rows: int, labels: int, dropped: int) -> None:
        """Set what the quarantine holds, and what had to leave it."""
        self._quarantine.labels(model, "rows").set(rows)
        self._quarantine.labels(model, "labels").set(labels)
        self._quarantine.labels(model, "dropped").set(dropped)

    def label_delay(
        self, model: str, quantiles: Mapping[str, tuple[float, float]], *, overdue: int | None
    ) -> None:
        """Set how long labels take, and how many rows never got one.

        Args:
            model: its name.
            quantiles: median and ninth decile in seconds, by what they are counted from.
            overdue: rows older than the horizon without a label; None without a horizon.
        """
        for since, (median, p90) in quantiles.items():
            self._label_delay.labels(model, since, "0.5").set(median)
            self._label_delay.labels(model, since, "0.9").set(p90)
        if overdue is not None:
            self._overdue.labels(model).set(overdue)

    def registry_up(self, *, is_up: bool) -> None:
        """Set whether the registry answers."""
        self._registry_up.set(is_up)

    def page(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self.registry)
