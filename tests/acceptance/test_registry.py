"""The registry under those who race, who are killed, and who wreck it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.daemon import RealDaemon, bare
from tests.acceptance.redis_server import RedisServer

from retuned.demo.history import Batch
from retuned.registry import keys
from retuned.registry.server import EmbeddedRedis

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(900)]

PROCESSES, ROUNDS, KILLS, SEED = 100, 1000, 200, 7


def run(program: str, *arguments: object) -> dict[str, Any]:
    ended = subprocess.run(
        [sys.executable, "-m", f"tests.acceptance.{program}", *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return found


def test_of_a_hundred_that_race_one_wins_and_is_told_once_a_thousand_times(
    short_tmp: Path,
) -> None:
    server = EmbeddedRedis(short_tmp)
    server.start()
    try:
        found = run("racers", server.socket, PROCESSES, ROUNDS)
    finally:
        server.stop()
    assert found.pop("winners") > PROCESSES // 10
    assert found == {"won": True, "epoch": ROUNDS, "stored": True, "events": True}


def test_a_promotion_that_is_killed_leaves_a_champion_that_loads_and_verifies(
    short_tmp: Path,
) -> None:
    found = run("kills", short_tmp, KILLS, SEED)
    assert found["kills"] == KILLS
    assert found["moved"] > KILLS // 2


# A daemon on a server of the user's own


@pytest.fixture
def server(daemon: RealDaemon) -> Iterator[RedisServer]:
    server = RedisServer(daemon.directory / "redis")
    daemon.redis_url = server.url
    yield server
    server.stop()


def champion(server: RedisServer) -> bytes | None:
    with closing(server.client()) as client:
        found: Any = client.get(keys.champion("bikes"))
    return None if found is None else found


def test_serving_goes_on_and_the_registry_comes_back(
    daemon: RealDaemon, server: RedisServer, history: Batch
) -> None:
    daemon.start()
    daemon.feed(history)
    daemon.wait_until(daemon.has_champion, 90)
    daemon.post("/v1/models/bikes/pause", {"reason": "it is to stay as it is"})
    daemon.wait_until(lambda: not daemon.get("/v1/models/bikes")["running"], 120)
    versions = daemon.get("/v1/models/bikes/versions")
    before = daemon.get("/v1/models/bikes/champion")
    asked = {"rows": bare(history)[:5]}
    answer = daemon.post("/v1/models/bikes/predict", asked)
    stood = champion(server)
    assert stood is not None

    def is_right() -> bool:
        return daemon.is_ready() and champion(server) == stood

    def comes_back() -> None:
        assert daemon.post("/v1/models/bikes/predict", asked) == answer
        daemon.wait_until(is_right, 40)
        assert daemon.get("/v1/models/bikes/versions") == versions
        assert daemon.get("/v1/models/bikes/champion") == before
        assert daemon.post("/v1/models/bikes/predict", asked) == answer

    # Full: nothing can be written, and everything goes on.
    with closing(server.client()) as client:
        client.config_set("maxmemory", "1")
        daemon.post("/v1/models/bikes/resume", {})
        daemon.post("/v1/models/bikes/retune", {})
        daemon.wait_until(lambda: "out of memory" in str(daemon.get("/v1/models/bikes")), 60)
        daemon.post("/v1/models/bikes/pause", {})
        assert daemon.post("/v1/models/bikes/predict", asked)["predictions"]
        client.config_set("maxmemory", "0")

    # Flushed, while nothing else happens.
    daemon.wait_until(lambda: not daemon.get("/v1/models/bikes")["running"], 200)
    versions = daemon.get("/v1/models/bikes/versions")
    before = daemon.get("/v1/models/bikes/champion")
    answer = daemon.post("/v1/models/bikes/predict", asked)
    stood = champion(server)
    with closing(server.client()) as client:
        client.flushall()
    comes_back()
    assert "restored" in {e["kind"] for e in daemon.get("/v1/models/bikes/events")["items"]}

    # Gone, and back with nothing.
    server.stop()
    assert daemon.post("/v1/models/bikes/predict", asked) == answer
    server.start_empty()
    comes_back()
    assert "was put back, epoch" in daemon.log

    # Wrecked while the daemon is down: at its start, as before.
    daemon.stop()
    with closing(server.client()) as client:
        client.set(keys.champion("bikes"), "nonsense")
    daemon.start()
    comes_back()
    deadline = time.monotonic() + 20
    while "forged" not in {e["kind"] for e in daemon.get("/v1/models/bikes/events")["items"]}:
        assert time.monotonic() < deadline
