"""Telling systemd: the sd_notify protocol (systemd's sd_notify(3)), without a library."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time


class Systemd:
    """Sends states to the service manager; silent where there is none."""

    def __init__(self, address: str | None) -> None:
        """Take the value of ``NOTIFY_SOCKET``; None or "" where nobody listens."""
        self._address = "\0" + address[1:] if address and address[0] == "@" else address

    def ready(self) -> None:
        """Start-up, or a reload, is finished."""
        self._send("READY=1")

    def reloading(self) -> None:
        """A reload has begun."""
        micros = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send(f"RELOADING=1\nMONOTONIC_USEC={micros}")

    def stopping(self) -> None:
        """The service is going down."""
        self._send("STOPPING=1")

    def alive(self) -> None:
        """Keep the watchdog quiet."""
        self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """Show one line in ``systemctl status``."""
        self._send(f"STATUS={text}")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        # The manager may be gone or restarting; the service goes on without it.
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender,
        ):
            sender.sendto(message.encode(), self._address)


def watchdog_interval_s() -> float | None:
    """Seconds between two signs of life: half of what systemd allows; None without watchdog."""
    limit = os.environ.get("WATCHDOG_USEC", "")
    owner = os.environ.get("WATCHDOG_PID", "")
    if not limit.isdigit() or (owner and owner != str(os.getpid())):
        return None
    return int(limit) / 2e6


async def stay_alive(systemd: Systemd) -> None:
    """Tell systemd's watchdog that the event loop turns."""
    interval = watchdog_interval_s() or 3600.0
    while True:
        systemd.alive()
        await asyncio.sleep(interval)
