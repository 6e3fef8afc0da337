"""Two versions side by side, over a real door."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration.conftest import BIKES
from tests.integration.door import Door, feed, world
from tests.integration.fortune import NEARLY_CONSTANT, LuckyHouse, lucky_door
from tests.integration.test_http import problem

from retuned.cli import OK, main
from retuned.registry import keys
from retuned_pipelines.care.facts import Called

PATH = "/v1/models/bikes"


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """Version 1 was champion, version 2 is, and labels came that neither knew; left as it is."""
    with lucky_door(BIKES, tmp_path_factory.mktemp("compared")) as door:
        grow(door)
        yield door


def grow(door: Door) -> None:
    house = door.house
    assert isinstance(house, LuckyHouse)
    feed(door, 0, 600)
    house.succeed(NEARLY_CONSTANT)
    assert house.champion == "2.1"
    # So that nothing learns from what comes.
    house.keeper.accept(Called(now=1.0, action="pause", who="test", reason=""))
    feed(door, 600, 900, shift=2.0)


def compared(door: Door, query: str = "") -> dict[str, Any]:
    answer = door.get(f"{PATH}/compare{query}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_the_champion_is_compared_with_its_predecessor(door: Door) -> None:
    found = compared(door)
    assert (found["left"]["version"], found["right"]["version"]) == (1, 2)
    assert (found["left"]["is_champion"], found["right"]["is_champion"]) == (False, True)
    assert found["right"]["name"] == "2.1"


def test_recipes_that_only_one_has_are_told(door: Door) -> None:
    found = compared(door)["recipes"]
    (new,) = found["only_right"]
    assert new["recipe"]["params"]["alpha"] == 1e6
    assert new["closest"]["family"] == "linear"
    assert new["differing"]["alpha"] == {"here": 1e6, "there": 1.0}
    assert found["both"]
    assert sum(one["left"] for one in found["both"]) <= 1.0


def test_both_are_scored_on_the_rows_that_neither_had_learned_from(door: Door) -> None:
    found = compared(door)
    scores = found["scores"]
    assert scores["rows"] == 300
    assert scores["first_seq"] > found["left"]["fitted_as_of"]
    own = scores["metrics"][0]
    assert own["metric"] == BIKES.metric
    # The lucky one is as good as no model.
    assert own["right"] < own["left"] < 0
    assert own["upper"] < 0
    assert scores["told"].startswith("2.1 is worse:")
    assert compared(door)["scores"] == scores, "asked twice, the same is answered"


def test_the_other_way_round_the_gain_has_the_other_sign(door: Door) -> None:
    found = compared(door, "?left=2&right=1")
    assert found["left"]["version"] == 2
    assert found["scores"]["told"].startswith("1.")
    assert "is better" in found["scores"]["told"]


def test_both_learned_from_the_same_rows(door: Door) -> None:
    drift = compared(door)["drift"]
    assert (drift["left"]["rows"], drift["right"]["rows"]) == (600, 600)
    assert (drift["left"]["looked_at"], drift["differing"]) == (600, 0)
    assert drift["features"] == 2


def test_what_serves_is_not_touched(door: Door) -> None:
    before = door.house.stage.of("bikes")
    compared(door)
    assert door.house.stage.of("bikes") is before


def test_what_cannot_be_compared_is_told(door: Door) -> None:
    problem(door.get(f"{PATH}/compare?left=2"), 422, "same-version")
    problem(door.get(f"{PATH}/compare?left=9"), 404, "no-version")
    problem(door.get(f"{PATH}/compare?left=x"), 422, "invalid")


def test_the_command_line_tells_it_in_lines(door: Door, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "bikes", "--url", door.url]) == OK
    told = capsys.readouterr().out
    for line in ("the champion", "alpha 1e+06 instead of 1", "2.1 is worse:", "training data"):
        assert line in told, told


def test_before_there_are_two_there_is_nothing_to_compare(tmp_path: Path) -> None:
    with lucky_door(BIKES, tmp_path) as door:
        problem(door.get(f"{PATH}/compare"), 503, "no-champion")
        feed(door, 0, 300)
        problem(door.get(f"{PATH}/compare"), 409, "no-predecessor")


def test_without_artifacts_recipes_and_training_data_are_compared_still(tmp_path: Path) -> None:
    with lucky_door(BIKES, tmp_path) as door:
        grow(door)
        newest = door.house.registry.sealed("bikes", 1)
        serving = door.house.stage.of("bikes")
        assert serving is not None
        alone = set(newest.revision.artifacts) - {"", *serving.crowned.revision.artifacts}
        for name in alone:
            door.house.redis.delete(keys.artifact("bikes", name))
        found = compared(door)
        assert found["scores"]["metrics"] == []
        assert "pin versions" in found["scores"]["told"]
        assert found["recipes"]["only_right"]
        assert found["drift"]["features"] == 2


def test_too_few_labels_are_told(tmp_path: Path) -> None:
    with lucky_door(BIKES, tmp_path) as door:
        feed(door, 0, 600)
        assert isinstance(door.house, LuckyHouse)
        door.house.succeed(NEARLY_CONSTANT)
        found = compared(door)["scores"]
        assert (found["rows"], found["metrics"]) == (0, [])
        assert found["told"].startswith("No label came")


def test_a_label_that_corrects_one_that_was_learned_from_is_left_out(tmp_path: Path) -> None:
    with lucky_door(BIKES, tmp_path) as door:
        grow(door)
        old = [{"id": n, "label": 100.0} for n in range(500, 600)]
        assert door.post(f"{PATH}/labels", old).is_success
        assert compared(door)["scores"]["rows"] == 300
        # A late label is as good as any.
        rows, labels = world(900, 960)
        assert door.post(f"{PATH}/rows", rows).is_success
        assert door.post(f"{PATH}/labels", labels).is_success
        assert compared(door)["scores"]["rows"] == 360


def test_an_artifact_that_was_changed_is_not_loaded(tmp_path: Path) -> None:
    with lucky_door(BIKES, tmp_path) as door:
        grow(door)
        house = door.house
        newest, serving = house.registry.sealed("bikes", 1), house.stage.of("bikes")
        assert serving is not None
        for name in set(newest.revision.artifacts) - {"", *serving.crowned.revision.artifacts}:
            house.redis.set(keys.chunk("bikes", name, 0), b"something else")
        assert "was changed" in compared(door)["scores"]["told"]
