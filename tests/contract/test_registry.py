"""The registry, on every Redis that it supports: takeovers, artifacts, events, studies."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from tests.takeovers import DATA, KEY, MODEL, RECIPE, digest, event, publish, revision, version

from retuned.errors import ConfigError, PermanentError, TransientError
from retuned.registry import keys
from retuned.registry.artifacts import CHUNK_BYTES
from retuned.registry.connect import connect, ping, translated
from retuned.registry.history.event_log import EventLog
from retuned.registry.history.forward import Forwarder
from retuned.registry.journal import Journal
from retuned.registry.pointer import Crowned
from retuned.registry.server import EmbeddedRedis
from retuned.registry.studies import StudyBook, StudyRecord
from retuned.registry.takeover import Conflict
from retuned.registry.versions import Registry
from retuned.runtime.clock import VirtualClock
from retuned.settings import RedisSettings
from retuned_pipelines.care.orders import BEGINNING, Boundary
from retuned_pipelines.search.trial import Cost, Origin, Trial


def command(redis: Any, *words: str) -> None:
    redis.execute_command(*words)


# Takeovers


def test_nothing_is_known_of_a_new_model(registry: Registry) -> None:
    assert registry.champion(MODEL) is None
    assert registry.versions(MODEL) == ()
    assert registry.revisions(MODEL, 1) == ()


def test_what_is_published_is_champion_with_all_that_belongs_to_it(
    registry: Registry, log: EventLog
) -> None:
    crowned = publish(registry)
    assert crowned == Crowned(version=version(), revision=revision(), epoch=1)
    assert registry.champion(MODEL) == crowned
    assert registry.versions(MODEL) == (version(),)
    assert registry.revisions(MODEL, 1) == (revision(),)
    assert registry.artifact(MODEL, digest(DATA)) == DATA
    assert log.newest(MODEL, 10) == (event("e1.1"),)


def test_each_takeover_counts_and_numbers_ascend(registry: Registry, log: EventLog) -> None:
    epochs = [publish(registry).epoch]
    names = ["1.1"]
    for of, number in [(1, 2), (2, 1), *((10, number) for number in range(1, 12))]:
        epochs.append(publish(registry, of, number, expected=names[-1]).epoch)
        names.append(f"{of}.{number}")
    assert epochs == list(range(1, 15))
    assert [found.number for found in registry.versions(MODEL)] == [1, 2, 10]
    assert [found.number for found in registry.revisions(MODEL, 10)] == list(range(1, 12))
    assert len(log.newest(MODEL, 100)) == 14


def test_a_publish_that_is_repeated_changes_nothing(registry: Registry, log: EventLog) -> None:
    publish(registry)
    assert publish(registry, 2, expected="1.1").epoch == 2
    assert publish(registry, 2, expected="1.1").epoch == 2
    assert publish(registry, 2, expected="1.1", told=event("another")).epoch == 2
    assert len(log.newest(MODEL, 10)) == 2


def test_another_champion_than_expected_stays(registry: Registry, log: EventLog) -> None:
    publish(registry)
    with pytest.raises(Conflict, match=r"champion of demo is 1\.1, not none"):
        publish(registry, 2)
    with pytest.raises(Conflict, match=r"is 1\.1, not 1\.7"):
        publish(registry, 2, expected="1.7")
    found = registry.champion(MODEL)
    assert found is not None
    assert found.revision.name == "1.1"
    assert found.epoch == 1
    assert [known.number for known in registry.versions(MODEL)] == [1]
    assert len(log.newest(MODEL, 10)) == 1


def test_a_registry_that_lost_its_data_is_not_taken_for_a_new_one(registry: Registry) -> None:
    with pytest.raises(Conflict, match=r"is none, not 1\.1"):
        publish(registry, 1, 2, expected="1.1")


def test_the_same_name_with_other_content_is_a_conflict(registry: Registry) -> None:
    publish(registry)
    with pytest.raises(Conflict):
        publish(registry, data=b"another model")
    found = registry.champion(MODEL)
    assert found is not None
    assert found.revision == revision()


def test_a_number_never_stands_for_two_things(registry: Registry, log: EventLog) -> None:
    publish(registry)
    publish(registry, 2, expected="1.1")
    with pytest.raises(Conflict, match="never used twice"):
        publish(registry, expected="2.1", data=b"another model")
    assert registry.revisions(MODEL, 1) == (revision(),)
    assert len(log.newest(MODEL, 10)) == 2


def test_an_earlier_revision_can_be_made_champion_again(registry: Registry) -> None:
    publish(registry)
    publish(registry, 2, expected="1.1")
    back = publish(registry, expected="2.1", told=event("rolled back"))
    assert back.epoch == 3
    assert registry.champion(MODEL) == back
    assert [known.number for known in registry.versions(MODEL)] == [1, 2]


def test_of_publishes_at_the_same_time_exactly_one_wins(
    server: EmbeddedRedis, registry: Registry, log: EventLog
) -> None:
    def attempt(number: int) -> str:
        with closing(connect(server.socket)) as client:
            try:
                return publish(Registry(client, KEY), number).revision.name
            except Conflict:
                return ""

    with ThreadPoolExecutor(8) as pool:
        won = [name for name in pool.map(attempt, range(1, 25)) if name]
    assert len(won) == 1
    found = registry.champion(MODEL)
    assert found is not None
    assert (found.revision.name, found.epoch) == (won[0], 1)
    assert [f"{known.number}.1" for known in registry.versions(MODEL)] == won
    assert len(log.newest(MODEL, 100)) == 1


def test_a_publish_that_fails_half_way_leaves_nothing(
    redis: Redis, registry: Registry, log: EventLog
) -> None:
    with pytest.raises(Conflict):
        publish(registry, expected="9.9")  # its artifacts are stored by now
    redis.config_set("maxmemory", "1")
    with pytest.raises(TransientError, match="out of memory.*Raise its maxmemory"):
        publish(registry)
    assert registry.champion(MODEL) is None
    assert registry.versions(MODEL) == ()
    assert registry.revisions(MODEL, 1) == ()
    assert log.newest(MODEL, 10) == ()
    redis.config_set("maxmemory", "0")
    assert publish(registry).epoch == 1


def test_a_takeover_is_told_to_those_who_listen(redis: Redis, registry: Registry) -> None:
    client: Any = redis
    with closing(client.pubsub(ignore_subscribe_messages=True)) as listener:
        listener.subscribe(keys.changes(MODEL))
        assert listener.get_message(timeout=5) is None  # the subscription itself
        publish(registry)
        message = listener.get_message(timeout=5)
    assert message is not None
    assert message["data"] == b"1.1"


def test_models_do_not_see_each_other(registry: Registry) -> None:
    publish(registry)
    assert registry.champion("other") is None
    assert registry.versions("other") == ()


def test_a_models_keys_lie_on_one_node_of_a_cluster(
    redis: Redis, registry: Registry, book: StudyBook
) -> None:
    publish(registry)
    book.open(record())
    book.record(MODEL, "s1", trial(0))
    found: Any = redis.keys("*")
    assert found
    assert all(name.startswith(b"retuned:{demo}:") for name in found)


# Artifacts


def test_an_artifact_of_9_mb_comes_back_from_its_chunks(redis: Redis, registry: Registry) -> None:
    data = hashlib.shake_256(b"seed").digest(9_000_000)
    publish(registry, data=data)
    assert registry.artifact(MODEL, digest(data)) == data
    sizes = [redis.strlen(keys.chunk(MODEL, digest(data), number)) for number in range(3)]
    assert sizes == [CHUNK_BYTES, CHUNK_BYTES, 1_000_000]


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1])
def test_artifacts_of_any_size_come_back(registry: Registry, size: int) -> None:
    data = b"x" * size
    publish(registry, data=data)
    assert registry.artifact(MODEL, digest(data)) == data


def test_an_artifact_that_is_not_there_is_lost(registry: Registry) -> None:
    with pytest.raises(PermanentError, match="lost artifact .*: refit the model"):
        registry.artifact(MODEL, digest(DATA))


def test_an_artifact_without_one_of_its_chunks_is_lost(redis: Redis, registry: Registry) -> None:
    data = b"x" * (CHUNK_BYTES + 1)
    publish(registry, data=data)
    redis.delete(keys.chunk(MODEL, digest(data), 1))
    with pytest.raises(PermanentError, match="lost artifact"):
        registry.artifact(MODEL, digest(data))


@pytest.mark.parametrize("count", ["", "many", "-1", "0", "999999999999"])
def test_a_count_of_chunks_that_was_changed_does_no_harm(
    redis: Redis, registry: Registry, count: str
) -> None:
    publish(registry)
    redis.hset(keys.artifact(MODEL, digest(DATA)), "chunks", count)
    with pytest.raises(PermanentError, match="lost artifact"):
        registry.artifact(MODEL, digest(DATA))


# Events


def test_an_event_that_is_sent_twice_counts_once(log: EventLog) -> None:
    log.append(event("a"))
    log.append(event("b"))
    log.append(event("a"))
    assert log.newest(MODEL, 10) == (event("a"), event("b"))


def test_the_newest_events_come_oldest_first(log: EventLog) -> None:
    for number in range(5):
        log.append(replace(event(f"e{number}"), at=100.0 + number))
    assert [told.id for told in log.newest(MODEL, 2)] == ["e3", "e4"]
    assert log.newest("other", 10) == ()


def test_an_event_that_a_takeover_wrote_is_not_written_again(
    registry: Registry, log: EventLog
) -> None:
    publish(registry, told=event("order-7"))
    log.append(event("order-7"))
    assert len(log.newest(MODEL, 10)) == 1


def test_a_takeover_does_not_write_an_event_again(registry: Registry, log: EventLog) -> None:
    log.append(event("order-7"))
    assert publish(registry, told=event("order-7")).epoch == 1
    assert len(log.newest(MODEL, 10)) == 1


def test_many_who_send_the_same_events_write_each_once(
    server: EmbeddedRedis, log: EventLog
) -> None:
    def send(_: int) -> None:
        with closing(connect(server.socket)) as client:
            for number in range(20):
                EventLog(client, KEY).append(event(f"e{number:02}"))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(send, range(4)))
    assert sorted(told.id for told in log.newest(MODEL, 1000)) == [f"e{n:02}" for n in range(20)]


def test_what_waits_in_the_journal_arrives_once(
    tmp_path: Path, redis: Redis, log: EventLog
) -> None:
    with closing(Journal(tmp_path / "journal.sqlite", VirtualClock())) as journal:
        forwarder = Forwarder(EventLog(redis, KEY, journal), lambda: ping(redis))
        journal.append(MODEL, {}, [event("a"), event("b")])
        log.append(event("a"))  # as after a crash between sending and forgetting
        assert forwarder.forward() == 1
        assert forwarder.forward() == 0
        assert {told.id for told in log.newest(MODEL, 10)} == {"a", "b"}
        assert journal.waiting(10) == ()


def test_what_cannot_be_sent_waits_on(tmp_path: Path, redis: Redis, log: EventLog) -> None:
    with closing(Journal(tmp_path / "journal.sqlite", VirtualClock())) as journal:
        forwarder = Forwarder(EventLog(redis, KEY, journal), lambda: ping(redis))
        journal.append(MODEL, {}, [event("a")])
        redis.config_set("maxmemory", "1")
        with pytest.raises(TransientError):
            forwarder.forward()
        assert journal.waiting(10) == (event("a"),)
        redis.config_set("maxmemory", "0")
        assert forwarder.forward() == 1
        assert log.newest(MODEL, 10) == (event("a"),)


# Studies


def record(name: str = "s1", started_at: float = 5.0) -> StudyRecord:
    return StudyRecord(
        id=name,
        model=MODEL,
        as_of=900,
        started_at=started_at,
        rows=800,
        planned=30,
        boundary=Boundary(1_700_000_000_000_000, 900),
    )


def trial(number: int, score: float | None = -1.5) -> Trial:
    return Trial(
        number=number,
        batch=number // 4,
        origin=Origin.BAYESIAN,
        recipe=RECIPE,
        score=score,
        train_score=None if score is None else score + 0.25,
        fold_scores=() if score is None else (score, score),
        cost=Cost(wall_s=1.5, cpu_s=1.25, peak_mb=100.0),
        error="timeout" if score is None else "",
    )


def test_a_study_that_is_resumed_is_the_one_that_was_begun(book: StudyBook) -> None:
    assert book.open(record()) == record()
    assert book.open(replace(record(), started_at=99.0, rows=1)) == record()
    assert book.study(MODEL, "s1") == record()
    assert book.studies(MODEL) == (record(),)


def test_a_resumed_study_finds_its_trials_by_number(server: EmbeddedRedis, book: StudyBook) -> None:
    book.open(record())
    for number in [3, 0, 11, 2]:
        book.record(MODEL, "s1", trial(number))
    book.record(MODEL, "s1", trial(1, None))
    with closing(connect(server.socket)) as client:  # as after a restart
        found = StudyBook(client).trials(MODEL, "s1")
    assert found == (trial(0), trial(1, None), trial(2), trial(3), trial(11))


def test_a_trial_that_is_recorded_again_stays_as_it_was(book: StudyBook) -> None:
    book.record(MODEL, "s1", trial(0, -1.0))
    book.record(MODEL, "s1", trial(0, -9.0))
    assert book.trials(MODEL, "s1") == (trial(0, -1.0),)


def test_a_study_that_ended_says_how(book: StudyBook) -> None:
    book.open(record())
    ended = replace(
        record(),
        finished_at=50.0,
        stopped="plateau",
        best=RECIPE,
        best_trial=3,
        is_reproducible=False,
    )
    book.write(ended)
    assert book.study(MODEL, "s1") == ended
    assert book.open(record()) == ended


def test_studies_are_told_newest_first(book: StudyBook) -> None:
    for number in range(5):
        book.open(record(f"s{number}", started_at=10.0 + number))
    assert [found.id for found in book.studies(MODEL, 2)] == ["s4", "s3"]
    assert book.studies("other") == ()
    assert book.study(MODEL, "unknown") is None
    assert book.trials(MODEL, "unknown") == ()


def test_a_study_that_looked_at_no_rows_comes_back(book: StudyBook) -> None:
    empty = replace(record(), boundary=BEGINNING, rows=0)
    assert book.open(empty) == empty


# The connection


def test_a_registry_that_is_away_passes(tmp_path: Path) -> None:
    with closing(connect(tmp_path / "nobody.sock")) as client:
        with pytest.raises(TransientError, match="cannot be reached"):
            ping(client)
        with pytest.raises(TransientError, match="cannot be reached"):
            Registry(client, KEY).champion(MODEL)
        with pytest.raises(TransientError, match="cannot be reached"):
            publish(Registry(client, KEY))
        with pytest.raises(TransientError, match="cannot be reached"):
            EventLog(client, KEY).append(event())
        with pytest.raises(TransientError, match="cannot be reached"):
            StudyBook(client).open(record())


def test_a_replica_says_where_to_write(redis: Redis, log: EventLog) -> None:
    command(redis, "REPLICAOF", "127.0.0.1", "1")
    try:
        with pytest.raises(TransientError, match="name the primary"):
            log.append(event())
    finally:
        command(redis, "REPLICAOF", "NO", "ONE")


def test_a_user_without_rights_is_told_where_they_are_set(
    server: EmbeddedRedis, redis: Redis, tmp_path: Path
) -> None:
    command(redis, "ACL", "SETUSER", "reader", "on", ">secret", "~*", "+@read", "+@connection")
    url = f"unix://{server.socket}"
    (tmp_path / "password").write_text("secret\n")
    (tmp_path / "wrong").write_text("guess")
    allowed = RedisSettings(url=url, username="reader", password_file=tmp_path / "password")
    with closing(connect(allowed)) as client:
        assert Registry(client, KEY).champion(MODEL) is None
        with pytest.raises(PermanentError, match="refuses this user.*ACL GETUSER"):
            EventLog(client, KEY).append(event())
    refused = RedisSettings(url=url, username="reader", password_file=tmp_path / "wrong")
    with closing(connect(refused)) as client, pytest.raises(PermanentError, match="refuses"):
        ping(client)
    command(redis, "ACL", "DELUSER", "reader")


def test_a_key_of_another_kind_does_not_pass_by_itself(redis: Redis, registry: Registry) -> None:
    redis.rpush(keys.champion(MODEL), "taken")
    with pytest.raises(PermanentError, match="answered with an error.*WRONGTYPE"):
        registry.champion(MODEL)


def test_every_reply_of_a_server_that_is_busy_passes(redis: Redis) -> None:
    for word in ("BUSY", "NOREPLICAS", "TRYAGAIN", "CLUSTERDOWN", "MASTERDOWN"):
        with pytest.raises(TransientError, match="is busy"), translated():
            redis.eval(f"return redis.error_reply('{word} not now')", 0)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        (RedisSettings(url="redis://host:port"), "RETUNED_REDIS__URL=redis://host:port"),
        (RedisSettings(url="redis://[::1"), "RETUNED_REDIS__URL"),
        (
            RedisSettings(url="redis://host", password_file=Path("nowhere")),
            "RETUNED_REDIS__PASSWORD_FILE=nowhere cannot be read",
        ),
    ],
)
def test_settings_that_cannot_work_name_their_key(settings: RedisSettings, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        connect(settings)


def test_a_password_is_not_shown() -> None:
    with pytest.raises(ConfigError) as raised:
        connect(RedisSettings(url="redis://user:p@ss@host:port"))
    assert "p@ss" not in str(raised.value)
    assert "***@host:port" in str(raised.value)
