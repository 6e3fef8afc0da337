"""What the registry keeps: retention, pins, and signatures of keys that were succeeded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import Redis
from tests.takeovers import KEY, MODEL, digest, event, publish

from retuned.errors import PermanentError
from retuned.registry import keys
from retuned.registry.history.event_log import EventLog
from retuned.registry.pins import NotPinned, Pin
from retuned.registry.pointer import Crowned
from retuned.registry.signing import SigningKey, UnknownKey, drop_older, rotate
from retuned.registry.versions import Registry
from retuned_pipelines.retention import kept_versions


def data(of: int, number: int = 1) -> bytes:
    return f"artifact of {of}.{number}".encode()


def reign(registry: Registry, *names: tuple[int, int], prune: bool = True) -> Crowned:
    """Let revisions take over one after the other, and prune as the daemon does."""
    before: Crowned | None = registry.champion(MODEL)
    for of, number in names:
        expected = "" if before is None else before.revision.name
        now = publish(
            registry,
            of,
            number,
            expected=expected,
            data=data(of, number),
            told=event(f"{of}.{number} after {expected}"),
        )
        if prune:
            registry.prune(now, None if before is None else before.revision)
        before = now
    assert before is not None
    return before


def kept(redis: Redis) -> set[str]:
    """Names (``n.r``) of the revisions whose artifacts are there."""
    found: Any = redis.smembers(keys.artifacts(MODEL))
    names = {name.decode() for name in found}
    return {
        f"{of}.{number}"
        for of in range(1, 15)
        for number in range(1, 5)
        if digest(data(of, number)) in names
    }


def pin(registry: Registry, version: int, name: str = "pinned") -> None:
    wanted = Pin(version=version, who="ann", reason="the audit", at=5.0)
    registry.pin(MODEL, wanted, event(name))


# Retention


def test_the_newest_revisions_of_the_newest_versions_stay(redis: Redis) -> None:
    registry = Registry(redis, KEY, keep_versions=3)
    reign(registry, (1, 1), (1, 2), (2, 1), (3, 1), (3, 2), (3, 3), (4, 1), (5, 1), (5, 2), (5, 3))
    # 5.2 is what 5.3 replaced; manifests stay, all of them.
    assert kept(redis) == {"3.3", "4.1", "5.2", "5.3"}
    assert [version.number for version in registry.versions(MODEL)] == [1, 2, 3, 4, 5]
    assert [revision.number for revision in registry.revisions(MODEL, 3)] == [1, 2, 3]


def test_the_predecessor_stays_however_long_the_reign(redis: Redis) -> None:
    registry = Registry(redis, KEY, keep_versions=1)
    reign(registry, (1, 1), (1, 2), (2, 1), (2, 2), (2, 3), (2, 4))
    assert kept(redis) == {"1.2", "2.3", "2.4"}


def test_an_old_version_that_is_champion_again_stays_and_so_does_what_it_replaced(
    redis: Redis,
) -> None:
    registry = Registry(redis, KEY, keep_versions=1)
    reign(registry, (1, 1), (2, 1), (1, 1), (1, 2))
    assert kept(redis) == {"1.1", "1.2", "2.1"}
    crowned = registry.champion(MODEL)
    assert crowned is not None
    assert crowned.predecessor == "2.1"


def test_a_pinned_version_stays_until_it_is_unpinned(redis: Redis, log: EventLog) -> None:
    registry = Registry(redis, KEY, keep_versions=1)
    reign(registry, (1, 1), (1, 2))
    pin(registry, 1)
    reign(registry, (2, 1), (3, 1), (4, 1))
    assert kept(redis) == {"1.2", "3.1", "4.1"}
    assert registry.pins(MODEL) == {1: Pin(version=1, who="ann", reason="the audit", at=5.0)}
    registry.unpin(MODEL, 1, event("unpinned"))
    assert registry.pins(MODEL) == {}
    reign(registry, (5, 1))
    assert kept(redis) == {"4.1", "5.1"}
    told = [one.id for one in log.newest(MODEL, 100)]
    assert told.count("pinned") == told.count("unpinned") == 1


def test_pinning_twice_is_told_once(registry: Registry, log: EventLog) -> None:
    reign(registry, (1, 1))
    pin(registry, 1)
    pin(registry, 1)
    assert [one.id for one in log.newest(MODEL, 100)].count("pinned") == 1


def test_a_version_whose_artifacts_are_gone_cannot_be_pinned(redis: Redis) -> None:
    registry = Registry(redis, KEY, keep_versions=1)
    reign(registry, (1, 1), (2, 1), (3, 1))
    with pytest.raises(NotPinned, match="not kept any more .RETUNED_REGISTRY__KEEP_VERSIONS"):
        pin(registry, 1)
    with pytest.raises(NotPinned, match="no version 9"):
        pin(registry, 9)
    with pytest.raises(NotPinned, match="version 2 of demo is not pinned"):
        registry.unpin(MODEL, 2, event("never"))
    assert registry.pins(MODEL) == {}


def test_pins_come_back_with_a_registry_that_lost_its_data(
    redis: Redis, registry: Registry
) -> None:
    serving = reign(registry, (1, 1))
    pin(registry, 1)
    redis.flushall()
    artifacts = {digest(data(1)): data(1)}
    assert registry.restore(serving, artifacts=artifacts, event=event("back")) == serving
    assert set(registry.pins(MODEL)) == {1}


def test_a_pin_that_was_changed_still_holds(redis: Redis, registry: Registry) -> None:
    reign(registry, (1, 1))
    pin(registry, 1)
    redis.hset(keys.pins(MODEL), "1", "nonsense")
    redis.hset(keys.pins(MODEL), "many", "nonsense")
    assert set(registry.pins(MODEL)) == {1}


NUMBERS = st.integers(1, 12)


@given(NUMBERS, st.integers(0, 12), st.sets(NUMBERS), st.sets(NUMBERS), st.integers(1, 12))
def test_champion_predecessor_and_pinned_versions_are_always_kept(
    champion: int, predecessor: int, known: set[int], pinned: set[int], newest: int
) -> None:
    found = kept_versions(
        champion=champion, predecessor=predecessor, known=known, pinned=pinned, newest=newest
    )
    needed = {champion, *pinned, *({predecessor} - {0})}
    assert needed <= found
    others = sorted(known, reverse=True)[:newest]
    assert found - needed <= set(others) <= found


# Rotation


def test_after_a_rotation_everything_is_signed_anew_and_the_old_key_can_go(
    redis: Redis, tmp_path: Path
) -> None:
    path = tmp_path / "signing.key"
    before = Registry(redis, SigningKey.load_or_make(path))
    serving = reign(before, (1, 1), (1, 2), (2, 1))
    rotate(path)
    after = Registry(redis, SigningKey.load_or_make(path))
    assert after.champion(MODEL) == serving
    assert [version.number for version in after.versions(MODEL)] == [1, 2]
    # A takeover in the meantime does no harm: the same manifest by another key is the same.
    serving = reign(after, (1, 2))
    after.mend(MODEL)
    after.reseal(MODEL)
    drop_older(path)
    newest = Registry(redis, SigningKey.load_or_make(path))
    assert newest.champion(MODEL) == serving
    assert [version.number for version in newest.versions(MODEL)] == [1, 2]
    assert [revision.number for revision in newest.revisions(MODEL, 1)] == [1, 2]
    with pytest.raises(UnknownKey):
        before.champion(MODEL)


def test_sealing_anew_keeps_the_epoch(redis: Redis, tmp_path: Path) -> None:
    path = tmp_path / "signing.key"
    serving = publish(Registry(redis, SigningKey.load_or_make(path)))
    rotate(path)
    registry = Registry(redis, SigningKey.load_or_make(path))
    registry.reseal(MODEL)
    sealed: Any = redis.get(keys.champion(MODEL))
    assert SigningKey.load(path).is_newest(sealed)
    assert registry.champion(MODEL) == serving
    registry.reseal(MODEL)
    assert redis.get(keys.champion(MODEL)) == sealed


def test_nothing_is_signed_anew_that_does_not_verify(redis: Redis, tmp_path: Path) -> None:
    path = tmp_path / "signing.key"
    publish(Registry(redis, SigningKey.load_or_make(path)))
    redis.append(keys.champion(MODEL), " ")
    rotate(path)
    with pytest.raises(PermanentError):
        Registry(redis, SigningKey.load_or_make(path)).reseal(MODEL)


# Versions that may come back


def test_whether_a_revision_is_kept_follows_its_artifacts(redis: Redis) -> None:
    registry = Registry(redis, KEY, keep_versions=1)
    reign(registry, (1, 1), (2, 1), (3, 1))
    assert not registry.is_kept(registry.sealed(MODEL, 1).revision)
    assert registry.is_kept(registry.sealed(MODEL, 2).revision)
