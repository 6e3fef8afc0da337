"""Redis streams, on every Redis that is supported: taken in order, once, whatever dies."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
from redis import Redis
from tests.integration.inhouse import NEVER, InHouse, labels, ndjson, rows

from retuned.errors import PermanentError, TransientError
from retuned.ingest.intake import Parcel, Taken
from retuned.registry import keys
from retuned.registry.connect import connect
from retuned.registry.server import EmbeddedRedis
from retuned.runtime.clock import VirtualClock
from retuned.sources.inbox import CONSUMER, GROUP, Inboxes
from retuned.sources.stream import StreamSource

ROWS, LABELS = keys.inbox("bikes", "rows"), keys.inbox("bikes", "labels")


@dataclass
class Post:
    """A stream source, and a producer."""

    house: InHouse
    server: EmbeddedRedis
    redis: Redis
    keep_s: float = 0.0

    def __post_init__(self) -> None:
        self.clock = VirtualClock(self.house.clock.now())
        self.restart()

    def restart(self) -> None:
        """As a daemon that was killed begins again."""
        self.source = StreamSource(
            Inboxes(self.redis, prefix="RETUNED_STREAM__"),
            models=lambda: self.house.models,
            take=self.house.take,
            keep_s=self.keep_s,
            metrics=self.house.metrics,
            clock=self.clock,
            block_s=0.01,
        )

    def turn(self, times: int = 2) -> None:
        for _ in range(times):
            self.source.turn(NEVER)
            self.clock.move_to(self.clock.now() + 1.0)

    def add(self, key: str, payload: object, **fields: str) -> bytes:
        given: dict[Any, Any] = {
            "payload": payload if isinstance(payload, bytes) else orjson.dumps(payload),
            **fields,
        }
        name: Any = self.redis.xadd(key, given)
        return bytes(name)

    def add_each(self, key: str, payloads: list[dict[str, Any]]) -> None:
        """Add an entry for each, in one go: Redis syncs its log before it answers."""
        with self.redis.pipeline(transaction=False) as line:
            for payload in payloads:
                line.xadd(key, {"payload": orjson.dumps(payload)})
            line.execute()

    def pending(self, key: str = ROWS) -> int:
        found: Any = self.redis.xpending(key, GROUP)
        return int(found["pending"])

    def refused(self) -> list[dict[str, str]]:
        found: Any = self.redis.xrange(keys.refused("bikes"))
        return [{k.decode(): v.decode() for k, v in fields.items()} for _, fields in found]


@pytest.fixture
def post(server: EmbeddedRedis, tmp_path: Path) -> Iterator[Post]:
    house = InHouse(tmp_path)
    with closing(connect(server.socket)) as redis:
        redis.flushall()
        # A read that finds nothing ends with the server's next tick, ten a second as it comes.
        redis.config_set("hz", "500")
        yield Post(house, server, redis)
    house.rows.close()


@pytest.fixture(autouse=True)
def _told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def told(caplog: pytest.LogCaptureFixture, action: str) -> list[str]:
    return [r.getMessage() for r in caplog.records if vars(r).get("action") == action]


# What is taken


def test_an_entry_is_taken_acknowledged_and_trimmed(post: Post) -> None:
    post.add_each(ROWS, rows(0, 300))
    post.add_each(LABELS, labels(0, 250))
    post.turn(30)
    assert post.house.held == (300, 250)
    assert (post.pending(ROWS), post.pending(LABELS)) == (0, 0)
    assert post.redis.xlen(ROWS) <= 100, "whole nodes of a hundred are deleted"
    assert post.house.outcomes("stream") == {"taken": 550}


def test_entries_of_one_read_share_a_parcel(post: Post) -> None:
    post.add_each(ROWS, rows(0, 200))
    post.turn(4)
    assert post.house.held == (200, 0)
    assert len(post.house.asked) == 2, "a short read first, as nothing is known of their size"


def test_a_payload_may_be_an_object_an_array_or_lines(post: Post) -> None:
    post.add(ROWS, rows(0, 1)[0])
    post.add(ROWS, rows(1, 3))
    post.add(ROWS, {"rows": rows(3, 5)})
    post.add(ROWS, ndjson(rows(5, 8)))
    post.add(ROWS, ndjson(rows(8, 9)), type="application/x-ndjson")
    post.add(ROWS, rows(9, 10), type="application/json; charset=utf-8")
    post.turn(3)
    assert post.house.held == (10, 0)
    assert len(post.house.asked) == 1
    assert post.refused() == []


def test_the_later_of_two_revisions_counts(post: Post) -> None:
    post.add(ROWS, rows(1, 2))
    for value in range(40):
        post.add(LABELS, {"id": 1, "label": value})
    post.turn(5)
    assert post.house.log().window(labelled=True).target.to_pylist() == [39.0]


def test_models_come_and_go(post: Post) -> None:
    post.redis.xadd(keys.inbox("trains", "rows"), {"payload": ndjson(rows(0, 3))})
    post.turn()
    post.house.models.append("trains")
    post.turn()
    assert post.house.log("trains").counts().rows == 3
    post.house.models.remove("trains")
    post.redis.xadd(keys.inbox("trains", "rows"), {"payload": ndjson(rows(3, 5))})
    post.turn()
    post.house.models.append("trains")
    post.turn(3)
    assert post.house.log("trains").counts().rows == 5


def test_without_a_model_it_waits_for_one(post: Post) -> None:
    post.house.models.clear()
    post.turn(1)
    post.house.models.append("bikes")
    post.add(ROWS, rows(0, 2))
    post.turn()
    assert post.house.held == (2, 0)


# What is refused


def test_a_malformed_entry_is_kept_with_its_reason_and_does_not_come_again(post: Post) -> None:
    post.add(ROWS, rows(0, 1))
    broken = post.add(ROWS, b"{broken")
    post.add(ROWS, [1, 2])
    post.redis.xadd(ROWS, {"load": "{}"})
    post.add(ROWS, b"\x00", type="image/png")
    post.add(ROWS, rows(1, 2))
    post.turn(3)
    assert post.house.held == (2, 0)
    assert post.pending() == 0
    found = post.refused()
    assert found[0] == {
        "cargo": "rows",
        "entry": broken.decode(),
        "reason": found[0]["reason"],
        "payload": "{broken",
        "type": "",
    }
    reasons = [item["reason"] for item in found]
    for says in ("not valid JSON", "not an object", "no field 'payload'", "image/png"):
        assert any(says in reason for reason in reasons), (says, reasons)
    assert post.house.outcomes("stream") == {"taken": 3, "failed": 3}


def test_a_refused_row_is_kept_with_its_reason_and_costs_no_other(
    post: Post, caplog: pytest.LogCaptureFixture
) -> None:
    post.add(ROWS, rows(0, 1))
    post.turn()
    post.add(ROWS, rows(1, 2))
    bad = {"id": 7, "at": 0, "x": "wide"}
    entry = post.add(ROWS, [*rows(2, 3), bad])
    post.turn()
    assert post.house.held == (3, 0)
    (found,) = post.refused()
    assert (found["entry"], orjson.loads(found["payload"])) == (entry.decode(), bad)
    assert "'x'" in found["reason"]
    assert len(told(caplog, "stream_rejected")) == 1


def test_an_entry_that_brings_an_unexpected_error_is_set_aside_alone(post: Post) -> None:
    def take(model: str, parcel: Parcel) -> Taken:
        if b"poison" in parcel.payload:
            message = "nobody foresaw this"
            raise ArithmeticError(message)
        return post.house.intake.take(model, parcel)

    post.source._take = take
    post.add(ROWS, rows(0, 1))
    post.add(ROWS, {"id": "poison", "at": 0, "x": 1})
    post.add(ROWS, rows(1, 2))
    post.turn(3)
    assert (post.house.held, post.pending()) == ((2, 0), 0)
    assert "nobody foresaw this" in post.refused()[0]["reason"]


def test_a_name_that_something_else_has_costs_no_other_stream(
    post: Post, caplog: pytest.LogCaptureFixture
) -> None:
    post.redis.set(ROWS, "in the way")
    post.add(LABELS, labels(0, 1))
    post.turn()
    assert post.pending(LABELS) == 0
    assert "WRONGTYPE" in told(caplog, "stream_waits")[0]
    post.redis.delete(ROWS)
    post.add(ROWS, rows(0, 1))
    post.turn(8)
    assert post.house.held == (1, 1)


# What dies, and what passes by itself


def test_what_was_read_and_not_acknowledged_before_a_crash_is_taken(post: Post) -> None:
    post.turn()
    post.add(ROWS, rows(0, 1))
    post.redis.xreadgroup(GROUP, CONSUMER, {ROWS: ">"})
    post.add(ROWS, rows(1, 2))
    post.restart()
    post.turn(3)
    assert (post.house.held, post.pending()) == ((2, 0), 0)


def test_what_was_stored_and_not_acknowledged_before_a_crash_is_a_repetition(post: Post) -> None:
    post.add(ROWS, rows(0, 5))
    post.turn()
    post.add(ROWS, rows(0, 5))
    post.restart()
    post.turn(3)
    assert post.house.held == (5, 0)
    assert post.house.log().counts().last_seq == 5


def test_what_another_consumer_has_left_is_taken_over(post: Post) -> None:
    post.turn()
    post.add(ROWS, rows(0, 3))
    post.redis.xreadgroup(GROUP, "somebody", {ROWS: ">"})
    post.source._idle_s = 0.0
    post.clock.move_to(post.clock.now() + 60)
    post.turn(3)
    assert (post.house.held, post.pending()) == ((3, 0), 0)


def test_a_full_disk_leaves_entries_pending_and_in_their_order(
    post: Post, caplog: pytest.LogCaptureFixture
) -> None:
    post.turn()
    post.house.fail(TransientError("The disk is full.", retry_after=30.0))
    for row in rows(0, 5):
        post.add(ROWS, row)
    post.turn(1)
    post.add(ROWS, rows(5, 6))
    post.turn(3)
    assert (len(post.house.asked), post.pending()) == (1, 5)
    assert len(told(caplog, "stream_waits")) == 1
    post.house.mend()
    post.clock.move_to(post.clock.now() + 30)
    post.turn(3)
    assert (post.house.held, post.pending()) == ((6, 0), 0)


def test_one_models_trouble_is_no_others(post: Post) -> None:
    post.house.models.append("trains")

    def take(model: str, parcel: Parcel) -> Taken:
        if model == "bikes":
            message = "bikes.sqlite is damaged"
            raise PermanentError(message)
        return post.house.intake.take(model, parcel)

    post.source._take = take
    post.add(ROWS, rows(0, 3))
    post.redis.xadd(keys.inbox("trains", "rows"), {"payload": ndjson(rows(0, 3))})
    post.turn()
    assert post.house.log("trains").counts().rows == 3
    assert (post.pending(), post.refused()) == (3 // 3, [])


def test_entries_that_somebody_else_deleted_are_told_and_do_not_come_again(
    post: Post, caplog: pytest.LogCaptureFixture
) -> None:
    post.turn()
    name = post.add(ROWS, rows(0, 1))
    post.redis.xreadgroup(GROUP, CONSUMER, {ROWS: ">"})
    post.redis.xdel(ROWS, name)
    post.add(ROWS, rows(1, 2))
    post.restart()
    post.turn(3)
    assert (post.house.held, post.pending()) == ((1, 0), 0)
    assert len(told(caplog, "stream_lost")) == 1


def test_a_redis_that_lost_everything_is_begun_anew(post: Post) -> None:
    post.add(ROWS, rows(0, 1))
    post.turn()
    post.redis.flushall()
    post.add(ROWS, rows(1, 2))
    post.turn(4)
    assert post.house.held == (2, 0)


def test_redis_may_be_away_and_come_back(post: Post, caplog: pytest.LogCaptureFixture) -> None:
    post.add(ROWS, rows(0, 1))
    post.turn()
    post.server.stop()
    post.turn(4)
    assert len(told(caplog, "stream_away")) == 1
    post.server.start()
    post.add(ROWS, rows(1, 2))
    post.turn(3)
    assert post.house.held == (2, 0)
    assert len(told(caplog, "stream_up")) == 1


def test_redis_may_go_between_storing_and_acknowledging(post: Post) -> None:
    def take(model: str, parcel: Parcel) -> Taken:
        taken = post.house.intake.take(model, parcel)
        if next(times) == 0:
            post.server.stop()
            post.server.start()
            post.redis.client_kill_filter(_type="normal", skipme=True)
        return taken

    times = itertools.count()
    post.source._take = take
    post.add(ROWS, rows(0, 5))
    post.turn(4)
    assert (post.house.held, post.pending()) == ((5, 0), 0)
    assert post.house.log().counts().last_seq == 5


# Trimming


def test_entries_are_kept_for_a_while_where_so_wished(server: EmbeddedRedis, post: Post) -> None:
    kept = Post(post.house, server, post.redis, keep_s=3600.0)
    kept.add_each(ROWS, rows(0, 250))
    kept.turn(10)
    assert kept.house.held == (250, 0)
    assert kept.redis.xlen(ROWS) == 250


def test_what_is_not_acknowledged_is_never_trimmed(post: Post) -> None:
    post.add_each(ROWS, rows(0, 250))
    post.turn(10)
    post.house.fail(TransientError("The disk is full.", retry_after=30.0))
    post.add_each(ROWS, rows(250, 600))
    post.turn(35)
    post.house.mend()
    post.clock.move_to(post.clock.now() + 60)
    post.turn(10)
    assert post.house.held == (600, 0)
