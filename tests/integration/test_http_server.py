"""Listening: who may, where, and how it ends."""

from __future__ import annotations

import socket
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from tests.integration.door import WAIT_S, Door

from retuned.errors import ConfigError
from retuned.http import server


def test_an_address_in_use_is_told_with_its_key() -> None:
    with server.bind("127.0.0.1:0") as first:
        listen = f"127.0.0.1:{first.getsockname()[1]}"
        with pytest.raises(ConfigError, match=f"RETUNED_HTTP__LISTEN={listen}.*in use"):
            server.bind(listen)


def test_ipv6_may_be_listened_on() -> None:
    with server.bind("[::1]:0") as listener:
        assert listener.family is socket.AF_INET6


def test_a_unix_socket_is_for_owner_and_group_only(short_tmp: Path) -> None:
    path = short_tmp / "http.sock"
    with server.bind(f"unix:{path}"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660


def test_a_unix_socket_that_somebody_answers_on_is_left_to_them(short_tmp: Path) -> None:
    path = short_tmp / "http.sock"
    with server.bind(f"unix:{path}"):
        with pytest.raises(ConfigError, match="in use"):
            server.bind(f"unix:{path}")
        assert path.is_socket()


def test_a_unix_socket_left_by_a_killed_daemon_is_replaced(short_tmp: Path) -> None:
    path = short_tmp / "http.sock"
    server.bind(f"unix:{path}").close()
    assert path.is_socket()
    with server.bind(f"unix:{path}"), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


@pytest.mark.parametrize(
    ("name", "told"),
    [("x" * 200, "too long"), ("missing/http.sock", "No such file"), ("file", "in use")],
)
def test_a_path_that_cannot_be_listened_on_is_told(short_tmp: Path, name: str, told: str) -> None:
    (short_tmp / "file").write_text("not a socket")
    with pytest.raises(ConfigError, match=told):
        server.bind(f"unix:{short_tmp / name}")
    assert (short_tmp / "file").read_text() == "not a socket"


def test_clients_on_a_unix_socket_are_answered(fresh: Door, short_tmp: Path) -> None:
    door = Door(fresh.house, listen=f"unix:{short_tmp / 'http.sock'}")
    try:
        assert door.get("/healthz").status_code == 200
        assert door.post("/v1/models/bikes/pause").status_code == 202
    finally:
        door.close()


def in_background(ask: Callable[[], httpx.Response]) -> tuple[threading.Thread, list[int]]:
    answers: list[int] = []
    thread = threading.Thread(target=lambda: answers.append(ask().status_code), daemon=True)
    thread.start()
    return thread, answers


def test_a_request_under_way_is_answered_before_the_server_ends(
    fresh: Door, tmp_path: Path
) -> None:
    fresh.pages["c1"] = tmp_path / "page.html"
    fresh.pages["c1"].write_text("page")
    fresh.may_render.clear()
    asking, answers = in_background(lambda: fresh.get("/v1/models/bikes/drift/c1/report"))
    assert fresh.is_rendering.wait(WAIT_S)
    fresh.begin_to_stop()
    assert not fresh.has_stopped(0.2)
    fresh.may_render.set()
    asking.join(WAIT_S)
    assert answers == [200]
    assert fresh.has_stopped(WAIT_S)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{fresh.url}/healthz", trust_env=False)


def test_the_server_waits_for_no_idle_connection(fresh: Door) -> None:
    assert fresh.get("/healthz").status_code == 200  # kept open by the client
    fresh.begin_to_stop()
    assert fresh.has_stopped(server.STOP_S)


def test_reports_under_way_keep_nobody_from_being_answered(fresh: Door, tmp_path: Path) -> None:
    fresh.pages["c1"] = tmp_path / "page.html"
    fresh.pages["c1"].write_text("page")
    fresh.may_render.clear()
    url = f"{fresh.url}/v1/models/bikes/drift/c1/report"
    asking = [
        in_background(lambda: httpx.get(url, trust_env=False, timeout=WAIT_S)) for _ in range(45)
    ]
    assert fresh.is_rendering.wait(WAIT_S)
    assert fresh.get("/v1/models/bikes").status_code == 200
    fresh.may_render.set()
    for thread, answers in asking:
        thread.join(WAIT_S)
        assert answers == [200]
