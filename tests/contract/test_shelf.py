"""Versions that the registry keeps beside the champion."""

from __future__ import annotations

from typing import Any

import pytest
from redis import Redis
from tests.takeovers import DATA, KEY, MODEL, digest, event, publish, revision, version

from retuned.errors import PermanentError
from retuned.registry import keys
from retuned.registry.history.event_log import EventLog
from retuned.registry.memory import Fleeting
from retuned.registry.pins import Pin
from retuned.registry.shelf import NoVersion
from retuned.registry.signing import Forged, SigningKey, UnknownKey
from retuned.registry.takeover import Conflict
from retuned.registry.versions import Registry

BOUGHT = b"from elsewhere"


def shelve(registry: Registry, of: int = 2, data: bytes = BOUGHT) -> None:
    pin = Pin(version=of, who="ann", reason="bought", at=3.0)
    artifacts = {digest(data): data}
    registry.shelve(
        version(of), revision(of, 1, data), pin=pin, artifacts=artifacts, event=event("came")
    )


def test_a_version_is_kept_without_being_champion_and_told_of_once(
    redis: Redis, log: EventLog
) -> None:
    registry = Registry(redis, KEY, keep_versions=1)
    crowned = publish(registry)
    shelve(registry)
    shelve(registry)  # safe to repeat
    assert registry.champion(MODEL) == crowned
    assert [known.number for known in registry.versions(MODEL)] == [1, 2]
    found = registry.sealed(MODEL, 2)
    assert (found.version, found.revision) == (version(2), revision(2, 1, BOUGHT))
    assert [one.id for one in log.newest(MODEL, 9)].count("came") == 1


def test_it_stays_until_it_is_unpinned(redis: Redis) -> None:
    registry = Registry(redis, KEY, keep_versions=1)
    crowned = publish(registry)
    shelve(registry)
    publish(registry, 3, expected="1.1", data=b"third")
    crowned = publish(registry, 4, expected="3.1", data=b"fourth")
    registry.prune(crowned, None)
    assert registry.artifact(MODEL, digest(BOUGHT)) == BOUGHT
    with pytest.raises(PermanentError):
        registry.artifact(MODEL, digest(DATA))
    registry.unpin(MODEL, 2, event("unpinned"))
    registry.prune(crowned, None)
    with pytest.raises(PermanentError):
        registry.artifact(MODEL, digest(BOUGHT))
    assert registry.sealed(MODEL, 2).revision == revision(2, 1, BOUGHT)


def test_what_is_kept_takes_no_number_that_stands_for_something_else(registry: Registry) -> None:
    publish(registry)
    with pytest.raises(Conflict, match=r"another 1\.1 of demo already"):
        shelve(registry, 1)
    shelve(registry)
    with pytest.raises(Conflict, match=r"another 2\.1 of demo already"):
        publish(registry, 2, expected="1.1", data=b"another model")
    assert registry.sealed(MODEL, 1).revision == revision()
    assert registry.sealed(MODEL, 2).revision == revision(2, 1, BOUGHT)


def test_what_is_kept_can_be_made_champion(registry: Registry) -> None:
    publish(registry)
    shelve(registry)
    assert publish(registry, 2, expected="1.1", data=BOUGHT).epoch == 2


def test_an_artifact_is_kept_under_its_own_digest_only(registry: Registry) -> None:
    pin = Pin(version=2, who="ann", reason="", at=3.0)
    with pytest.raises(Forged):
        registry.shelve(
            version(2),
            revision(2, 1, BOUGHT),
            pin=pin,
            artifacts={digest(BOUGHT): b"something else"},
            event=event("came"),
        )
    assert registry.versions(MODEL) == ()


def test_its_manifests_come_back_with_a_registry_that_lost_them(redis: Redis) -> None:
    registry = Registry(redis, KEY, Fleeting())
    crowned = publish(registry)
    shelve(registry)
    redis.flushall()
    registry.restore(crowned, artifacts={digest(DATA): DATA}, event=event("back"))
    assert registry.sealed(MODEL, 2).version == version(2)
    assert set(registry.pins(MODEL)) == {2}


def test_any_revision_can_be_verified_by_its_name(registry: Registry) -> None:
    publish(registry)
    publish(registry, 1, 2, expected="1.1", data=b"refitted")
    assert registry.sealed(MODEL, 1).revision == revision(1, 2, b"refitted")
    assert registry.sealed(MODEL, 1, 1).revision == revision()
    with pytest.raises(NoVersion, match=r"no version 1\.3"):
        registry.sealed(MODEL, 1, 3)
    with pytest.raises(NoVersion, match="no version 9"):
        registry.sealed(MODEL, 9)


@pytest.mark.parametrize("key", [keys.versions(MODEL), keys.revisions(MODEL, 2)])
@pytest.mark.parametrize("text", [b"", b"\xff", b"{", b"null", b"0" * 64])
def test_what_is_kept_and_was_changed_is_forged(
    redis: Redis, registry: Registry, key: str, text: bytes
) -> None:
    publish(registry)
    shelve(registry)
    redis.hset(key, "2" if key == keys.versions(MODEL) else "1", text)
    with pytest.raises(Forged):
        registry.sealed(MODEL, 2)


def test_another_version_in_its_place_is_forged(redis: Redis, registry: Registry) -> None:
    publish(registry)
    shelve(registry)
    moved: Any = redis.hget(keys.versions(MODEL), "1")
    redis.hset(keys.versions(MODEL), "2", moved)
    with pytest.raises(Forged, match="it was moved"):
        registry.sealed(MODEL, 2)


def test_what_another_key_signed_is_not_known(redis: Redis, registry: Registry) -> None:
    shelve(Registry(redis, SigningKey(bytes(32))))
    with pytest.raises(UnknownKey):
        registry.sealed(MODEL, 2)
