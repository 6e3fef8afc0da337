"""From the first row to a promoted model, with real rooms and a real Redis."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.integration.household import Household

from retuned.registry.connect import connect
from retuned.registry.server import EmbeddedRedis
from retuned_pipelines.care.facts import Called
from retuned_pipelines.recipe import EVERYTHING
from retuned_pipelines.schema import Task
from retuned_pipelines.search.trial import Origin, Trial
from retuned_pipelines.spec import (
    GatePolicy,
    ModelSpec,
    SearchPolicy,
    ServePolicy,
    WatchPolicy,
)

SPEC = ModelSpec(
    name="demo",
    task=Task.REGRESSION,
    target="y",
    metric="neg_mean_absolute_error",
    watch=WatchPolicy(every_rows=300, min_rows=300),
    search=SearchPolicy(trials=10, random_trials=4, batch=2, folds=2, cooldown_rows=300),
    gate=GatePolicy(block_rows=10),
)


@pytest.fixture
def house(redis: EmbeddedRedis, tmp_path: Path) -> Iterator[Household]:
    house = Household(SPEC, tmp_path, redis.socket)
    house.redis.flushall()
    house.keeper.resume()
    yield house
    house.close()


def world(first: int, last: int, *, slope: float = 3.0, seed: int = 0) -> list[dict[str, Any]]:
    """Rows whose label is a line in x, with a little noise."""
    rng = np.random.default_rng([seed, first])
    x, z = rng.normal(size=(2, last - first))
    noise = rng.normal(size=last - first) * 0.3
    return [
        {"id": number, "x": float(a), "z": float(b), "y": float(slope * a + b + e)}
        for number, a, b, e in zip(range(first, last), x, z, noise, strict=True)
    ]


def test_nothing_is_begun_before_there_are_enough_labels(house: Household) -> None:
    house.send(world(0, 299))
    house.settle()
    assert house.stage.of("demo") is None
    assert house.seen == []


def test_the_default_serves_first_and_a_better_recipe_after_the_first_study(
    house: Household,
) -> None:
    house.send(world(0, 600))
    house.settle()
    first, second = house.registry.versions("demo")
    assert first.members[0].recipe.family == "lightgbm"
    assert first.verdict.rival == "constant"
    # The world is a line; a linear model is simpler, and better.
    assert second.members[0].recipe.family == "linear"
    assert second.verdict.rival == "champion"
    assert second.parent == 1
    champion = house.stage.of("demo")
    assert champion is not None
    assert champion.crowned.version == second
    (answer,) = champion.predict([{"x": 1.0, "z": 0.0}])
    assert answer["prediction"] == pytest.approx(3.0, abs=0.3)


def test_a_study_begins_with_defaults_then_random_then_bayesian_trials(house: Household) -> None:
    house.send(world(0, 600))
    house.settle()
    (record,) = house.book.studies("demo")
    origins = [trial.origin for trial in house.book.trials("demo", record.id)]
    champions = origins.count(Origin.CHAMPION)
    assert 2 <= champions <= 3
    assert origins == [
        *[Origin.DEFAULT] * 2,
        *[Origin.CHAMPION] * champions,
        *[Origin.RANDOM] * 4,
        *[Origin.BAYESIAN] * (4 - champions),
    ]
    assert record.stopped == "all 10 trials were made"
    assert record.is_reproducible
    for trial in house.book.trials("demo", record.id):
        assert trial.score is not None
        assert trial.gap is not None
        assert trial.cost.wall_s > 0
        assert trial.cost.peak_mb > 0


def test_the_gate_looks_only_at_rows_that_the_study_has_not_used(house: Household) -> None:
    house.send(world(0, 600))
    house.settle()
    (record,) = house.book.studies("demo")
    version = house.registry.versions("demo")[-1]
    assert version.verdict.first_seq > record.boundary.seq


def test_a_changed_world_is_met_with_a_refit_and_then_with_a_search(house: Household) -> None:
    house.send(world(0, 600))
    house.settle()
    for first in range(600, 1500, 300):
        house.send(world(first, first + 300))
        house.settle()
    assert not [e for e in house.told("decided") if "loss" in str(e.body["reasons"])]
    studies = len(house.book.studies("demo"))
    house.send(world(1500, 1800, slope=-3.0))
    house.settle()
    alarms = house.told("drift")[-1].body["alarms"]
    assert "neg_mean_absolute_error" in {alarm["subject"] for alarm in alarms}
    decided = [e.body for e in house.told("decided") if "rose by" in e.body["reasons"][0]]
    assert [body["decision"] for body in decided] != ["retune"]
    assert len(house.book.studies("demo")) == studies
    # The world turns on, faster than refits follow.
    house.send(world(1800, 2100, slope=9.0))
    house.settle()
    assert len(house.book.studies("demo")) == studies + 1
    (asked,) = [
        e.body for e in house.told("decided") if "did not recover it" in e.body["reasons"][0]
    ]
    assert asked["decision"] == "retune"


def test_members_that_are_too_slow_leave_nothing_behind(house: Household) -> None:
    # Any model takes longer than this: one alone stays.
    house.spec = replace(SPEC, serve=ServePolicy(max_predict_ms=1e-6))
    house.settle()
    house.new_keeper()
    house.keeper.resume()
    house.send(world(0, 400))
    house.settle()
    champion = house.stage.of("demo")
    assert champion is not None
    assert sum(model is not None for model in champion.models) == 1
    assert champion.predict([{"x": 1.0, "z": 0.0}])
    left = [path for path in (house.directory / "work").rglob("*") if path.is_file()]
    assert left == []


def test_events_reach_the_registry_once_and_in_their_order(house: Household) -> None:
    house.send(world(0, 600))
    house.settle()
    while house.forwarder.forward():
        pass
    house.forwarder.forward()
    stored = house.events.newest("demo", 1000)
    assert sorted(e.id for e in stored) == sorted(e.id for e in house.seen)
    assert [e.kind for e in stored if e.kind.value in {"study", "verdict"}] == [
        e.kind for e in house.seen if e.kind.value in {"study", "verdict"}
    ]


def test_a_killed_daemon_repeats_what_was_in_flight(house: Household, redis: EmbeddedRedis) -> None:
    study = house.workshop.studies

    # The daemon dies in the middle of the first study, after five trials.
    def observe(_: str, trial: Trial) -> None:
        if trial.number == 4:
            house.stop.set()

    house.settle()
    house.workshop = replace(house.workshop, studies=replace(study, observe=observe))
    house.new_keeper()
    house.keeper.resume()
    house.send(world(0, 600))
    house.settle()
    recorded = house.book.trials("demo", "s1")
    assert 5 <= len(recorded) < 10
    house.close()

    second = Household(SPEC, house.directory, redis.socket)
    try:
        assert second.stage.restore("demo") is not None
        second.keeper.resume()
        second.settle()
        trials = second.book.trials("demo", "s1")
        assert trials[: len(recorded)] == recorded
        assert [trial.number for trial in trials] == list(range(10))
        assert len(second.tried) == 10 - len(recorded)
    finally:
        second.close()


def test_a_lost_state_directory_costs_no_champion(
    house: Household, redis: EmbeddedRedis, tmp_path: Path
) -> None:
    house.send(world(0, 600))
    house.settle()
    before = house.registry.champion("demo")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "signing.key").write_text((tmp_path / "signing.key").read_text())
    (tmp_path / "other" / "signing.key").chmod(0o600)
    second = Household(SPEC, tmp_path / "other", redis.socket)
    try:
        found = second.workshop.adopt(SPEC)
        assert found is not None
        second.keeper.accept(found)
        # Otherwise the next study would take the trials of the first for its own.
        assert second.keeper.state.studies == len(house.book.studies("demo")) > 0
        second.keeper.resume()
        second.settle()
        champion = second.stage.of("demo")
        assert champion is not None
        assert champion.crowned == before
        assert second.registry.champion("demo") == before
    finally:
        second.close()


def test_an_order_that_fails_is_tried_again_and_the_champion_keeps_serving(
    house: Household, tmp_path: Path
) -> None:
    house.send(world(0, 600))
    house.settle()
    pool = house.redis.connection_pool
    house.redis.connection_pool = connect(tmp_path / "nobody").connection_pool
    house.keeper.accept(Called(now=1.0, action="retune", who="test", reason=""))
    with pytest.raises(RuntimeError, match="still waits"):
        house.lanes.drain(at_most=3)
    (trouble,) = house.keeper.troubles
    assert "Redis cannot be reached" in trouble.error
    champion = house.stage.of("demo")
    assert champion is not None
    assert champion.predict([{"x": 0.0}])
    house.redis.connection_pool = pool
    house.settle()
    assert house.keeper.troubles == ()
    assert [e.kind.value for e in house.seen if e.kind.value in {"failed", "recovered"}] == [
        "failed",
        "recovered",
    ]
    assert len(house.book.studies("demo")) == 2


def test_a_registry_that_lost_everything_gets_the_champion_back(house: Household) -> None:
    house.send(world(0, 600))
    house.settle()
    house.redis.flushall()
    house.send(world(600, 900))
    house.settle()
    assert house.keeper.troubles == ()
    champion = house.registry.champion("demo")
    serving = house.stage.of("demo")
    assert champion is not None
    assert serving is not None
    assert champion == serving.crowned
    assert champion.revision.number == 2
    assert "restored" in {event.kind.value for event in house.events.newest("demo", 100)}


def test_the_weights_of_an_ensemble_follow_the_losses(house: Household) -> None:
    house.spec = replace(
        SPEC,
        serve=ServePolicy(max_members=5),
        # Nothing but weights and refits: no study is to help.
        watch=replace(SPEC.watch, loss_effect=1e9),
        search=replace(SPEC.search, trials=1, families=("lightgbm",)),
    )
    house.settle()
    house.new_keeper()
    house.keeper.resume()
    house.send(world(0, 1000))
    house.settle()
    founded = house.registry.versions("demo")[0].members
    assert len(founded) == 5
    assert founded[0].recipe.past == EVERYTHING
    for first in range(1000, 2000, 200):
        house.send(world(first, first + 200, slope=-3.0))
        house.settle()
    champion = house.stage.of("demo")
    assert champion is not None
    assert champion.crowned.version.number == 1
    weights = dict(zip(founded, champion.weights, strict=True))
    follower = next(member for member in founded if member.recipe.past.time_feature)
    assert weights[follower] > 2 * follower.weight
    assert weights[founded[0]] < founded[0].weight
    assert sum(champion.weights) == pytest.approx(1.0)
    # What serves is what was signed, and is there again after a restart.
    (answer,) = champion.predict([{"x": 1.0, "z": 0.0}])
    restored = house.stage.restore("demo")
    assert restored is not None
    assert restored.weights == champion.weights
    assert restored.predict([{"x": 1.0, "z": 0.0}]) == [answer]
