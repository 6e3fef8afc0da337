"""The history in Redis: one chain, whoever writes; complete again, whatever happens to Redis."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from tests.takeovers import KEY, MODEL, event, publish

from retuned.registry import keys
from retuned.registry.connect import connect
from retuned.registry.history import event_log
from retuned.registry.history.event_log import EventLog
from retuned.registry.history.events import Event
from retuned.registry.history.forward import Forwarder
from retuned.registry.journal import Journal
from retuned.registry.pins import Pin
from retuned.registry.server import EmbeddedRedis
from retuned.registry.signing import SigningKey, UnknownKey
from retuned.registry.versions import Registry
from retuned.runtime.clock import VirtualClock

NEW = SigningKey(bytes(range(1, 33)))
BOTH = SigningKey(NEW.secret, (KEY.secret,))


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with closing(Journal(tmp_path / "journal.sqlite", VirtualClock())) as journal:
        yield journal


@pytest.fixture
def log(redis: Redis, journal: Journal) -> EventLog:
    return EventLog(redis, KEY, journal)


def tell(log: EventLog, *names: str) -> None:
    for name in names:
        log.append(event(name))


def ids(log: EventLog) -> list[str]:
    """What is told, oldest first; what the log says of itself by its kind."""
    return [
        one.kind.value if one.kind in {"mended", "forged", "rekeyed"} else one.id
        for one in log.newest(MODEL, 10_000)
    ]


def body(log: EventLog, kind: str) -> Any:
    (found,) = [one.body for one in log.newest(MODEL, 100) if one.kind == kind]
    return found


def links(redis: Redis) -> list[bytes]:
    found: Any = redis.xrange(keys.events(MODEL))
    return [fields[b"link"] for _, fields in found]


def is_whole(log: EventLog) -> bool:
    return log.forward(MODEL) >= 0 and log.verified(MODEL).findings == []


def change(redis: Redis, at: int, text: str) -> None:
    """Write a stream anew with another text at one place."""
    found: Any = redis.xrange(keys.events(MODEL))
    redis.delete(keys.events(MODEL))
    for number, (name, fields) in enumerate(found):
        told = {**fields, b"event": text.encode()} if number == at else fields
        redis.xadd(keys.events(MODEL), told, id=name)


# Who writes


def test_all_who_write_go_on_from_each_other(redis: Redis, log: EventLog) -> None:
    registry = Registry(redis, KEY, events=log)
    tell(log, "a")
    publish(registry, told=event("promoted"))
    registry.pin(MODEL, Pin(version=1, who="ann", reason="", at=1.0), event("pinned"))
    tell(log, "b")
    registry.unpin(MODEL, 1, event("unpinned"))
    other = EventLog(redis, KEY)
    tell(other, "c")
    tell(log, "d", "promoted", "pinned")
    assert ids(log) == ids(other) == ["a", "promoted", "pinned", "b", "unpinned", "c", "d"]
    assert [link.split()[0] for link in links(redis)] == [b"%d" % n for n in range(1, 8)]
    assert is_whole(log)


def test_many_daemons_that_write_at_once_make_one_chain(
    server: EmbeddedRedis, redis: Redis, tmp_path: Path
) -> None:
    def work(who: int) -> None:
        path = tmp_path / f"{who}.sqlite"
        with (
            closing(connect(server.socket)) as client,
            closing(Journal(path, VirtualClock())) as journal,
        ):
            log = EventLog(client, KEY, journal)
            registry = Registry(client, KEY, events=log)
            for number in range(20):
                journal.append(MODEL, {}, [event(f"{who}.{number}.{n}") for n in range(2)])
                log.forward(MODEL)
                if number == 5 and who == 0:
                    publish(registry, told=event("promoted"))
            assert journal.waiting(10) == ()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    log = EventLog(redis, KEY)
    told = [one.id for one in log.newest(MODEL, 1000)]
    assert sorted(told) == sorted(
        ["promoted", *(f"{who}.{n}.{k}" for who in range(4) for n in range(20) for k in range(2))]
    )
    assert is_whole(log)


def test_another_model_has_a_chain_of_its_own(log: EventLog) -> None:
    tell(log, "a")
    log.append(event("a", "other"))
    assert log.verified("other").last.number == log.verified(MODEL).last.number == 1


# Killed


def send_for_ever(path: Path, socket: Path, first: int) -> None:
    """Journal events and forward them, until somebody kills this process."""
    journal = Journal(path, VirtualClock())
    log = EventLog(connect(socket), KEY, journal)
    while True:
        journal.append(MODEL, {"next": first + 1}, [event(f"e{first:05}")])
        log.forward(MODEL)
        first += 1


def test_whoever_is_killed_loses_and_doubles_nothing(
    server: EmbeddedRedis, redis: Redis, tmp_path: Path
) -> None:
    context = multiprocessing.get_context("fork")
    rng = random.Random(5)  # noqa: S311 (a game of chance)
    path, count = tmp_path / "journal.sqlite", 0
    for _ in range(10):
        process = context.Process(target=send_for_ever, args=(path, server.socket, count))
        process.start()
        process.join(rng.uniform(0.05, 0.15))
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        with closing(Journal(path, VirtualClock())) as journal:
            log = EventLog(redis, KEY, journal)
            while log.forward(MODEL):
                pass
            count = (journal.state(MODEL) or {"next": 0})["next"]
            assert ids(log) == [f"e{n:05}" for n in range(count)]
            assert is_whole(log)
    assert count > 0


# Redis lost something


def test_a_flushed_history_is_put_back_as_it_was(redis: Redis, log: EventLog) -> None:
    tell(log, "a", "b", "c")
    before = links(redis)
    redis.flushall()
    tell(log, "d")
    assert links(redis)[:3] == before
    assert is_whole(log)
    assert sorted(ids(log)) == ["a", "b", "c", "d", "mended"]
    assert body(log, "mended") == {"put_back": 3, "lost": 0}
    assert log.verified(MODEL).last.number == 5


def test_an_end_that_is_lost_is_put_back(redis: Redis, log: EventLog) -> None:
    tell(log, "a", "b", "c", "d")
    before, found = links(redis), redis.xrange(keys.events(MODEL))
    for name, _ in found[2:]:  # type: ignore[index, union-attr]
        redis.xdel(keys.events(MODEL), name)
    assert log.verified(MODEL).findings == ["the end is cut off: events 3 to 4 had been there"]
    log.catch_up(MODEL)
    assert links(redis) == before
    assert is_whole(log)
    assert body(log, "mended") == {"put_back": 2, "lost": 0}


def test_an_older_copy_that_is_put_back_is_brought_up_to_date(redis: Redis, log: EventLog) -> None:
    tell(log, "a", "b")
    redis.copy(keys.events(MODEL), "old")
    tell(log, "c", "d")
    before = links(redis)
    redis.rename("old", keys.events(MODEL))
    log.catch_up(MODEL)
    assert links(redis) == before


def test_a_long_history_comes_back_in_parts(redis: Redis, log: EventLog, journal: Journal) -> None:
    journal.append(MODEL, {}, [event(f"e{n}") for n in range(1300)])
    while log.forward(MODEL):
        pass
    before = links(redis)
    redis.flushall()
    log.catch_up(MODEL)
    assert links(redis) == before
    assert is_whole(log)


def test_two_histories_that_began_apart_become_one(redis: Redis, log: EventLog) -> None:
    tell(log, "a", "b", "c")
    redis.flushall()
    other = EventLog(redis, KEY)
    tell(other, "x", "y")
    log.catch_up(MODEL)
    assert is_whole(log)
    assert sorted(ids(log)) == ["a", "b", "c", "mended", "x", "y"]
    assert ids(other) == ids(log)
    assert body(log, "mended") == {"put_back": 3, "lost": 0}


def test_two_histories_that_went_on_apart_become_one(
    redis: Redis, log: EventLog, tmp_path: Path
) -> None:
    with closing(Journal(tmp_path / "other.sqlite", VirtualClock())) as theirs:
        other = EventLog(redis, KEY, theirs)
        tell(log, "a", "b")
        assert ids(other) == ["a", "b"]
        tell(log, "c")
        redis.flushall()
        tell(other, "x")
        log.catch_up(MODEL)
        assert is_whole(log)
        assert sorted(ids(log)) == ["a", "b", "c", "mended", "mended", "x"]
        assert ids(other) == ids(log)


def test_without_redis_the_journal_answers(redis: Redis, log: EventLog, tmp_path: Path) -> None:
    tell(log, "a", "b")
    with closing(connect(tmp_path / "nobody")) as nobody:
        pool, redis.connection_pool = redis.connection_pool, nobody.connection_pool
        log.archive.add([event("c")])
        assert ids(log) == ["a", "b", "c"]
        assert not log.is_current(MODEL)
        assert log.verified_copy(MODEL).findings == []
        redis.connection_pool = pool
    assert is_whole(log)


# Somebody changed something


@pytest.mark.parametrize(("at", "found"), [(1, "event 2 was changed"), (2, "event 3 was changed")])
def test_what_was_changed_is_put_right_and_told_once(
    redis: Redis, log: EventLog, at: int, found: str
) -> None:
    tell(log, "a", "b", "c")
    before = links(redis)
    change(redis, at, event("fake").text.decode())
    assert log.verified(MODEL).findings == [found]
    log.audit(MODEL)
    log.audit(MODEL)
    assert links(redis) == before
    assert is_whole(log)
    assert ids(log) == ["a", "b", "c", "forged"]
    told = body(log, "forged")
    assert found in told["error"]
    assert told["is_restored"]
    assert redis.xlen(keys.refused_events(MODEL)) == 3


def test_what_was_put_in_is_taken_out(redis: Redis, log: EventLog) -> None:
    tell(log, "a", "b")
    redis.xadd(keys.events(MODEL), {"event": event("fake").text})
    tell(log, "c")
    assert is_whole(log)
    assert ids(log) == ["a", "b", "c", "forged"]
    assert "put in after event 2" in body(log, "forged")["error"]


def test_something_else_in_the_stream_s_place_is_set_aside(redis: Redis, log: EventLog) -> None:
    tell(log, "a", "b")
    redis.delete(keys.events(MODEL))
    redis.set(keys.events(MODEL), "not a stream")
    assert log.verified(MODEL).findings
    registry = Registry(redis, KEY, events=log)
    publish(registry, 1, expected="")
    assert ids(log)[:2] == ["a", "b"]
    assert "forged" in ids(log)
    assert redis.get(keys.refused_events(MODEL)) == b"not a stream"
    assert is_whole(log)


def test_what_another_daemon_told_is_saved_from_a_changed_history(
    redis: Redis, log: EventLog
) -> None:
    tell(log, "a", "b")
    tell(EventLog(redis, KEY), "c", "d", "e")
    change(redis, 2, event("fake").text.decode())
    log.audit(MODEL)
    assert is_whole(log)
    assert sorted(ids(log)) == ["a", "b", "d", "e", "forged"]
    assert body(log, "forged")["lost"] == 1


def test_a_daemon_that_has_seen_nothing_keeps_what_verifies(redis: Redis, log: EventLog) -> None:
    tell(log, "a", "b", "c")
    change(redis, 1, event("fake").text.decode())
    fresh = EventLog(redis, KEY)
    fresh.catch_up(MODEL)
    assert is_whole(fresh)
    assert sorted(ids(fresh)) == ["a", "c", "forged"]
    # Who knows more appends it again.
    log.catch_up(MODEL)
    assert is_whole(log)
    assert {"a", "b", "c"} <= set(ids(log))


@pytest.mark.parametrize("number", ["999999999999999", "9" * 5000])
def test_a_number_out_of_reach_does_no_harm(redis: Redis, log: EventLog, number: str) -> None:
    tell(log, "a")
    redis.xadd(keys.events(MODEL), {"event": "{}", "link": f"{number} ab cd:ef"})
    tell(log, "b")
    assert is_whole(log)
    assert ids(log) == ["a", "b", "forged"]


# Keys


def test_an_unknown_key_stops_its_model_and_no_other(
    redis: Redis, log: EventLog, journal: Journal
) -> None:
    tell(EventLog(redis, NEW), "theirs")
    before = links(redis)
    journal.append(MODEL, {}, [event("ours")])
    journal.append("other", {}, [event("ours", "other")])
    with pytest.raises(UnknownKey, match="RETUNED_SIGNING_KEY_FILE"):
        log.forward(MODEL)
    forwarder = Forwarder(log, redis.ping)
    assert forwarder.forward() == 1
    assert forwarder.forward() == 0
    assert [one.id for one in journal.waiting(10)] == ["ours"]
    assert links(redis) == before
    # With that key as well it goes on.
    assert EventLog(redis, BOTH.__class__(KEY.secret, (NEW.secret,)), journal).forward(MODEL) == 1


def test_a_new_key_vouches_for_what_older_ones_signed(
    redis: Redis, log: EventLog, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_log, "KEPT", 2)
    tell(log, "a", "b", "c")
    log.audit(MODEL)
    rotated = EventLog(redis, BOTH, journal)
    rotated.audit(MODEL)
    rotated.audit(MODEL)
    assert ids(rotated).count("rekeyed") == 1
    alone = EventLog(redis, NEW, journal)
    assert alone.verified(MODEL).findings == []
    assert alone.verified_copy(MODEL).findings == []
    redis.flushall()
    alone.catch_up(MODEL)
    assert alone.verified(MODEL).findings == []


# Retention


def test_what_is_too_much_leaves_a_signed_checkpoint(
    redis: Redis, log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_log, "KEPT", 4)
    monkeypatch.setattr(event_log, "PAGE", 3)
    tell(log, *(f"e{n}" for n in range(10)))
    late = EventLog(redis, KEY)
    assert len(ids(late)) == 10
    log.audit(MODEL)
    assert ids(log) == ["e6", "e7", "e8", "e9"]
    assert [link.split()[0] for link in links(redis)] == [b"7", b"8", b"9", b"10"]
    assert is_whole(log)
    assert log.verified_copy(MODEL).findings == []
    # Others follow: who knew it all, and who comes new.
    tell(log, "e10")
    late.audit(MODEL)
    log.audit(MODEL)
    fresh = EventLog(redis, KEY)
    assert ids(fresh) == ids(log) == ["e7", "e8", "e9", "e10"] == ids(late)
    # Lost, it comes back with its checkpoint.
    before, checkpoint = links(redis), redis.get(keys.checkpoint(MODEL))
    redis.flushall()
    fresh.catch_up(MODEL)
    assert links(redis) == before
    assert redis.get(keys.checkpoint(MODEL)) == checkpoint
    assert is_whole(fresh)


def test_a_beginning_that_is_gone_without_a_checkpoint_is_found(
    redis: Redis, log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(log, "a", "b", "c")
    before = links(redis)
    redis.xtrim(keys.events(MODEL), maxlen=1, approximate=False)
    assert log.verified(MODEL).findings == ["events 1 to 2: not there"]
    log.audit(MODEL)
    assert links(redis) == before
    monkeypatch.setattr(event_log, "KEPT", 2)
    log.forward(MODEL)
    log.audit(MODEL)
    redis.delete(keys.checkpoint(MODEL))
    assert log.verified(MODEL).findings == ["events 1 to 2: not there"]
    redis.set(keys.checkpoint(MODEL), "nonsense")
    assert "checkpoint of demo's history is refused" in log.verified(MODEL).findings[0]
    log.audit(MODEL)
    assert is_whole(log)


def test_a_daemon_that_was_long_away_begins_at_the_checkpoint(
    redis: Redis, log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_log, "KEPT", 2)
    away = EventLog(redis, KEY)
    tell(away, "a")
    tell(log, "b", "c", "d", "e")
    log.audit(MODEL)
    tell(away, "f")
    assert ids(away) == ids(log) == ["d", "e", "f"]
    assert is_whole(away)


def test_an_event_reads_the_same_wherever_it_was(log: EventLog, redis: Redis) -> None:
    told = Event(
        id="e", at=12.25, model=MODEL, kind=event().kind, body={"b": [1, 2.5, None], "a": "ü\n"}
    )
    log.append(told)
    assert log.newest(MODEL, 1) == EventLog(redis, KEY).newest(MODEL, 1) == (told,)
