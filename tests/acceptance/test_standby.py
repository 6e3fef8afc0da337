"""Two daemons on one Redis: one takes care of a model, the other serves and takes over."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.acceptance.daemon import MODEL, RealDaemon, bare
from tests.acceptance.redis_server import RedisServer

from retuned.demo.history import Batch
from retuned.registry import keys

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]

LEASE_S = 4.0
QUICK = "TASK=regression\nTARGET=target\nTIME=time\nSEARCH__TRIALS=2\nSEARCH__FAMILIES=linear\n"
BIKES = "/v1/models/bikes"


@dataclass
class Pair:
    """Two daemons on one Redis, of which the first one takes care of the model."""

    server: RedisServer
    first: RealDaemon
    second: RealDaemon
    part: Batch
    second_state: dict[str, str]

    def begin(self, daemon: RealDaemon) -> None:
        begin(daemon, self.first, **(self.second_state if daemon is self.second else {}))

    def is_as_it_was(self) -> bool:
        return (role(self.first), role(self.second)) == ("holder", "standby")

    def end(self) -> None:
        for daemon in (self.first, self.second):
            if daemon.process is not None and daemon.process.poll() is None:
                daemon.kill()
        self.server.stop()


@contextmanager
def paired(history: Batch, *, is_one_directory: bool) -> Iterator[Pair]:
    """Start two daemons, and bring the model to rest with its first champion."""
    with tempfile.TemporaryDirectory(prefix="retuned-") as folder:
        server = RedisServer(Path(folder) / "redis")
        first = RealDaemon(Path(folder), redis_url=server.url)
        second = RealDaemon(Path(folder) / "second", redis_url=server.url)
        second.directory.mkdir()
        shared = {"RETUNED_STATE_DIR": str(first.state)} if is_one_directory else {}
        pair = Pair(server, first, second, next(iter(history.split(1000))), shared)
        try:
            for daemon in (first, second):
                daemon.write_model("bikes", QUICK)
                pair.begin(daemon)
            feed(first, pair.part)
            rest(first)
            second.wait_until(lambda: named(second) == named(first), 20)
            yield pair
        finally:
            pair.end()


@pytest.fixture(scope="module")
def pair_apart(history: Batch) -> Iterator[Pair]:
    with paired(history, is_one_directory=False) as pair:
        yield pair


@pytest.fixture(scope="module")
def pair_together(history: Batch) -> Iterator[Pair]:
    with paired(history, is_one_directory=True) as pair:
        yield pair


@pytest.fixture
def apart(pair_apart: Pair) -> Pair:
    """A pair with a state directory each: whoever uses it leaves it as it was, but the last one."""
    pair_apart.first.wait_until(pair_apart.is_as_it_was, 20)
    return pair_apart


@pytest.fixture
def together(pair_together: Pair) -> Pair:
    """The same with one state directory."""
    pair_together.first.wait_until(pair_together.is_as_it_was, 20)
    return pair_together


def begin(daemon: RealDaemon, first: RealDaemon, **more: str) -> None:
    """Start a daemon that shares the first one's signing key."""
    key = str(first.directory / "signing.key")
    daemon.start(RETUNED_LEASE_S=str(LEASE_S), RETUNED_SIGNING_KEY_FILE=key, **more)


def role(daemon: RealDaemon) -> str:
    return str(daemon.get(BIKES)["lease"]["role"])


def sent(daemon: RealDaemon, rows: list[dict[str, Any]]) -> httpx.Response:
    return httpx.post(f"{daemon.url}{BIKES}/rows", json=rows, trust_env=False, timeout=30)


def named(daemon: RealDaemon) -> str | None:
    """The champion that a daemon serves."""
    if not daemon.has_champion():
        return None
    return str(daemon.get(f"{BIKES}/champion")["name"])


def feed(daemon: RealDaemon, part: Batch) -> None:
    """Send rows and labels, and wait for a champion."""
    daemon.post(f"{BIKES}/rows", part.rows)
    daemon.post(f"{BIKES}/labels", part.labels)
    daemon.wait_until(daemon.has_champion, 60)


def rest(daemon: RealDaemon) -> None:
    """Let nothing change by itself any more."""
    daemon.post(f"{BIKES}/pause", {"reason": "it is to stay as it is"})
    daemon.wait_until(lambda: not daemon.get(BIKES)["running"], 90)


@contextmanager
def asked_all_the_time(daemon: RealDaemon, rows: list[dict[str, Any]]) -> Iterator[list[float]]:
    """Ask for predictions again and again; yields how long each answer took, in seconds."""
    took: list[float] = []
    stop = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=daemon.url, trust_env=False, timeout=30) as client:
            while not stop.is_set():
                begun = time.monotonic()
                answer = client.post(f"{BIKES}/predict", json={"rows": rows})
                took.append(
                    time.monotonic() - begun if answer.is_success else float(answer.status_code)
                )
                stop.wait(0.01)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield took
    finally:
        stop.set()
        thread.join()


def metrics(daemon: RealDaemon) -> str:
    return httpx.get(f"{daemon.url}/metrics", trust_env=False).text


# One state directory


def test_a_paused_holder_of_the_same_directory_keeps_it_and_goes_on(together: Pair) -> None:
    first, second = together.first, together.second
    assert first.process is not None
    os.kill(first.process.pid, signal.SIGSTOP)
    second.wait_until(lambda: role(second) == "stand-in", LEASE_S)
    assert sent(second, together.part.rows[:1]).json()["home"] == first.url
    os.kill(first.process.pid, signal.SIGCONT)
    second.wait_until(lambda: role(second) == "standby", LEASE_S)
    first.wait_until(lambda: role(first) == "holder", LEASE_S)
    assert first.get(BIKES)["rows"] == 1000


