"""A champion that took over by luck: the one before it stays in shadow, and comes back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.integration.conftest import BIKES
from tests.integration.door import Door, feed, world
from tests.integration.fortune import NEARLY_CONSTANT, LuckyHouse, lucky_door, told
from tests.integration.test_http import BIKES as PATH

from retuned.cli import OK, main
from retuned.registry.server import EmbeddedRedis
from retuned_pipelines.care.facts import Called
from retuned_pipelines.recipe import Recipe
from retuned_pipelines.spec import ServePolicy

ALONE = replace(BIKES, serve=ServePolicy(max_members=1))
"""One model answers at a time, so that no other member makes up for a bad one."""

AS_GOOD = Recipe.of("linear", {"alpha": 0.1, "loss": "squared"})

STEP = 30


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    """Version 2, as good as no model, has taken over from version 1 by luck."""
    with lucky_door(ALONE, tmp_path) as door:
        feed(door, 0, 600)
        house(door).succeed(NEARLY_CONSTANT)
        assert house(door).champion == "2.1"
        yield door


def house(door: Door) -> LuckyHouse:
    assert isinstance(door.house, LuckyHouse)
    return door.house


def feed_until(
    door: Door, is_over: Callable[[], bool], *, first: int = 600, last: int = 1500
) -> int:
    """Let labels come, a few at a time, until something has happened; tells how many came."""
    for start in range(first, last, STEP):
        feed(door, start, start + STEP)
        if is_over():
            return start + STEP - first
    message = f"nothing happened on {last - first} labels: {house(door).champion}"
    raise AssertionError(message)


def status(door: Door) -> dict[str, Any]:
    found: dict[str, Any] = door.get(PATH).json()
    return found


def test_a_champion_that_is_worse_is_rolled_back_by_itself(door: Door) -> None:
    feed_until(door, lambda: house(door).champion.startswith("1."))
    (body,) = told(door, "rolled_back")
    assert body["who"] == "retuned"
    assert body["evidence"]["is_worse"]
    assert body["evidence"]["e_value"] >= 20 or body["evidence"]["highest"] >= 20
    # It had been refitted likewise: what answers is newer than what had answered before.
    assert body["revision"] > 2
    served = door.post(f"{PATH}/predict", {"rows": [{"x<b>": 1.0}, {"x<b>": -1.0}]}).json()
    assert served["version"] == house(door).champion
    high, low = (item["prediction"] for item in served["predictions"])
    assert high - low == pytest.approx(6.0, abs=2.0)
    assert status(door)["probation"] is None
    assert door.house.registry.sealed("bikes", 1).revision.name == house(door).champion


def test_everybody_who_asks_is_told_of_the_probation(
    door: Door, capsys: pytest.CaptureFixture[str]
) -> None:
    feed(door, 600, 600 + STEP)
    found = status(door)["probation"]
    assert (found["version"], found["beside"], found["labels"]) == (2, 1, STEP)
    assert (found["threshold"], found["until"]) == (pytest.approx(20), 10_000)
    assert found["shadow"].startswith("1.")
    told = f"on probation beside version 1: {STEP} of 10,000 labels"
    assert told in door.get("/models/bikes").text
    one, two = door.get(f"{PATH}/versions").json()["items"]
    assert (one["role"], two["role"]) == ("shadow", "champion")
    assert door.get(f"{PATH}/versions/2").json()["probation"]["beside"] == 1
    for command, expected in (
        (["status", "bikes"], told),
        (["versions", "bikes"], "2 champion, on probation"),
        (["versions", "bikes", "1"], "in shadow"),
    ):
        assert main([*command, "--url", door.url]) == OK
        assert expected in " ".join(capsys.readouterr().out.split())


def test_an_operators_rollback_ends_it_and_begins_no_other(door: Door) -> None:
    feed(door, 600, 600 + STEP)
    assert door.post(f"{PATH}/rollback", {"reason": "I know better"}).status_code == 202
    door.house.settle()
    assert house(door).champion.startswith("1.")
    assert status(door)["probation"] is None
    feed(door, 600 + STEP, 600 + 2 * STEP)
    assert status(door)["probation"] is None


def test_a_champion_that_is_not_worse_is_confirmed(tmp_path: Path) -> None:
    short = replace(ALONE, gate=replace(ALONE.gate, probation_rows=60))
    with lucky_door(short, tmp_path) as door:
        feed(door, 0, 600)
        house(door).succeed(AS_GOOD)
        assert house(door).champion == "2.1"
        feed_until(door, lambda: status(door)["probation"] is None)
        (body,) = told(door, "confirmed")
        assert (body["version"], body["predecessor"]) == (2, 1)
        assert body["rows"] >= 60
        assert house(door).champion.startswith("2.")


def test_a_daemon_that_was_killed_goes_on_with_it(tmp_path: Path, redis: EmbeddedRedis) -> None:
    before = LuckyHouse(ALONE, tmp_path, redis.socket)
    before.keeper.resume()
    send(before, 0, 600)
    before.succeed(NEARLY_CONSTANT)
    send(before, 600, 600 + STEP)
    known = before.keeper.state.reign
    assert known is not None
    assert known.probation is not None
    # In the middle of what follows from labels: they are known, nothing has come of them yet.
    before.send(records(600 + STEP, 600 + 2 * STEP))
    before.close()

    after = LuckyHouse(ALONE, tmp_path, redis.socket)
    try:
        assert after.keeper.state.reign == known
        after.stage.restore(ALONE.name)
        assert after.champion == known.revision.name
        after.keeper.resume()
        after.settle()
        reign = after.keeper.state.reign
        assert reign is not None
        assert reign.probation is not None
        pairs = reign.probation.pairs
        assert pairs.blocks * pairs.rows + pairs.waiting == 2 * STEP
        goes_back_by_itself(after, 600 + 2 * STEP)
    finally:
        after.close()


def goes_back_by_itself(house: LuckyHouse, first: int) -> None:
    """Rows and labels come until version 1 answers again."""
    for begun in range(first, 1500, STEP):
        send(house, begun, begun + STEP)
        if house.champion.startswith("1."):
            break
    (event,) = house.told("rolled_back")
    assert event.body["who"] == "retuned"


def test_a_daemon_that_was_killed_between_registry_and_journal_begins_it_all_the_same(
    tmp_path: Path, redis: EmbeddedRedis
) -> None:
    spec = replace(ALONE, name="killed")
    before = LuckyHouse(spec, tmp_path, redis.socket)
    before.keeper.resume()
    send(before, 0, 600)
    before.is_killed = True
    before.succeed(NEARLY_CONSTANT)
    assert before.champion == "2.1"
    known = before.keeper.state.reign
    assert known is not None
    assert known.version.number == 1
    before.close()

    after = LuckyHouse(spec, tmp_path, redis.socket)
    try:
        after.stage.restore(spec.name)
        found = after.workshop.adopt(spec)
        assert found is not None
        after.keeper.accept(found)
        after.keeper.resume()
        after.settle()
        reign = after.keeper.state.reign
        assert reign is not None
        assert reign.probation is not None
        goes_back_by_itself(after, 600)
    finally:
        after.close()


def test_numbers_go_on_where_the_state_directory_was_lost_after_a_rollback(
    tmp_path: Path, redis: EmbeddedRedis
) -> None:
    spec = replace(ALONE, name="lost")
    (tmp_path / "before").mkdir()
    before = LuckyHouse(spec, tmp_path / "before", redis.socket)
    before.keeper.resume()
    send(before, 0, 600)
    before.succeed(NEARLY_CONSTANT)
    back = before.registry.sealed(spec.name, 1)
    before.keeper.accept(
        Called(
            now=before.clock.now(),
            action="rollback",
            who="ann",
            reason="it sells less",
            version=back.version,
            revision=back.revision,
        )
    )
    before.settle()
    assert before.champion.startswith("1.")
    before.close()

    key = tmp_path / "after" / "signing.key"
    key.parent.mkdir()
    key.write_bytes((tmp_path / "before" / "signing.key").read_bytes())
    key.chmod(0o600)
    after = LuckyHouse(spec, tmp_path / "after", redis.socket)
    try:
        found = after.workshop.adopt(spec)
        assert found is not None
        after.keeper.accept(found)
        after.keeper.resume()
        send(after, 0, 900)
        after.succeed(AS_GOOD)
        assert after.champion.startswith("3.")
    finally:
        after.close()


def records(first: int, last: int) -> list[dict[str, Any]]:
    rows, labels = world(first, last)
    return [{**row, "y": label["label"]} for row, label in zip(rows, labels, strict=True)]


def send(of: LuckyHouse, first: int, last: int) -> None:
    of.send(records(first, last))
    of.settle()
