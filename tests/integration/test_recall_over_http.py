"""An operator lets a version take over: by number, or the one before, with a reason."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.integration.conftest import BIKES
from tests.integration.door import WAIT_S, Door, feed
from tests.integration.fortune import NEARLY_CONSTANT, LuckyHouse, lucky_door, told
from tests.integration.test_http import problem

from retuned.cli import FAILED, OK, USAGE, main
from retuned.registry import keys
from retuned_pipelines.care.facts import Called

PATH = "/v1/models/bikes"
WHY = {"who": "ada", "reason": "it was calmer"}


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    """A daemon with version 1, which is champion without a predecessor."""
    with lucky_door(BIKES, tmp_path) as door:
        feed(door, 0, 600)
        yield door


@pytest.fixture
def succeeded(door: Door) -> Door:
    """The same after version 2 has taken over."""
    house(door).succeed(NEARLY_CONSTANT)
    assert house(door).champion == "2.1"
    return door


def house(door: Door) -> LuckyHouse:
    assert isinstance(door.house, LuckyHouse)
    return door.house


@contextmanager
def settling(door: Door) -> Iterator[None]:
    """Let orders be carried out meanwhile, as the lanes' threads do."""
    is_over = threading.Event()

    def work() -> None:
        while not is_over.wait(0.02):
            door.house.settle()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join(WAIT_S)


def test_a_rollback_lets_the_version_before_answer_again(succeeded: Door) -> None:
    answer = succeeded.post(f"{PATH}/rollback", WHY)
    assert answer.status_code == 202
    found = answer.json()
    assert (found["version"], found["replaces"], found["is_serving"]) == (1, "2.1", False)
    succeeded.house.settle()
    assert house(succeeded).champion == found["name"]
    served = succeeded.post(f"{PATH}/predict", {"rows": [{"x<b>": 1.0}]}).json()["version"]
    assert served.startswith("1.")
    (body,) = told(succeeded, "rolled_back")
    assert (body["who"], body["reason"], body["replaces"]) == ("ada", "it was calmer", "2.1")
    said = told(succeeded, "operator")[-1]
    assert (said["action"], said["version"], said["who"]) == ("rollback", 1, "ada")
    # It can be taken back as well: then version 2 is the one before.
    assert succeeded.get(f"{PATH}/champion").json()["predecessor"] == "2.1"
    assert succeeded.post(f"{PATH}/rollback", WHY).json()["version"] == 2


def test_a_promotion_waits_for_the_version_to_serve_if_asked_to(succeeded: Door) -> None:
    with settling(succeeded):
        answer = succeeded.post(f"{PATH}/promote?wait=20", {**WHY, "version": 1})
    assert answer.status_code == 200
    found = answer.json()
    assert found["is_serving"] is True
    assert found["champion"].startswith("1.")
    assert told(succeeded, "promoted")[-1]["reason"] == "it was calmer"


def test_labels_refit_a_recalled_version_as_any_champion(succeeded: Door) -> None:
    name = succeeded.post(f"{PATH}/rollback", WHY).json()["name"]
    succeeded.house.settle()
    feed(succeeded, 600, 700)
    version, revision = house(succeeded).champion.split(".")
    assert (version, int(revision)) > ("1", int(name.partition(".")[2]))


def test_who_is_champion_already_is_not_promoted(door: Door) -> None:
    found = problem(door.post(f"{PATH}/promote", {**WHY, "version": 1}), 409, "not-promoted")
    assert "is the champion already" in found["detail"]


def test_while_another_takeover_is_under_way_one_asks_again(succeeded: Door) -> None:
    assert succeeded.post(f"{PATH}/promote", {**WHY, "version": 1}).status_code == 202
    found = problem(succeeded.post(f"{PATH}/promote", {**WHY, "version": 1}), 409, "not-promoted")
    assert "ask again" in found["detail"]


def test_the_reason_for_nothing_is_that_of_what_was_asked_whatever_else_is_due(door: Door) -> None:
    """Labels that wait let a refit be decided in the same breath."""
    door.house.keeper.accept(Called(now=1.0, action="pause", who="t", reason=""))
    feed(door, 600, 800)
    door.house.keeper.accept(Called(now=1.0, action="resume", who="t", reason=""))
    body = {**WHY, "version": 1}
    detail = problem(door.post(f"{PATH}/promote", body), 409, "not-promoted")["detail"]
    assert "already" in detail


def test_a_version_that_never_was_is_told(door: Door) -> None:
    problem(door.post(f"{PATH}/promote", {**WHY, "version": 9}), 404, "no-version")
    problem(door.post("/v1/models/nope/promote", {**WHY, "version": 1}), 404, "no-model")


def test_the_first_champion_has_no_predecessor(door: Door) -> None:
    problem(door.post(f"{PATH}/rollback", WHY), 409, "no-predecessor")


def test_before_there_is_a_champion_there_is_nothing_to_roll_back(fresh: Door) -> None:
    problem(fresh.post(f"{PATH}/rollback", WHY), 503, "no-champion")


def test_a_version_whose_artifacts_are_gone_cannot_come_back(succeeded: Door) -> None:
    house = succeeded.house
    newest = house.registry.sealed("bikes", 1)
    for name in set(newest.revision.artifacts) - {""}:
        house.redis.delete(keys.artifact("bikes", name))
    found = problem(succeeded.post(f"{PATH}/rollback", WHY), 409, "not-kept")
    assert "pin versions you may want back" in found["detail"]
    assert not told(succeeded, "operator")[1:]


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"version": 1}, "body.reason"),
        ({"version": 1, "reason": "  "}, "body.reason"),
        ({"reason": "because"}, "body.version"),
        ({"version": 0, "reason": "because"}, "body.version"),
        ({"version": True, "reason": "because"}, "body.version"),
    ],
)
def test_a_promotion_needs_a_version_and_a_reason(
    door: Door, body: dict[str, Any], where: str
) -> None:
    found = problem(door.post(f"{PATH}/promote", body), 422, "invalid")
    assert found["errors"][0]["where"] == where


def test_the_command_line_rolls_back_waits_and_tells(
    succeeded: Door, capsys: pytest.CaptureFixture[str]
) -> None:
    with settling(succeeded):
        assert main(["rollback", "bikes", "--reason", "worse", "--url", succeeded.url]) == OK
    assert "is champion, instead of 2.1." in capsys.readouterr().out
    assert "@" in told(succeeded, "rolled_back")[0]["who"]
    assert main(["promote", "bikes", "9", "--reason", "x", "--url", succeeded.url]) == FAILED
    assert "has no version 9" in capsys.readouterr().err


def test_the_command_line_asks_for_a_reason(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=str(USAGE)):
        main(["rollback", "bikes"])
    assert "--reason" in capsys.readouterr().err