def test_a_standby_of_the_same_directory_reopens_the_rows_and_answers_all_the_time(
    together: Pair,
) -> None:
    first, second, part = together.first, together.second, together.part
    assert sent(second, part.rows[:1]).status_code == 421
    acknowledged: list[str] = []

    def post() -> None:
        with suppress(httpx.TransportError):
            for number in range(100_000):
                row = {**part.rows[0], "id": f"late{number}"}
                if sent(first, [row]).json()["accepted"]:
                    acknowledged.append(row["id"])

    with asked_all_the_time(second, bare(part)[:5]) as took:
        poster = threading.Thread(target=post)
        poster.start()
        first.wait_until(lambda: len(acknowledged) > 50, 20)
        first.kill()
        begun = time.monotonic()
        second.wait_until(lambda: role(second) == "holder", LEASE_S)
        assert time.monotonic() - begun < LEASE_S
        poster.join()
    assert max(took) < 2
    held = second.get(BIKES)
    assert held["rows"] >= 1000 + len(acknowledged)
    again = sent(second, [{**part.rows[0], "id": name} for name in acknowledged]).json()
    assert (again["accepted"], again["duplicates"]) == (0, len(acknowledged))


# A state directory each


def test_only_the_holder_puts_a_wrecked_registry_right(apart: Pair) -> None:
    first, second, server = apart.first, apart.second, apart.server
    name, epoch = named(first), first.get(f"{BIKES}/champion")["epoch"]

    def is_right() -> bool:
        with closing(server.client()) as client, suppress(Exception):
            return bool(client.exists(keys.champion("bikes"))) and first.is_ready()
        return False

    def comes_back() -> None:
        first.wait_until(is_right, 30)
        for one in (first, second):
            found = one.get(f"{BIKES}/champion")
            assert (found["name"], found["epoch"]) == (name, epoch)
        first.wait_until(apart.is_as_it_was, 20)
        assert "was put back, epoch" in first.log
        assert "was put back" not in second.log

    with asked_all_the_time(second, bare(apart.part)[:2]) as took:
        with closing(server.client()) as client:
            client.config_set("maxmemory", "1")
            time.sleep(LEASE_S)  # longer than a lease: it is renewed all the same
            assert apart.is_as_it_was()
            client.config_set("maxmemory", "0")
            client.flushall()
        comes_back()
        assert "restored" in {e["kind"] for e in second.get(f"{BIKES}/events")["items"]}
        server.stop()
        server.start_empty()
        comes_back()
    assert max(took) < 2
    with closing(server.client()) as client:
        token: Any = client.get(keys.fence("bikes"))
    assert int(token.partition(b"-")[0]) >= 3, "the tokens go on from where they were"


def test_a_standby_of_another_directory_stands_in_and_gives_back(apart: Pair) -> None:
    first, second, part = apart.first, apart.second, apart.part
    asked, name = bare(part)[:5], named(first)
    answer = first.post(f"{BIKES}/predict", {"rows": asked})
    assert second.post(f"{BIKES}/predict", {"rows": asked}) == answer
    refused = sent(second, part.rows[:1])
    assert (refused.status_code, refused.json()["holder"]) == (421, first.url)

    with asked_all_the_time(second, asked) as took:
        first.kill()
        begun = time.monotonic()
        second.wait_until(lambda: role(second) == "stand-in", LEASE_S)
        assert time.monotonic() - begun < LEASE_S
        refused = sent(second, part.rows[:1])
        assert (refused.status_code, refused.json()["home"]) == (503, first.url)
        assert refused.json()["type"] == "/problems/rows-elsewhere"
        assert 'retuned_decisions_suspended{model="bikes"} 1.0' in metrics(second)
        apart.begin(first)
        second.wait_until(lambda: role(second) == "standby", LEASE_S)
        assert role(first) == "holder"
        assert first.get(BIKES)["rows"] == 1000
    assert max(took) < 2
    assert named(second) == name


def test_a_paused_holder_that_wakes_up_after_another_one_adopted_is_not_a_second_one(
    apart: Pair,
) -> None:
    first, second, part = apart.first, apart.second, apart.part
    first.write_model("bikes", MODEL.replace("TRIALS=30", "TRIALS=1000"))
    assert first.process is not None
    first.process.send_signal(signal.SIGHUP)
    first.post(f"{BIKES}/resume", {})
    first.post(f"{BIKES}/retune", {})
    first.wait_until(lambda: "study" in first.get(BIKES)["running"], 30)
    os.kill(first.process.pid, signal.SIGSTOP)
    second.wait_until(lambda: role(second) == "stand-in", LEASE_S)
    second.post(f"{BIKES}/adopt", {"reason": "its disk is gone"})
    assert role(second) == "holder"
    assert sent(second, part.rows[:2]).json()["accepted"] == 2
    with closing(apart.server.client()) as client:
        stood: Any = client.get(keys.champion("bikes"))
        os.kill(first.process.pid, signal.SIGCONT)
        deadline = time.monotonic() + 2 * LEASE_S
        while time.monotonic() < deadline:
            assert role(first) == "standby"
            assert role(second) == "holder"
        assert client.get(keys.champion("bikes")) == stood
    told = [event["kind"] for event in second.get(f"{BIKES}/events")["items"]]
    assert told.count("promoted") == 1
    assert {"lease", "operator"} <= set(told)
    assert sent(first, [{"id": 1}]).status_code == 421
