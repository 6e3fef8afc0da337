"""Whatever is changed in Redis is refused with a reason, and nothing of it runs."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from redis import Redis
from tests.takeovers import DATA, KEY, MODEL, digest, event, publish, revision, version

from retuned.errors import PermanentError
from retuned.registry import keys
from retuned.registry.artifacts import CHUNK_BYTES
from retuned.registry.history.event_log import EventLog
from retuned.registry.journal import Journal
from retuned.registry.memory import Fleeting
from retuned.registry.pointer import CHAMPION, Crowned, Stale, canonical
from retuned.registry.signing import Forged, SigningKey, UnknownKey
from retuned.registry.takeover import Conflict, Outcome, Takeover
from retuned.registry.versions import Registry
from retuned.runtime.clock import VirtualClock
from retuned_pipelines.models import artifact

OTHER = SigningKey(bytes(32))


def pointer(redis: Redis) -> bytes:
    found: Any = redis.get(keys.champion(MODEL))
    assert found is not None
    return bytes(found)


def parts(sealed: bytes) -> tuple[bytes, dict[str, Any]]:
    signature, _, text = sealed.partition(b"\n")
    return signature, orjson.loads(text)


def put(redis: Redis, signature: bytes, value: object) -> None:
    redis.set(keys.champion(MODEL), signature + b"\n" + canonical(value))


# The pointer


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all values that hold no others."""
    inner: Any = value.items() if isinstance(value, dict) else enumerate(value)
    found: list[tuple[Any, ...]] = []
    for name, one in inner:
        is_leaf = not isinstance(one, dict | list) or not one
        found += [(*path, name)] if is_leaf else leaves(one, (*path, name))
    return found


def changed(value: Any) -> Any:
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case str():
            return value[:-1] + chr(ord(value[-1]) ^ 1) if value else "x"
    return "x"


def test_every_field_of_the_pointer_is_signed(redis: Redis, registry: Registry) -> None:
    publish(registry)
    signature, _ = parts(pointer(redis))
    _, value = parts(pointer(redis))
    paths = leaves(value)
    assert len(paths) > 30
    for path in paths:
        _, copy = parts(signature + b"\n" + canonical(value))
        place = copy
        for name in path[:-1]:
            place = place[name]
        place[path[-1]] = changed(place[path[-1]])
        put(redis, signature, copy)
        with pytest.raises(Forged, match="champion of demo is refused.*was changed"):
            registry.champion(MODEL)
    put(redis, signature, value)
    assert registry.champion(MODEL) is not None


@pytest.mark.parametrize(
    "stands",
    [
        b"",
        b"\n",
        b"\xff",
        b"{}",
        b"[]\n[]",
        b"null\nnull",
        b"no signature\n{}",
        b":\n{}",
        KEY.id.encode() + b":\n{}",
        KEY.seal("version", b"{}"),
    ],
)
def test_whatever_stands_there_instead_is_forged(
    redis: Redis, registry: Registry, stands: bytes
) -> None:
    publish(registry)
    redis.set(keys.champion(MODEL), stands)
    with pytest.raises(Forged, match="champion of demo is refused"):
        registry.champion(MODEL)


@pytest.mark.parametrize("cut", range(0, 81, 5))
def test_a_signature_that_is_not_whole_is_forged(
    redis: Redis, registry: Registry, cut: int
) -> None:
    publish(registry)
    signature, value = parts(pointer(redis))
    put(redis, signature[:cut], value)
    with pytest.raises(Forged):
        registry.champion(MODEL)


def test_another_models_pointer_is_forged(redis: Redis, registry: Registry) -> None:
    publish(registry)
    redis.copy(keys.champion(MODEL), keys.champion("other"))
    with pytest.raises(Forged, match="champion of other is one of demo"):
        registry.champion("other")


def test_what_another_key_signed_names_it(redis: Redis, registry: Registry) -> None:
    publish(Registry(redis, OTHER))
    with pytest.raises(UnknownKey, match=f"signed with another key .{OTHER.id}.*{KEY.id}"):
        registry.champion(MODEL)


def test_an_old_pointer_that_is_put_back_is_refused(
    redis: Redis, registry: Registry, log: EventLog
) -> None:
    publish(registry)
    old = pointer(redis)
    publish(registry, 2, expected="1.1")
    redis.set(keys.champion(MODEL), old)
    with pytest.raises(Stale, match="older one .epoch 1; 2 was seen.*put back"):
        registry.champion(MODEL)
    # Nor can anything be built upon it.
    with pytest.raises(Stale):
        publish(registry, 3, expected="1.1")
    assert len(log.newest(MODEL, 10)) == 2


