"""A daemon that takes care of a model, one that only serves it, and one that stands in."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import MappingProxyType

import pytest
from tests.integration.door import Door
from tests.integration.household import Household
from tests.integration.test_custody import second as another
from tests.integration.test_main_job import SPEC, world

from retuned.auditing import Auditing
from retuned.leasing import Leasing
from retuned.registry import keys
from retuned.registry.lease.leases import LeaseBook, Party, Wish
from retuned.registry.lease.shared_tenures import SharedTenures
from retuned.registry.lease.tenure import Role, Term
from retuned.registry.memory import Fleeting
from retuned.registry.server import EmbeddedRedis

MODEL = SPEC.name
TERM = Term(lease_s=30)
OTHER = Party(id="other", url="http://other")


class Shared(Household):
    """A household whose keeper decides where it has the lease."""

    def new_keeper(self) -> None:
        self.tenures = SharedTenures(
            LeaseBook(self.redis),
            self.journal,
            Party(id="here", url="http://here"),
            TERM,
            now=self.clock.now,
        )
        super().new_keeper()
        self.keeper._may_decide = lambda: self.tenures.of(MODEL).role is Role.HOLDER
        self.taken_up: list[str] = []
        self.leasing = Leasing(
            tenures=self.tenures,
            keepers=lambda: MappingProxyType({MODEL: self.keeper}),
            take_up=self.taken_up.append,
            term=TERM,
        )


@pytest.fixture
def house(redis: EmbeddedRedis, tmp_path: Path) -> Iterator[Shared]:
    house = Shared(SPEC, tmp_path, redis.socket)
    house.redis.flushall()
    yield house
    house.leasing.close()
    house.close()


@pytest.fixture
def door(house: Shared) -> Iterator[Door]:
    door = Door(house, tenures=house.tenures)
    yield door
    door.close()


def other_holds(house: Shared) -> None:
    LeaseBook(house.redis).acquire(MODEL, OTHER, 60, Wish())
    house.leasing.turn()


def leads(house: Shared) -> None:
    """Let it have the lease, and rows enough for a champion."""
    house.leasing.turn()
    house.keeper.resume()
    house.send(world(0, 600))
    house.settle()


def other_is_gone(house: Shared) -> None:
    other_holds(house)
    house.redis.delete(keys.lease(MODEL))
    house.clock.move_to(house.clock.now() + 61)
    house.leasing.turn()


def kinds(house: Shared) -> list[str]:
    return [event.kind.value for event in house.seen]


def test_a_lease_that_is_taken_lets_the_keeper_go_on_once(house: Shared) -> None:
    house.leasing.turn()
    house.leasing.turn()
    assert house.taken_up == [MODEL]
    assert kinds(house) == []


def test_a_lease_of_another_is_told_and_nothing_is_begun(
    house: Shared, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        other_holds(house)
    assert house.taken_up == []
    assert "http://other takes care of it" in caplog.text


def test_who_stands_in_says_so_in_the_history(house: Shared) -> None:
    other_is_gone(house)
    (told,) = [event.body for event in house.seen]
    assert told == {
        "role": "stand-in",
        "holder": "http://here",
        "home": "http://other",
        "token": 2,
    }
    assert house.taken_up == []


def test_who_adopts_goes_on(house: Shared) -> None:
    other_is_gone(house)
    assert house.leasing.adopt(house.keeper).role is Role.HOLDER
    assert house.taken_up == [MODEL]


def test_a_model_that_is_gone_is_released(house: Shared) -> None:
    house.leasing.turn()
    house.leasing._keepers = lambda: MappingProxyType({})
    house.leasing.turn()
    assert not house.redis.exists(keys.lease(MODEL))


def test_redis_away_costs_a_lease_and_no_rows(
    house: Shared, door: Door, redis: EmbeddedRedis
) -> None:
    house.leasing.turn()
    redis.stop()
    try:
        house.clock.move_to(house.clock.now() + TERM.own_s)
        house.leasing.turn()
        assert house.tenures.of(MODEL).role is Role.STANDBY
        posted = door.post(f"/v1/models/{MODEL}/rows", [{"id": 1, "x": 1.0, "z": 0.0}])
        assert posted.json()["accepted"] == 1
        refused = door.post(f"/v1/models/{MODEL}/retune")
        assert (refused.status_code, refused.json()["type"]) == (503, "/problems/no-holder")
        assert "rows, labels and predictions go on" in refused.json()["detail"]
        told = f'retuned_decisions_suspended{{model="{MODEL}"}} 1.0'
        assert told in door.get("/metrics").text
    finally:
        redis.start()


CHANGES = [
    ("POST", "/rows"),
    ("POST", "/labels"),
    ("POST", "/retune"),
    ("POST", "/pause"),
    ("POST", "/resume"),
    ("POST", "/adopt"),
    ("DELETE", "/rows/1"),
    ("POST", "/quarantine/resend"),
    ("DELETE", "/quarantine"),
    ("POST", "/versions"),
    ("POST", "/versions/1/reproduce"),
    ("POST", "/versions/1/pin"),
    ("POST", "/versions/1/unpin"),
    ("GET", "/drift"),
    ("GET", "/compare"),
    ("GET", "/losses"),
    ("GET", "/quarantine"),
]


@pytest.mark.parametrize("action", ["promote", "rollback"])
def test_a_standby_lets_no_version_take_over(house: Shared, door: Door, action: str) -> None:
    other_holds(house)
    body = {"reason": "better"} | ({"version": 1} if action == "promote" else {})
    answer = door.post(f"/v1/models/{MODEL}/{action}", body)
    assert (answer.status_code, answer.json()["holder"]) == (421, "http://other")


@pytest.mark.parametrize(("method", "path"), CHANGES)
def test_a_standby_names_the_holder(house: Shared, door: Door, method: str, path: str) -> None:
    other_holds(house)
    answer = door.client.request(method, f"/v1/models/{MODEL}{path}")
    assert answer.status_code == 421
    problem = answer.json()
    assert (problem["type"], problem["holder"]) == ("/problems/not-the-holder", "http://other")
    assert "http://other takes care of" in problem["detail"]


def test_a_stand_in_takes_no_rows_and_says_what_to_do(house: Shared, door: Door) -> None:
    other_is_gone(house)
    for path in ("rows", "labels", "retune"):
        answer = door.post(f"/v1/models/{MODEL}/{path}")
        assert answer.status_code == 503
        problem = answer.json()
        assert (problem["type"], problem["home"]) == ("/problems/rows-elsewhere", "http://other")
        assert "retuned adopt" in problem["detail"]
        assert "retry-after" in answer.headers


def test_where_it_is_shown(house: Shared, door: Door) -> None:
    other_holds(house)
    assert door.get("/readyz").json()["standby"] == 1
    lease = door.get(f"/v1/models/{MODEL}").json()["lease"]
    assert lease == {
        "role": "standby",
        "holder": "http://other",
        "home": "http://other",
        "has_rows": False,
        "token": 1,
    }
    assert "Standby; http://other takes care of it." in door.get(f"/models/{MODEL}").text
    assert f'retuned_lease_held{{model="{MODEL}"}} 0.0' in door.get("/metrics").text


def test_a_standby_serves_each_new_champion_and_puts_nothing_right(
    house: Shared, redis: EmbeddedRedis, tmp_path: Path
) -> None:
    leads(house)
    with closing(another(house, redis, tmp_path / "second")) as second:
        auditing = Auditing(
            keepers=lambda: {MODEL: second.keeper},
            custody=second.workshop.custody,
            events=second.events,
            follow=second.workshop.follow,
            is_held=lambda _: False,
        )
        auditing.look(is_audit=True)
        ours, theirs = house.stage.of(MODEL), second.stage.of(MODEL)
        assert ours is not None
        assert theirs is not None
        assert theirs.crowned == ours.crowned
        house.redis.delete(keys.champion(MODEL))
        auditing.look(is_audit=True)
        assert not house.redis.exists(keys.champion(MODEL))
        assert second.stage.of(MODEL) is not None


def test_numbers_that_another_daemon_gave_out_are_not_used_again(
    house: Shared, redis: EmbeddedRedis, tmp_path: Path
) -> None:
    leads(house)
    with closing(another(house, redis, tmp_path / "second")) as second:
        found = second.workshop.adopt(SPEC)
        assert found is not None
        second.keeper.accept(found)
        assert second.keeper.state.studies == house.keeper.state.studies > 0
        assert second.keeper.state.versions == house.keeper.state.versions > 0


def test_a_memory_of_before_is_read_again(house: Shared) -> None:
    other_holds(house)
    again = SharedTenures(
        LeaseBook(house.redis), house.journal, Party(id="here", url=""), TERM, now=house.clock.now
    )
    assert again.of(MODEL).home == "http://other"
    assert again.of(MODEL).token == 1
    assert (
        SharedTenures(
            LeaseBook(house.redis), Fleeting(), Party(id="here", url=""), TERM, now=house.clock.now
        )
        .of(MODEL)
        .is_home
        is False
    )
