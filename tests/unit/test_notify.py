"""Telling the service manager, and nobody else."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from retuned.runtime.notify import Systemd, watchdog_interval_s

AT_MOST_S = 20.0


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, short_tmp: Path) -> Iterator[tuple[str, socket.socket]]:
    """The address that a service is given, and the socket that listens there."""
    name = str(short_tmp / "notify")
    address, bound = (name, name) if request.param == "path" else (f"@{name}", f"\0{name}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.settimeout(AT_MOST_S)
        listener.bind(bound)
        yield address, listener


def test_states_are_told(manager: tuple[str, socket.socket]) -> None:
    address, listener = manager
    systemd = Systemd(address)
    systemd.ready()
    systemd.alive()
    systemd.status("3 models")
    systemd.stopping()
    assert [listener.recv(4096) for _ in range(4)] == [
        b"READY=1",
        b"WATCHDOG=1",
        b"STATUS=3 models",
        b"STOPPING=1",
    ]


def test_a_reload_is_told_with_the_monotonic_time(manager: tuple[str, socket.socket]) -> None:
    address, listener = manager
    Systemd(address).reloading()
    first, second = listener.recv(4096).decode().split("\n")
    assert first == "RELOADING=1"
    assert int(second.removeprefix("MONOTONIC_USEC=")) > 0


@pytest.mark.parametrize("address", [None, ""])
def test_without_a_manager_nothing_is_told(address: str | None) -> None:
    Systemd(address).ready()


def test_a_manager_that_is_gone_does_no_harm(short_tmp: Path) -> None:
    Systemd(str(short_tmp / "nobody")).ready()


@pytest.mark.parametrize(
    ("limit", "owner", "expected"),
    [
        ("30000000", "", 15.0),
        ("30000000", "own", 15.0),
        ("30000000", "1", None),
        ("", "", None),
        ("soon", "", None),
        (None, None, None),
    ],
)
def test_the_watchdog_is_told_twice_as_often_as_it_asks(
    monkeypatch: pytest.MonkeyPatch, limit: str | None, owner: str | None, expected: float | None
) -> None:
    for key, value in (("WATCHDOG_USEC", limit), ("WATCHDOG_PID", owner)):
        if value is None:
            monkeypatch.delenv(key, raising=False)
        else:
            monkeypatch.setenv(key, str(os.getpid()) if value == "own" else value)
    assert watchdog_interval_s() == expected
