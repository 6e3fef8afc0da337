"""Leases: one daemon takes care of a model, and whoever lost that writes nothing more."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import pytest
from redis import Redis
from tests.takeovers import DATA, KEY, MODEL, digest, event, publish, revision, version

from retuned.errors import PermanentError, TransientError
from retuned.registry import artifacts, keys
from retuned.registry.history.event_log import EventLog
from retuned.registry.lease.fencing import Fenced
from retuned.registry.lease.leases import Found, LeaseBook, Party, Wish
from retuned.registry.lease.shared_tenures import SharedTenures
from retuned.registry.lease.tenure import Role, Term
from retuned.registry.memory import Fleeting
from retuned.registry.pins import Pin
from retuned.registry.pointer import Crowned
from retuned.registry.server import EmbeddedRedis
from retuned.registry.takeover import Outcome, Takeover
from retuned.registry.versions import Registry
from retuned.runtime.clock import VirtualClock

TERM = Term(lease_s=30)


@dataclass
class Life:
    """One process of a daemon, on a state directory that may have had others before."""

    redis: Redis
    name: str
    memory: Fleeting
    may_settle: bool = True

    def __post_init__(self) -> None:
        self.clock = VirtualClock(1000.0)
        self.tenures = SharedTenures(
            LeaseBook(self.redis),
            self.memory,
            Party(id=self.name, url=f"http://{self.name}"),
            TERM,
            may_settle=self.may_settle,
            now=self.clock.now,
        )
        self.events = EventLog(self.redis, KEY)
        self.registry = Registry(
            self.redis, KEY, self.memory, events=self.events, fence=self.tenures
        )

    def turn(self) -> Role:
        self.tenures.turn(MODEL)
        return self.role

    def wait(self, seconds: float) -> None:
        self.clock.move_to(self.clock.now() + seconds)

    @property
    def role(self) -> Role:
        return self.tenures.of(MODEL).role

    @property
    def token(self) -> int:
        return self.tenures.of(MODEL).token

    def begun_again(self) -> Life:
        return Life(self.redis, self.name, self.memory, self.may_settle)


@pytest.fixture
def ann(redis: Redis) -> Life:
    return Life(redis, "ann", Fleeting())


@pytest.fixture
def ben(redis: Redis) -> Life:
    return Life(redis, "ben", Fleeting())


def expire(redis: Redis) -> None:
    """What Redis does with a lease that nobody renews."""
    redis.delete(keys.lease(MODEL))


def test_a_standby_takes_over_in_time_and_the_holder_s_clock_ends_first() -> None:
    worst = TERM.ttl_s + TERM.every_s
    assert worst < 0.8 * TERM.lease_s
    assert TERM.own_s < TERM.ttl_s
    assert 2 * TERM.every_s < TERM.own_s


def test_the_first_takes_it_and_the_second_stands_by(ann: Life, ben: Life) -> None:
    assert (ann.turn(), ben.turn()) == (Role.HOLDER, Role.STANDBY)
    told = ben.tenures.of(MODEL)
    assert (told.holder, told.home, told.is_home) == ("http://ann", "http://ann", False)
    assert (ann.turn(), ben.turn()) == (Role.HOLDER, Role.STANDBY)
    assert ann.token == 1


def test_it_ends_in_redis_unless_it_is_renewed(redis: Redis, ann: Life) -> None:
    ann.turn()
    left: Any = redis.pttl(keys.lease(MODEL))
    assert 0.9 * TERM.ttl_s < left / 1000 <= TERM.ttl_s


def test_a_holder_relies_on_it_for_less_long_than_redis_does(redis: Redis, ann: Life) -> None:
    ann.turn()
    ann.wait(TERM.own_s - 0.01)
    assert ann.role is Role.HOLDER
    assert ann.tenures.token(MODEL).startswith("1-")
    ann.wait(0.02)
    assert ann.role is Role.STANDBY
    assert redis.exists(keys.lease(MODEL))
    with pytest.raises(Fenced, match="does not take care"):
        ann.tenures.token(MODEL)


def test_a_tenure_that_was_over_and_goes_on_is_another_stint(ann: Life) -> None:
    ann.turn()
    ann.wait(TERM.every_s)
    ann.turn()
    assert ann.tenures.of(MODEL).stint == 1
    ann.wait(TERM.own_s)
    assert ann.role is Role.STANDBY
    assert ann.turn() is Role.HOLDER
    told = ann.tenures.of(MODEL)
    assert (told.stint, told.token) == (2, 1)


def test_who_takes_over_without_the_rows_stands_in(redis: Redis, ann: Life, ben: Life) -> None:
    ann.turn()
    ben.turn()
    expire(redis)
    ben.wait(TERM.ttl_s)
    assert ben.turn() is Role.STAND_IN
    told = ben.tenures.of(MODEL)
    assert (told.holder, told.home, told.took_over) == ("http://ben", "http://ann", True)
    assert told.token == 2


def test_who_comes_back_to_its_rows_takes_it_from_a_stand_in(
    redis: Redis, ann: Life, ben: Life
) -> None:
    ann.turn()
    ben.turn()
    expire(redis)
    ben.wait(TERM.ttl_s)
    ben.turn()
    assert ann.begun_again().turn() is Role.HOLDER
    assert ben.turn() is Role.STANDBY
    assert ben.token == 3


def test_a_paused_holder_that_wakes_up_knows_before_it_asks(
    redis: Redis, ann: Life, ben: Life
) -> None:
    ann.turn()
    ben.turn()
    expire(redis)
    ben.wait(TERM.ttl_s)
    ben.turn()
    ann.wait(TERM.ttl_s)
    assert ann.role is Role.STANDBY
    assert ann.tenures.look(MODEL).holder == "http://ben"
    assert ann.role is Role.STANDBY
    assert ann.turn() is Role.HOLDER, "it has the rows, so it takes it back"


def test_a_restarted_daemon_takes_its_own_lease_back_at_once(ann: Life, ben: Life) -> None:
    ann.turn()
    ben.turn()
    again = ann.begun_again()
    assert again.turn() is Role.HOLDER
    assert again.token == 2
    assert not again.tenures.of(MODEL).took_over


def test_of_two_copies_of_a_state_directory_one_has_it(ann: Life) -> None:
    ann.turn()
    copied = ann.begun_again()
    assert copied.turn() is Role.HOLDER
    for _ in range(3):
        assert ann.turn() is Role.STANDBY
        assert not ann.tenures.of(MODEL).is_home
        assert copied.turn() is Role.HOLDER


class Deaf(LeaseBook):
    """Carries everything out, and does not hear the first answer."""

    is_deaf = False

    def acquire(self, model: str, party: Party, ttl_s: float, wish: Wish) -> Found:
        found = super().acquire(model, party, ttl_s, wish)
        if self.is_deaf:
            self.is_deaf = False
            message = "Redis cannot be reached: timeout"
            raise TransientError(message)
        return found


def test_a_lease_whose_answer_was_lost_is_one_s_own(redis: Redis) -> None:
    book, clock = Deaf(redis), VirtualClock(1000.0)
    tenures = SharedTenures(book, Fleeting(), Party(id="ann", url=""), TERM, now=clock.now)
    tenures.turn(MODEL)
    expire(redis)
    book.is_deaf = True
    with pytest.raises(TransientError):
        tenures.turn(MODEL)
    assert tenures.of(MODEL).role is Role.STANDBY
    tenures.turn(MODEL)
    assert tenures.of(MODEL).role is Role.HOLDER
    assert tenures.of(MODEL).token == 3


def test_a_released_lease_is_free(redis: Redis, ann: Life, ben: Life) -> None:
    ann.turn()
    ann.tenures.close()
    assert not redis.exists(keys.lease(MODEL))
    assert ann.turn() is Role.STANDBY, "who has stopped takes none again"
    assert ben.turn() is Role.STAND_IN


def test_a_flushed_redis_gets_the_lease_back_from_who_had_it(
    redis: Redis, ann: Life, ben: Life
) -> None:
    for _ in range(3):
        ann = ann.begun_again()
        ann.turn()
    ben.turn()
    redis.flushall()
    assert ben.turn() is Role.STANDBY, "the lease cannot have ended by itself yet"
    assert ann.turn() is Role.HOLDER
    assert ann.token == 4
    assert ben.turn() is Role.STANDBY
    told = ben.tenures.of(MODEL)
    assert (told.home, told.token) == ("http://ann", 4)


def test_tokens_go_on_in_a_redis_that_lost_them_and_whose_holder_is_gone(
    redis: Redis, ann: Life, ben: Life
) -> None:
    ann.turn()
    ann = ann.begun_again()
    ann.turn()
    ben.turn()
    redis.flushall()
    ben.wait(TERM.ttl_s)
    assert ben.turn() is Role.STAND_IN
    assert ben.token == 3
    assert ben.tenures.of(MODEL).home == "http://ann"


def test_a_stand_in_may_settle_and_is_the_home_for_good(redis: Redis, ann: Life, ben: Life) -> None:
    ann.turn()
    ben.turn()
    expire(redis)
    ben.wait(TERM.ttl_s)
    ben.turn()
    assert ben.tenures.settle(MODEL).role is Role.HOLDER
    again = ann.begun_again()
    assert again.turn() is Role.STANDBY
    assert again.tenures.of(MODEL).holder == "http://ben"
    assert not again.tenures.of(MODEL).is_home
    expire(redis)
    again.wait(TERM.ttl_s)
    assert again.turn() is Role.STAND_IN


def test_the_newer_home_counts_in_a_redis_that_lost_both(
    redis: Redis, ann: Life, ben: Life
) -> None:
    ann.turn()
    ben.turn()
    expire(redis)
    ben.wait(TERM.ttl_s)
    ben.turn()
    ben.tenures.settle(MODEL)
    redis.flushall()
    ann.begun_again().turn()  # it has not heard of the other one
    assert ben.turn() is Role.HOLDER
    assert ben.tenures.of(MODEL).home == "http://ben"


def test_who_has_not_the_lease_cannot_settle(ann: Life, ben: Life) -> None:
    ann.turn()
    ben.turn()
    with pytest.raises(Fenced):
        ben.tenures.settle(MODEL)


def test_a_cache_of_a_standby_is_nobody_s_home(redis: Redis, ann: Life) -> None:
    cache = Life(redis, "cache", Fleeting(), may_settle=False)
    assert cache.turn() is Role.STANDBY
    ann.turn()
    cache.turn()
    expire(redis)
    cache.wait(TERM.ttl_s)
    assert cache.turn() is Role.STAND_IN
    with pytest.raises(PermanentError, match="stop the daemon"):
        cache.tenures.settle(MODEL)


def test_a_full_redis_lets_a_holder_go_on(redis: Redis, ann: Life) -> None:
    ann.turn()
    redis.config_set("maxmemory", "1")
    ann.wait(TERM.every_s)
    assert ann.turn() is Role.HOLDER
    ann.wait(TERM.own_s - 0.01)
    assert ann.role is Role.HOLDER


def test_of_twenty_processes_that_race_one_has_it_each_time(server: EmbeddedRedis) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "tests.contract.lease_racers", str(server.socket), "20", "50"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found = json.loads(ended.stdout.splitlines()[-1])
    assert found["taken"] == [1] * 50
    assert found["tokens"] == list(range(1, 51))


# Fencing


def serving(ann: Life) -> Crowned:
    ann.turn()
    publish(ann.registry)
    crowned = publish(ann.registry, 2, expected="1.1", data=b"newer")
    ann.registry.pin(MODEL, Pin(version=1, who="ann", reason="", at=1.0), event("pinned"))
    return crowned


def held(redis: Redis) -> dict[bytes, Any]:
    """Everything of the model but its lease."""
    client: Any = redis
    return {
        key: client.dump(key)
        for key in sorted(client.keys(f"retuned:{{{MODEL}}}:*"))
        if key != keys.lease(MODEL).encode()
    }


def decided(redis: Redis) -> dict[bytes, Any]:
    """The same without artifacts: what is stored before it is named by anything harms nobody."""
    return {key: value for key, value in held(redis).items() if b":artifact" not in key}


WRITES = {
    "publish": lambda r, _: publish(r, 3, expected="2.1", data=b"late"),
    "restore": lambda r, c: r.restore(c, artifacts={digest(b"newer"): b"newer"}, event=event("r")),
    "mend": lambda r, _: r.mend(MODEL),
    "put_artifact": lambda r, _: r.put_artifact(MODEL, digest(DATA), DATA),
    "prune": lambda r, c: r.prune(c, None),
    "pin": lambda r, _: r.pin(MODEL, Pin(version=2, who="", reason="", at=2.0), event("late")),
    "shelve": lambda r, _: r.shelve(
        version(4),
        revision(4),
        pin=Pin(version=4, who="", reason="", at=2.0),
        artifacts={digest(DATA): DATA},
        event=event("late"),
    ),
    "keep": lambda r, _: r.keep(revision(1, 7), {digest(DATA): DATA}),
    "unpin": lambda r, _: r.unpin(MODEL, 1, event("late")),
}


@pytest.mark.parametrize("write", WRITES)
def test_who_lost_the_lease_without_knowing_writes_nothing(
    redis: Redis, ann: Life, write: str
) -> None:
    crowned = serving(ann)
    newer = ann.begun_again()
    newer.turn()
    before = held(redis)
    assert ann.role is Role.HOLDER, "by its own clock"
    with pytest.raises(Fenced, match="http://ann takes care of it by now"):
        WRITES[write](ann.registry, crowned)
    assert held(redis) == before
    assert set(newer.registry.pins(MODEL)) == {1}


@pytest.mark.parametrize("write", WRITES)
def test_who_knows_that_it_has_no_lease_does_not_ask(ann: Life, ben: Life, write: str) -> None:
    crowned = serving(ann)
    ben.turn()
    with pytest.raises(Fenced, match="http://ann does"):
        WRITES[write](ben.registry, crowned)


def test_a_takeover_s_own_script_looks_at_the_token(redis: Redis, ann: Life) -> None:
    serving(ann)
    found: Any = redis.get(keys.champion(MODEL))
    late = Crowned(version=version(3), revision=revision(3, 1), epoch=3, predecessor="2.1")
    takeover = Takeover(redis, KEY, ann.events)
    token = ann.tenures.token(MODEL)
    assert takeover(late, found, event("late"), token=f"{token}0") is Outcome.FENCED
    assert takeover(late, found, event("late"), token=token) is Outcome.DONE


def test_after_a_flush_nothing_is_written_before_the_lease_is_taken_anew(
    redis: Redis, ann: Life
) -> None:
    crowned = serving(ann)
    redis.flushall()
    with pytest.raises(Fenced, match="nobody has its lease"):
        WRITES["restore"](ann.registry, crowned)
    assert held(redis) == {}
    ann.turn()
    restored = WRITES["restore"](ann.registry, crowned)
    assert restored == crowned
    assert ann.token == 2


@pytest.mark.parametrize("write", [w for w in WRITES if w != "pin"])  # nothing can be pinned
def test_a_number_that_is_given_out_twice_lets_only_the_newer_one_write(
    redis: Redis, ann: Life, ben: Life, write: str
) -> None:
    ann.turn()
    ben.turn()
    ann = ann.begun_again()
    crowned = serving(ann)
    redis.flushall()  # before ben could hear of the second token
    ben.wait(TERM.ttl_s)
    assert ben.turn() is Role.STAND_IN
    assert (ann.token, ben.token) == (2, 2)
    before = decided(redis)
    assert ann.role is Role.HOLDER, "by its own clock"
    with pytest.raises(Fenced, match="http://ben takes care of it by now"):
        WRITES[write](ann.registry, crowned)
    assert decided(redis) == before


def test_who_was_stopped_while_it_pruned_removes_nothing_that_its_successor_needs(
    redis: Redis, ann: Life
) -> None:
    serving(ann)
    token, kept = ann.tenures.token(MODEL), {digest(DATA), digest(b"newer")}
    newer = ann.begun_again()
    newer.turn()
    publish(newer.registry, 3, expected="2.1", data=b"newest")
    with pytest.raises(Fenced):
        artifacts.prune(redis, MODEL, kept, token)
    assert newer.registry.artifact(MODEL, digest(b"newest")) == b"newest"
    artifacts.prune(redis, MODEL, kept, newer.tenures.token(MODEL))
    with pytest.raises(PermanentError, match="lost"):
        newer.registry.artifact(MODEL, digest(b"newest"))


class Hanging(LeaseBook):
    """Never answers; each question takes some seconds of a clock."""

    asked = 0
    clock: VirtualClock | None = None

    def acquire(self, model: str, party: Party, ttl_s: float, wish: Wish) -> Found:
        if self.clock is None:
            return super().acquire(model, party, ttl_s, wish)
        self.asked += 1
        self.clock.move_to(self.clock.now() + TERM.lease_s)
        message = "Redis cannot be reached: timeout"
        raise TransientError(message)

    def renew(self, model: str, party: Party, token: str, ttl_s: float) -> bool:
        return self.clock is None and super().renew(model, party, token, ttl_s)


def test_a_redis_that_hangs_is_not_waited_for_by_every_row(redis: Redis) -> None:
    book, clock = Hanging(redis), VirtualClock(1000.0)
    tenures = SharedTenures(book, Fleeting(), Party(id="ann", url=""), TERM, now=clock.now)
    tenures.turn(MODEL)
    book.clock = clock
    clock.move_to(clock.now() + TERM.own_s)
    for _ in range(20):
        assert tenures.look(MODEL).is_home, "rows are taken all the same"
    assert book.asked == 1