def test_an_old_pointer_is_told_after_a_restart_too(redis: Redis, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite", VirtualClock())
    publish(Registry(redis, KEY, journal))
    old = pointer(redis)
    publish(Registry(redis, KEY, journal), 2, expected="1.1")
    journal.close()
    redis.set(keys.champion(MODEL), old)
    journal = Journal(tmp_path / "journal.sqlite", VirtualClock())
    with pytest.raises(Stale):
        Registry(redis, KEY, journal).champion(MODEL)
    journal.close()


def test_who_only_read_the_newer_pointer_refuses_the_old_one_as_well(
    redis: Redis, registry: Registry
) -> None:
    reader = Registry(redis, KEY, Fleeting())
    publish(registry)
    old = pointer(redis)
    publish(registry, 2, expected="1.1")
    assert reader.champion(MODEL) == registry.champion(MODEL)
    redis.set(keys.champion(MODEL), old)
    with pytest.raises(Stale):
        reader.champion(MODEL)


def test_a_second_history_with_the_same_key_is_refused(redis: Redis, registry: Registry) -> None:
    publish(registry)
    old = pointer(redis)
    publish(registry, 2, expected="1.1")
    redis.set(keys.champion(MODEL), old)
    # A daemon that has seen nothing since the copy was made goes on from there.
    publish(Registry(redis, KEY), 3, expected="1.1")
    with pytest.raises(Forged, match="another one of the same epoch .2. was seen"):
        registry.champion(MODEL)


# Manifests


@pytest.mark.parametrize("field", ["model", "number", "study", "parent", "created_at"])
def test_a_versions_manifest_that_was_changed_is_left_out(
    redis: Redis, registry: Registry, field: str, caplog: pytest.LogCaptureFixture
) -> None:
    publish(registry)
    publish(registry, 2, expected="1.1")
    sealed: Any = redis.hget(keys.versions(MODEL), "1")
    signature, value = parts(sealed)
    value[field] = changed(value[field])
    redis.hset(keys.versions(MODEL), "1", signature + b"\n" + canonical(value))  # type: ignore[arg-type]
    assert registry.versions(MODEL) == (version(2),)
    assert "version 1 of demo is refused" in caplog.text


def test_a_manifest_under_another_number_is_left_out(redis: Redis, registry: Registry) -> None:
    publish(registry)
    sealed: Any = redis.hget(keys.versions(MODEL), "1")
    redis.hset(keys.versions(MODEL), "7", sealed)
    sealed = redis.hget(keys.revisions(MODEL, 1), "1")
    redis.hset(keys.revisions(MODEL, 1), "7", sealed)
    redis.hset(keys.revisions(MODEL, 7), "1", sealed)
    assert registry.versions(MODEL) == (version(),)
    assert registry.revisions(MODEL, 1) == (revision(),)
    assert registry.revisions(MODEL, 7) == ()


def test_a_manifest_of_another_model_or_kind_is_left_out(redis: Redis, registry: Registry) -> None:
    publish(registry)
    redis.copy(keys.versions(MODEL), keys.versions("other"))
    sealed: Any = redis.hget(keys.versions(MODEL), "1")
    redis.hset(keys.revisions(MODEL, 1), "1", sealed)
    assert registry.versions("other") == ()
    assert registry.revisions(MODEL, 1) == ()


def test_manifests_that_were_changed_or_lost_are_put_back_from_memory(
    redis: Redis, registry: Registry
) -> None:
    publish(registry)
    publish(registry, 1, 2, expected="1.1", data=b"newer")
    publish(registry, 2, expected="1.2")
    redis.hset(keys.versions(MODEL), "1", "{}")
    redis.hdel(keys.versions(MODEL), "2")
    redis.hset(keys.revisions(MODEL, 1), "2", "\n")
    ledger = registry.mend(MODEL)
    assert [is_back for _, is_back in ledger.wrong] == [True, True]
    assert ledger.lost == 1
    assert registry.versions(MODEL) == (version(), version(2))
    assert registry.revisions(MODEL, 1) == (revision(), revision(1, 2, b"newer"))
    again = registry.mend(MODEL)
    assert (again.wrong, again.lost) == ([], 0)


def test_a_manifest_that_nobody_remembers_stays_refused(redis: Redis, registry: Registry) -> None:
    publish(registry)
    redis.hset(keys.versions(MODEL), "9", "nonsense")
    ((why, is_back),) = registry.mend(MODEL).wrong
    assert "version 9 of demo is refused" in why
    assert not is_back


# Artifacts


BIG = bytes(range(256)) * (2 * CHUNK_BYTES // 256 + 10)


def swapped(redis: Redis, name: str) -> None:
    first: Any = redis.get(keys.chunk(MODEL, name, 0))
    second: Any = redis.get(keys.chunk(MODEL, name, 1))
    redis.set(keys.chunk(MODEL, name, 0), second[:-1] + b"?")
    redis.set(keys.chunk(MODEL, name, 1), first)


def bitten(redis: Redis, name: str) -> None:
    redis.setrange(keys.chunk(MODEL, name, 1), 77, "x")


def shortened(redis: Redis, name: str) -> None:
    redis.hset(keys.artifact(MODEL, name), "chunks", "1")


def lengthened(redis: Redis, name: str) -> None:
    redis.append(keys.chunk(MODEL, name, 2), "x")


def replaced(redis: Redis, name: str) -> None:
    redis.set(keys.chunk(MODEL, name, 0), DATA)
    redis.hset(keys.artifact(MODEL, name), "chunks", "1")


@pytest.mark.parametrize("tamper", [swapped, bitten, shortened, lengthened, replaced])
def test_an_artifact_that_was_changed_is_forged(
    redis: Redis, registry: Registry, tamper: Callable[[Redis, str], None]
) -> None:
    publish(registry, data=BIG)
    name = digest(BIG)
    assert registry.artifact(MODEL, name) == BIG
    tamper(redis, name)
    with pytest.raises(Forged, match="not what its digest says"):
        registry.artifact(MODEL, name)
    # Stored again, it is whole.
    registry.put_artifact(MODEL, name, BIG)
    assert registry.artifact(MODEL, name) == BIG


def test_another_models_artifact_under_this_ones_digest_is_forged(
    redis: Redis, registry: Registry
) -> None:
    publish(registry)
    other = b"of another model"
    registry.put_artifact("other", digest(other), other)
    for part in (keys.artifact, lambda model, name: keys.chunk(model, name, 0)):
        redis.copy(part("other", digest(other)), part(MODEL, digest(DATA)), replace=True)
    with pytest.raises(Forged):
        registry.artifact(MODEL, digest(DATA))


def test_an_artifact_is_stored_under_its_own_digest_only(registry: Registry) -> None:
    with pytest.raises(Forged):
        registry.publish(
            version(),
            revision(),
            expected="",
            artifacts={digest(DATA): b"something else"},
            event=event(),
        )
    assert registry.champion(MODEL) is None


class Bomb:
    """Makes a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def test_a_pickle_runs_nowhere(redis: Redis, registry: Registry, tmp_path: Path) -> None:
    bomb = pickle.dumps(Bomb(tmp_path / "exploded"))
    pickle.loads(pickle.dumps(Bomb(tmp_path / "fuse")))  # noqa: S301 (it does go off)
    assert (tmp_path / "fuse").exists()
    publish(registry)
    # As the artifact's bytes, the pointer and a manifest.
    redis.set(keys.chunk(MODEL, digest(DATA), 0), bomb)
    redis.set(keys.champion(MODEL), bomb)
    redis.hset(keys.versions(MODEL), "1", bomb)  # type: ignore[arg-type]
    with pytest.raises(Forged):
        registry.artifact(MODEL, digest(DATA))
    with pytest.raises(Forged):
        registry.champion(MODEL)
    assert registry.versions(MODEL) == ()
    # Even with our own signature over its digest it is no artifact.
    with pytest.raises(ValueError, match="no model artifact"):
        artifact.load(bomb)
    assert not (tmp_path / "exploded").exists()


# Putting back


def restore(registry: Registry, serving: Any, data: bytes = DATA) -> Any:
    return registry.restore(serving, artifacts={digest(data): data}, event=event("restored"))


def test_a_champion_that_was_lost_comes_back_as_it_was(
    redis: Redis, registry: Registry, log: EventLog
) -> None:
    publish(registry)
    serving = publish(registry, 2, expected="1.1")
    redis.flushall()
    assert registry.champion(MODEL) is None
    assert restore(registry, serving) == serving
    assert registry.champion(MODEL) == serving
    assert registry.versions(MODEL) == (version(), version(2))
    assert registry.revisions(MODEL, 1) == (revision(),)
    assert registry.artifact(MODEL, digest(DATA)) == DATA
    assert [told.id for told in log.newest(MODEL, 10)] == ["e1.1", "restored"]
    # Numbers and epoch go on from where they were.
    assert publish(registry, 3, expected="2.1").epoch == serving.epoch + 1
    redis.flushall()
    with pytest.raises(Conflict, match="is none, not 3.1"):
        publish(registry, 4, expected="3.1")


@pytest.mark.parametrize("stands", [b"", b"nonsense", b"a\nb"])
def test_what_does_not_verify_is_replaced_by_what_serves(
    redis: Redis, registry: Registry, stands: bytes
) -> None:
    serving = publish(registry)
    redis.set(keys.champion(MODEL), stands)
    assert restore(registry, serving) == serving
    assert registry.champion(MODEL) == serving


def test_an_old_pointer_is_replaced_by_what_serves(redis: Redis, registry: Registry) -> None:
    publish(registry)
    old = pointer(redis)
    serving = publish(registry, 2, expected="1.1")
    redis.set(keys.champion(MODEL), old)
    assert restore(registry, serving) == serving
    assert registry.champion(MODEL) == serving


def test_a_champion_that_verifies_is_not_replaced(redis: Redis, registry: Registry) -> None:
    serving = publish(registry)
    newer = publish(Registry(redis, KEY), 2, expected="1.1")
    assert restore(registry, serving) is None
    assert registry.champion(MODEL) == newer


def test_a_champion_of_another_key_is_left_alone(redis: Redis, registry: Registry) -> None:
    serving = publish(registry)
    redis.flushall()
    publish(Registry(redis, OTHER))
    before = pointer(redis)
    with pytest.raises(UnknownKey):
        restore(registry, serving)
    assert pointer(redis) == before


def test_what_serves_gets_a_higher_epoch_if_a_newer_champion_was_lost(
    redis: Redis, registry: Registry
) -> None:
    serving = publish(registry)
    publish(registry, 2, expected="1.1")
    redis.flushall()
    back = restore(registry, serving)
    assert back == replace(serving, epoch=3)
    assert registry.champion(MODEL) == back


def test_an_artifact_that_was_changed_is_mended_with_the_champion(
    redis: Redis, registry: Registry
) -> None:
    serving = publish(registry)
    redis.delete(keys.champion(MODEL))
    redis.set(keys.chunk(MODEL, digest(DATA), 0), b"changed")
    restore(registry, serving)
    assert registry.artifact(MODEL, digest(DATA)) == DATA


# Repetition


def test_a_request_that_comes_again_after_another_takeover_changes_nothing(
    registry: Registry, log: EventLog
) -> None:
    publish(registry)
    publish(registry, 2, expected="1.1", told=event("promote"))
    publish(registry, expected="2.1", told=event("back"))
    with pytest.raises(Conflict, match="took over when this was first asked for"):
        publish(registry, 2, expected="1.1", told=event("promote"))
    found = registry.champion(MODEL)
    assert found is not None
    assert (found.revision.name, found.epoch) == ("1.1", 3)
    assert len(log.newest(MODEL, 10)) == 3


def test_a_request_whose_champion_was_lost_can_be_made_again(
    redis: Redis, registry: Registry
) -> None:
    publish(registry)
    redis.delete(keys.champion(MODEL))
    assert publish(registry).epoch == 2


def test_what_an_older_release_wrote_is_no_other_version(redis: Redis, registry: Registry) -> None:
    publish(registry)
    sealed: Any = redis.hget(keys.versions(MODEL), "1")
    _, value = parts(sealed)
    # In other words: what this release writes has its keys in another order.
    older = KEY.seal("version", orjson.dumps(dict(reversed(value.items()))))
    redis.hset(keys.versions(MODEL), "1", older)  # type: ignore[arg-type]
    assert publish(registry, 1, 2, expected="1.1", data=b"newer").epoch == 2
    assert redis.hget(keys.versions(MODEL), "1") == older


def test_a_new_daemon_may_use_the_name_of_an_old_request_for_something_else(
    registry: Registry,
) -> None:
    publish(registry, told=event("demo-o3"))
    assert publish(registry, 2, expected="1.1", told=event("demo-o3")).epoch == 2


def test_no_takeover_without_its_artifacts(redis: Redis, registry: Registry) -> None:
    crowned = Crowned(version=version(), revision=revision(), epoch=1)
    takeover = Takeover(redis, KEY, EventLog(redis, KEY))
    assert takeover(crowned, None, event()) is Outcome.LOST
    assert registry.champion(MODEL) is None
    registry.put_artifact(MODEL, digest(DATA), DATA)
    assert takeover(crowned, None, event()) is Outcome.DONE
    assert registry.champion(MODEL) == crowned


def test_a_pointer_names_what_it_is_sealed_as() -> None:
    sealed = KEY.seal(CHAMPION, b"{}")
    with pytest.raises(Forged):
        KEY.unsealed("version", sealed)
    assert issubclass(Stale, PermanentError)
