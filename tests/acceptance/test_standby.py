"""Two daemons on one Redis: one takes care of a model, the other serves and takes over."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
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


@pytest.fixture
def server(daemon: RealDaemon) -> Iterator[RedisServer]:
    server = RedisServer(daemon.directory / "redis")
    yield server
    server.stop()


@pytest.fixture
def first(daemon: RealDaemon, server: RedisServer) -> RealDaemon:
    daemon.redis_url = server.url
    daemon.write_model("bikes", QUICK)
    begin(daemon, daemon)
    return daemon


@pytest.fixture
def second(first: RealDaemon) -> Iterator[RealDaemon]:
    second = RealDaemon(first.directory / "second", redis_url=first.redis_url)
    second.directory.mkdir()
    second.write_model("bikes", QUICK)
    yield second
    if second.process is not None and second.process.poll() is None:
        second.kill()


def begin(daemon: RealDaemon, first: RealDaemon, **more: str) -> None:
    """Start a daemon that shares the first one's signing key."""
    key = str(first.directory / "signing.key")
    daemon.start(RETUNED_LEASE_S=str(LEASE_S), RETUNED_SIGNING_KEY_FILE=key, **more)


def role(daemon: RealDaemon) -> str:
    return str(daemon.get(BIKES)["lease"]["role"])


def sent(daemon: RealDaemon, rows: list[dict[str, Any]]) -> httpx.Response:
    return httpx.post(f"{daemon.url}{BIKES}/rows", json=rows, trust_env=False, timeout=30)


def feed(daemon: RealDaemon, history: Batch) -> Batch:
    """Send the first thousand rows and labels, and wait for a champion."""
    part = next(iter(history.split(1000)))
    daemon.post(f"{BIKES}/rows", part.rows)
    daemon.post(f"{BIKES}/labels", part.labels)
    daemon.wait_until(daemon.has_champion, 60)
    return part


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


def test_a_standby_of_another_directory_stands_in_and_gives_back_or_adopts(
    first: RealDaemon, second: RealDaemon, history: Batch
) -> None:
    begin(second, first)
    part = feed(first, history)
    asked = bare(part)[:5]
    second.wait_until(second.has_champion, 20)
    rest(first)
    name = first.get(f"{BIKES}/champion")["name"]
    second.wait_until(lambda: bool(second.get(f"{BIKES}/champion")["name"] == name), 20)
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
        begin(first, first)
        second.wait_until(lambda: role(second) == "standby", LEASE_S)
        assert role(first) == "holder"
        assert first.get(BIKES)["rows"] == 1000
        first.kill()
        second.wait_until(lambda: role(second) == "stand-in", LEASE_S)
        second.post(f"{BIKES}/adopt", {"reason": "its disk is gone"})
        assert role(second) == "holder"
        assert sent(second, part.rows[:2]).json()["accepted"] == 2
    assert max(took) < 2
    assert second.get(f"{BIKES}/champion")["name"] == name
    told = [event["kind"] for event in second.get(f"{BIKES}/events")["items"]]
    assert told.count("promoted") == 1
    assert {"lease", "operator"} <= set(told)


def metrics(daemon: RealDaemon) -> str:
    return httpx.get(f"{daemon.url}/metrics", trust_env=False).text


def test_a_standby_of_the_same_directory_reopens_the_rows_and_answers_all_the_time(
    first: RealDaemon, second: RealDaemon, history: Batch
) -> None:
    begin(second, first, RETUNED_STATE_DIR=str(first.state))
    part = feed(first, history)
    asked = bare(part)[:5]
    second.wait_until(second.has_champion, 20)
    assert sent(second, part.rows[:1]).status_code == 421
    acknowledged: list[str] = []

    def post() -> None:
        with suppress(httpx.TransportError):
            for number in range(100_000):
                row = {**part.rows[0], "id": f"late{number}"}
                if sent(first, [row]).json()["accepted"]:
                    acknowledged.append(row["id"])

    with asked_all_the_time(second, asked) as took:
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


def test_a_paused_holder_that_wakes_up_is_not_a_second_one(
    first: RealDaemon, second: RealDaemon, server: RedisServer, history: Batch
) -> None:
    first.write_model("bikes", MODEL.replace("TRIALS=30", "TRIALS=1000"))
    assert first.process is not None
    first.process.send_signal(signal.SIGHUP)
    begin(second, first)
    feed(first, history)
    second.wait_until(second.has_champion, 20)
    first.wait_until(lambda: "study" in first.get(BIKES)["running"], 30)
    assert first.process is not None
    os.kill(first.process.pid, signal.SIGSTOP)
    second.wait_until(lambda: role(second) == "stand-in", LEASE_S)
    second.post(f"{BIKES}/adopt", {})
    with closing(server.client()) as client:
        stood: Any = client.get(keys.champion("bikes"))
        os.kill(first.process.pid, signal.SIGCONT)
        deadline = time.monotonic() + 2 * LEASE_S
        while time.monotonic() < deadline:
            assert role(first) == "standby"
            assert role(second) == "holder"
        assert client.get(keys.champion("bikes")) == stood
    promoted = [e for e in second.get(f"{BIKES}/events")["items"] if e["kind"] == "promoted"]
    assert len(promoted) == 1
    assert sent(first, [{"id": 1}]).status_code == 421


def test_a_paused_holder_of_the_same_directory_keeps_it_and_goes_on(
    first: RealDaemon, second: RealDaemon, history: Batch
) -> None:
    begin(second, first, RETUNED_STATE_DIR=str(first.state))
    part = feed(first, history)
    second.wait_until(second.has_champion, 20)
    assert first.process is not None
    os.kill(first.process.pid, signal.SIGSTOP)
    second.wait_until(lambda: role(second) == "stand-in", LEASE_S)
    assert sent(second, part.rows[:1]).json()["home"] == first.url
    os.kill(first.process.pid, signal.SIGCONT)
    second.wait_until(lambda: role(second) == "standby", LEASE_S)
    first.wait_until(lambda: role(first) == "holder", LEASE_S)
    assert first.get(BIKES)["rows"] == 1000


def test_only_the_holder_puts_a_wrecked_registry_right(
    first: RealDaemon, second: RealDaemon, server: RedisServer, history: Batch
) -> None:
    begin(second, first)
    part = feed(first, history)
    second.wait_until(second.has_champion, 20)
    rest(first)
    name = first.get(f"{BIKES}/champion")["name"]
    second.wait_until(lambda: bool(second.get(f"{BIKES}/champion")["name"] == name), 20)
    epoch = first.get(f"{BIKES}/champion")["epoch"]

    def is_right() -> bool:
        with closing(server.client()) as client, suppress(Exception):
            return bool(client.exists(keys.champion("bikes"))) and first.is_ready()
        return False

    def comes_back() -> None:
        first.wait_until(is_right, 30)
        for one in (first, second):
            found = one.get(f"{BIKES}/champion")
            assert (found["name"], found["epoch"]) == (name, epoch)
        first.wait_until(lambda: role(first) == "holder", 20)
        assert role(second) == "standby"
        assert "was put back, epoch" in first.log
        assert "was put back" not in second.log

    with asked_all_the_time(second, bare(part)[:2]) as took:
        with closing(server.client()) as client:
            client.config_set("maxmemory", "1")
            time.sleep(LEASE_S)  # longer than a lease: it is renewed all the same
            assert (role(first), role(second)) == ("holder", "standby")
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
    assert int(token) >= 3, "the tokens go on from where they were"
