"""Whatever happens to Redis, the champion keeps serving, and the registry comes right again."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from tests.integration.household import Household
from tests.integration.test_main_job import SPEC, world

from retuned.registry import keys
from retuned.registry.connect import connect
from retuned.registry.history.events import Event
from retuned.registry.pointer import Crowned
from retuned.registry.server import EmbeddedRedis
from retuned.registry.signing import Forged, SigningKey
from retuned.registry.versions import Registry

MODEL = SPEC.name


@dataclass
class Left:
    """What a daemon with a champion left when it stopped."""

    directory: Path
    registry: dict[bytes, bytes]
    seen: list[Event]


@pytest.fixture(scope="module")
def left(redis: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory) -> Left:
    house = Household(SPEC, tmp_path_factory.mktemp("left"), redis.socket)
    house.redis.flushall()
    house.keeper.resume()
    house.send(world(0, 600))
    house.settle()
    client: Any = house.redis
    registry = {key: client.dump(key) for key in client.keys("*")}
    house.close()
    return Left(house.directory, registry, house.seen)


@pytest.fixture
def house(redis: EmbeddedRedis, left: Left, tmp_path: Path) -> Iterator[Household]:
    """The same daemon, begun again on a copy."""
    shutil.copytree(left.directory, tmp_path, dirs_exist_ok=True)
    house = Household(SPEC, tmp_path, redis.socket, seen=list(left.seen))
    house.redis.config_set("maxmemory", "0")
    house.redis.flushall()
    for key, value in left.registry.items():
        house.redis.restore(key, 0, value)
    assert house.stage.restore(MODEL) is not None
    house.keeper.resume()
    house.settle()
    yield house
    house.redis.config_set("maxmemory", "0")
    house.close()


def serving(house: Household) -> Crowned:
    champion = house.stage.of(MODEL)
    assert champion is not None
    (answer,) = champion.predict([{"x": 1.0, "z": 0.0}])
    assert answer["prediction"] == pytest.approx(3.0, abs=0.5)
    return champion.crowned


def pointer(redis: Redis) -> bytes:
    found: Any = redis.get(keys.champion(MODEL))
    return bytes(found)


def kinds(house: Household) -> list[str]:
    return [event.kind.value for event in house.events.newest(MODEL, 1000)]


def look(house: Household, *, is_audit: bool = False) -> None:
    house.auditing.look(is_audit=is_audit)
    while house.forwarder.forward():
        pass


# Lost


def test_a_flushed_registry_is_restored_while_nothing_happens(house: Household) -> None:
    before, versions = serving(house), house.registry.versions(MODEL)
    revisions = house.registry.revisions(MODEL, 1)
    assert len(versions) == 2
    house.redis.flushall()
    look(house)
    assert house.registry.champion(MODEL) == before == serving(house)
    assert house.registry.versions(MODEL) == versions
    assert house.registry.revisions(MODEL, 1) == revisions
    for name in set(before.revision.artifacts) - {""}:
        assert house.registry.artifact(MODEL, name)
    assert kinds(house).count("restored") == 1
    look(house, is_audit=True)
    assert kinds(house).count("restored") == 1
    assert "forged" not in kinds(house)
    # Numbers and epoch go on.
    house.send(world(600, 900))
    house.settle()
    after = serving(house)
    assert after.epoch == before.epoch + 1
    assert after.revision.number == before.revision.number + 1
    assert house.registry.champion(MODEL) == after


def test_a_server_that_comes_back_empty_is_filled_again(
    house: Household, redis: EmbeddedRedis
) -> None:
    before = serving(house)
    redis.stop()
    assert serving(house) == before
    for path in redis.directory.iterdir():
        if path.name not in {"redis.sock", "redis.log"}:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    redis.start()
    assert house.redis.dbsize() == 0
    look(house)
    assert house.registry.champion(MODEL) == before
    assert kinds(house).count("restored") == 1


def test_while_redis_is_away_a_look_does_no_harm(house: Household, tmp_path: Path) -> None:
    pool = house.redis.connection_pool
    house.redis.connection_pool = connect(tmp_path / "nobody").connection_pool
    house.auditing.look(is_audit=True)
    assert serving(house)
    house.redis.connection_pool = pool
    look(house)
    assert house.registry.champion(MODEL) == serving(house)


def test_a_full_registry_keeps_nobody_from_serving(house: Household) -> None:
    before = serving(house)
    house.redis.config_set("maxmemory", "1")
    house.send(world(600, 900))
    with pytest.raises(RuntimeError, match="still waits"):
        house.lanes.drain(at_most=5)
    assert serving(house) == before
    assert any("out of memory" in trouble.error for trouble in house.keeper.troubles)
    assert house.registry.champion(MODEL) == before
    # Flushed as well, it is restored as soon as there is room.
    house.redis.flushall()
    house.auditing.look(is_audit=False)
    assert house.redis.dbsize() == 0
    house.redis.config_set("maxmemory", "0")
    house.settle()
    look(house)
    assert house.keeper.troubles == ()
    assert house.registry.champion(MODEL) == serving(house)
    assert serving(house).epoch == before.epoch + 1


def test_a_history_that_was_lost_is_put_back_while_nothing_happens(house: Household) -> None:
    look(house)
    before = [event.id for event in house.events.newest(MODEL, 1000)]
    house.redis.flushall()
    look(house)
    after = [event.id for event in house.events.newest(MODEL, 1000)]
    assert after[: len(before)] == before
    assert kinds(house)[len(before) :] == ["restored", "mended"]
    assert house.events.verified(MODEL).findings == []
    look(house, is_audit=True)
    assert len(house.events.newest(MODEL, 1000)) == len(after)


# Changed


@pytest.mark.parametrize("stands", ["", "nonsense", "old"])
def test_a_pointer_that_does_not_verify_is_told_and_put_right(
    house: Household, stands: str
) -> None:
    old = pointer(house.redis)
    house.send(world(600, 900))
    house.settle()
    before = serving(house)
    assert pointer(house.redis) != old
    house.redis.set(keys.champion(MODEL), old if stands == "old" else stands)
    look(house)
    assert serving(house) == before
    assert house.registry.champion(MODEL) == before
    (event,) = house.told("forged")
    assert "champion of demo is refused" in event.body["error"]
    assert event.body["is_restored"]
    assert kinds(house).count("forged") == kinds(house).count("restored") == 1


def test_a_takeover_meets_a_pointer_that_does_not_verify(house: Household) -> None:
    before = serving(house)
    house.redis.set(keys.champion(MODEL), "nonsense")
    house.send(world(600, 900))
    house.settle()
    assert house.keeper.troubles == ()
    after = serving(house)
    assert after.epoch == before.epoch + 1
    assert house.registry.champion(MODEL) == after


def test_a_champion_of_another_key_is_told_once_and_left_alone(house: Household) -> None:
    before = serving(house)
    artifacts = house.stage.artifacts(MODEL)
    house.redis.flushall()
    stranger = Registry(house.redis, SigningKey(bytes(32)))
    stranger.publish(
        before.version,
        before.revision,
        expected="",
        artifacts=artifacts,
        event=house.seen[-1],
    )
    theirs = pointer(house.redis)
    look(house)
    look(house)
    assert pointer(house.redis) == theirs
    assert serving(house) == before
    (event,) = house.told("forged")
    assert "RETUNED_SIGNING_KEY_FILE" in event.body["error"]
    assert not event.body["is_restored"]


def test_an_audit_mends_manifests_and_artifacts(house: Household) -> None:
    before = serving(house)
    name = next(name for name in before.revision.artifacts if name)
    data = house.registry.artifact(MODEL, name)
    house.redis.set(keys.chunk(MODEL, name, 0), b"changed")
    house.redis.hset(keys.versions(MODEL), "1", "changed")
    look(house, is_audit=True)
    assert house.registry.artifact(MODEL, name) == data
    assert [version.number for version in house.registry.versions(MODEL)] == [1, 2]
    told = " ".join(event.body["error"] for event in house.told("forged"))
    assert "version 1 of demo is refused" in told
    assert f"artifact {name[:12]} is not what its digest says" in told
    assert serving(house) == before


# Found at a start


def second(house: Household, redis: EmbeddedRedis, folder: Path) -> Household:
    """Another state directory with the same key."""
    folder.mkdir()
    shutil.copy(house.directory / "signing.key", folder / "signing.key")
    return Household(SPEC, folder, redis.socket)


def test_a_forged_artifact_is_not_adopted(
    house: Household, redis: EmbeddedRedis, tmp_path: Path
) -> None:
    name = next(name for name in serving(house).revision.artifacts if name)
    house.redis.set(keys.chunk(MODEL, name, 0), b"changed")
    other = second(house, redis, tmp_path / "other")
    try:
        with pytest.raises(Forged, match="not what its digest says"):
            other.workshop.adopt(SPEC)
        assert other.stage.of(MODEL) is None
    finally:
        other.close()


def test_manifests_tell_what_a_fit_can_be_made_again_from(house: Household) -> None:
    revision, version = serving(house).revision, serving(house).version
    assert revision.seed == SPEC.search.seed
    assert 0 < revision.first_time <= revision.last_time
    assert {"lightgbm", "python", "retuned", "scikit-learn"} <= set(revision.libraries)
    assert revision.schema_digest
    assert revision.rows == 600
    assert (version.parent, version.study) == (1, "s1")
