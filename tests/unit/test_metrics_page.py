"""Figures for Prometheus."""

from __future__ import annotations

from dataclasses import replace

from prometheus_client.parser import text_string_to_metric_families

from retuned.registry.history.events import Event, EventKind
from retuned.runtime.metrics import Metrics
from retuned_pipelines.recipe import Recipe
from retuned_pipelines.search.trial import Cost, Origin, Trial

TRIAL = Trial(
    number=0,
    batch=0,
    origin=Origin.DEFAULT,
    recipe=Recipe(family="constant"),
    score=0.5,
    train_score=0.6,
    cost=Cost(wall_s=1.0, cpu_s=2.5, peak_mb=9.0),
)


def figures(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """Every sample by its name and its labels' values, in the order of the labels' names."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(metrics.page().decode())
        for sample in family.samples
    }


def test_what_happened_is_counted_by_model() -> None:
    metrics = Metrics()
    metrics.ingested("bikes", "rows", accepted=3, duplicates=1, revised=0, rejected=2)
    metrics.ingested("bikes", "rows", accepted=1, duplicates=0, revised=0, rejected=0)
    metrics.predicted("bikes", 10, 0.004)
    metrics.event(Event(id="e", at=1.0, model="bikes", kind=EventKind.DRIFT, body={}))
    metrics.trial("bikes", TRIAL)
    metrics.trial("bikes", replace(TRIAL, number=1, score=None, error="timeout"))
    found = figures(metrics)
    assert found["retuned_ingested_total", "rows", "bikes", "accepted"] == 4
    assert found["retuned_ingested_total", "rows", "bikes", "rejected"] == 2
    assert found["retuned_predictions_total", "bikes"] == 10
    assert found["retuned_predict_seconds_count", "bikes"] == 1
    assert found["retuned_predict_seconds_bucket", "0.005", "bikes"] == 1
    assert found["retuned_predict_seconds_bucket", "0.0025", "bikes"] == 0
    assert found["retuned_events_total", "drift", "bikes"] == 1
    assert found["retuned_trials_total", "bikes", "ok"] == 1
    assert found["retuned_trials_total", "bikes", "failed"] == 1
    assert found["retuned_trial_cpu_seconds_total", "bikes"] == 5.0


def test_what_is_so_now_is_set() -> None:
    metrics = Metrics()
    metrics.rows("bikes", rows=9, labelled=7)
    metrics.rows("bikes", rows=10, labelled=8)
    metrics.look("bikes", champion=(2, 9), in_flight=1, troubles=1)
    metrics.look("bikes", champion=(3, 1), in_flight=2, troubles=0)
    metrics.registry_up(is_up=True)
    metrics.quarantine("bikes", rows=3, labels=1, dropped=2)
    metrics.label_delay("bikes", {"arrival": (60.0, 90.0)}, overdue=5)
    metrics.label_delay("rent", {}, overdue=None)
    metrics.unlogged("bikes", 7)
    found = figures(metrics)
    assert found["retuned_rows", "rows", "bikes"] == 10
    assert found["retuned_rows", "labelled", "bikes"] == 8
    assert found["retuned_champion_version", "bikes"] == 3
    assert found["retuned_champion_revision", "bikes"] == 1
    assert found["retuned_orders_in_flight", "bikes"] == 2
    assert found["retuned_troubles", "bikes"] == 0
    assert found[("retuned_registry_up",)] == 1
    assert found["retuned_quarantine", "rows", "bikes"] == 3
    assert found["retuned_quarantine", "dropped", "bikes"] == 2
    assert found["retuned_label_delay_seconds", "bikes", "0.9", "arrival"] == 90.0
    assert found["retuned_unlabelled_overdue", "bikes"] == 5
    assert ("retuned_unlabelled_overdue", "rent") not in found
    assert found["retuned_predictions_unlogged_total", "bikes"] == 7


def test_two_daemons_in_one_process_count_apart() -> None:
    one, other = Metrics(), Metrics()
    one.predicted("bikes", 1, 0.1)
    assert ("retuned_predictions_total", "bikes") not in figures(other)
