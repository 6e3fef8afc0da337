"""The unit files, and what the daemon tells the service manager."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest
from tests.acceptance.daemon import RealDaemon

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(120)]

UNITS = Path(__file__).parents[2] / "systemd"


def test_systemd_has_nothing_to_say_about_the_units() -> None:
    tool = shutil.which("systemd-analyze")
    if tool is None:
        pytest.skip("systemd-analyze is not installed")
    units = [str(unit) for unit in sorted(UNITS.glob("*.service"))]
    assert units
    told = subprocess.run([tool, "verify", *units], check=False, capture_output=True, text=True)
    assert (told.returncode, told.stdout + told.stderr) == (0, "")


def test_little_of_the_machine_is_exposed_to_the_unit() -> None:
    unit = str(UNITS / "retuned.service")
    # The threshold is in tenths of systemd's points.
    told = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=15", unit],
        check=False,
        capture_output=True,
        text=True,
    )
    assert told.returncode == 0, told.stdout + told.stderr


def test_the_service_manager_is_told_of_start_reload_and_stop(daemon: RealDaemon) -> None:
    address = str(daemon.directory / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.settimeout(20)
        daemon.start(NOTIFY_SOCKET=address, WATCHDOG_USEC="400000", WATCHDOG_PID="")
        heard = [manager.recv(1000) for _ in range(3)]
        assert b"READY=1" in heard
        assert b"WATCHDOG=1" in heard
        assert daemon.process is not None
        os.kill(daemon.process.pid, signal.SIGHUP)
        assert wait_for(manager, b"RELOADING=1") < wait_for(manager, b"READY=1")
        daemon.stop()
        wait_for(manager, b"STOPPING=1")


def wait_for(manager: socket.socket, wanted: bytes) -> int:
    """Receive until a state is told; returns its moment, or 1 << 62 where it has none."""
    while True:
        told = manager.recv(1000)
        if told.startswith(wanted):
            moment = told.partition(b"MONOTONIC_USEC=")[2]
            return int(moment) if moment else 1 << 62
