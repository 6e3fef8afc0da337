"""The daemon as a service: real processes, a real Redis, real signals."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess

import httpx
import pytest
from tests.acceptance.daemon import MODEL, RealDaemon, bare

from retuned.demo.daemon import free_port
from retuned.demo.history import Batch

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]


def test_a_daemon_killed_in_a_study_goes_on_where_it_was(
    daemon: RealDaemon, history: Batch
) -> None:
    daemon.start()
    daemon.feed(history)
    daemon.wait_until(daemon.has_champion, 60)
    daemon.wait_until(lambda: len(daemon.trials("bikes").get("s1", ())) >= 5, 60)
    champion = daemon.get("/v1/models/bikes/champion")
    before = daemon.get("/v1/models/bikes")
    asked = {"rows": bare(history)[:10]}
    predicted = daemon.post("/v1/models/bikes/predict", asked)
    recorded = daemon.trials("bikes")["s1"]
    daemon.kill()

    daemon.start()
    assert len(daemon.redis_servers()) == 1
    after = daemon.get("/v1/models/bikes")
    assert (after["rows"], after["labelled"]) == (before["rows"], before["labelled"])
    assert daemon.get("/v1/models/bikes/champion")["version"] == champion["version"]
    assert daemon.post("/v1/models/bikes/predict", asked) == predicted
    assert daemon.trials("bikes")["s1"][: len(recorded)] == recorded
    daemon.wait_until(lambda: len(daemon.trials("bikes")["s1"]) > len(recorded), 60)


def test_sigterm_ends_it_within_ten_seconds_in_the_middle_of_a_study(
    daemon: RealDaemon, history: Batch
) -> None:
    daemon.start()
    daemon.feed(history)
    daemon.wait_until(lambda: len(daemon.trials("bikes").get("s1", ())) >= 1, 90)
    assert daemon.stop() < 10
    assert daemon.process is not None
    assert daemon.process.returncode == 0
    assert daemon.redis_servers() == []


def test_sigterm_ends_it_at_once_while_the_fork_server_still_imports(daemon: RealDaemon) -> None:
    daemon.start()
    assert daemon.stop() < 4
    assert daemon.process is not None
    assert daemon.process.returncode == 0


def test_sigterm_ends_it_within_ten_seconds_when_its_redis_is_frozen(daemon: RealDaemon) -> None:
    daemon.start()
    (server,) = daemon.redis_servers()
    os.kill(server, signal.SIGSTOP)
    assert daemon.stop() < 10
    assert daemon.redis_servers() == []


def test_sighup_takes_in_a_new_model_and_parks_a_removed_one(daemon: RealDaemon) -> None:
    daemon.start()
    assert daemon.process is not None
    daemon.write_model("other", MODEL)
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait_until(lambda: len(daemon.get("/v1/models")["items"]) == 2, 10)
    daemon.post("/v1/models/other/rows", [{"id": 1, "time": 0, "x": 1.0}])
    (daemon.directory / "models" / "other.env").unlink()
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait_until(lambda: len(daemon.get("/v1/models")["items"]) == 1, 10)
    assert (daemon.state / "rows" / "other.sqlite").exists()


def test_a_private_redis_that_dies_is_started_again(daemon: RealDaemon, history: Batch) -> None:
    daemon.start()
    daemon.feed(history)
    daemon.wait_until(daemon.has_champion, 60)
    (server,) = daemon.redis_servers()
    subprocess.run(["kill", "-9", str(server)], check=True)
    asked = {"rows": bare(history)[:1]}
    assert daemon.post("/v1/models/bikes/predict", asked)["predictions"]
    daemon.wait_until(lambda: daemon.redis_servers() not in ([], [server]), 20)
    daemon.wait_until(daemon.is_ready, 20)
    assert [v["number"] for v in daemon.get("/v1/models/bikes/versions")["items"]] == [1]


def test_two_daemons_do_not_share_a_state_directory(daemon: RealDaemon) -> None:
    daemon.start()
    second = RealDaemon(daemon.directory)
    with pytest.raises(AssertionError, match="another daemon"):
        second.start()


def test_the_champion_stays_served_while_a_redis_server_of_the_user_is_away(
    daemon: RealDaemon, history: Batch
) -> None:
    port = free_port()
    binary = shutil.which("redis-server")
    assert binary is not None, "install redis-server"
    folder = daemon.directory / "redis"
    folder.mkdir()
    command = [binary, "--port", str(port), "--dir", str(folder), "--appendonly", "yes"]
    redis = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        daemon.redis_url = f"redis://127.0.0.1:{port}/0"
        daemon.start()
        assert daemon.redis_servers() == []
        daemon.feed(history)
        daemon.wait_until(daemon.has_champion, 60)
        redis.kill()
        redis.wait()
        assert daemon.post("/v1/models/bikes/predict", {"rows": bare(history)[:1]})
        assert daemon.get("/v1/models/bikes/champion")["version"]["number"] == 1
        receipt = daemon.post("/v1/models/bikes/rows", [{**history.rows[0], "id": "late"}])
        assert receipt["accepted"] == 1
        url = f"{daemon.url}/readyz"
        gone = httpx.codes.SERVICE_UNAVAILABLE
        daemon.wait_until(lambda: httpx.get(url, trust_env=False).status_code == gone, 20)
        redis = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        daemon.wait_until(daemon.is_ready, 30)
    finally:
        redis.kill()
        redis.wait()
