"""Listening: a socket of our own, and uvicorn on it."""

from __future__ import annotations

import asyncio
import socket
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn

from retuned.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import ASGIApp

STOP_S = 3
_WAITING = 1024
_UNIX = "unix:"


def bind(listen: str) -> socket.socket:
    """Bind the address that the settings name; the settings have checked its form.

    A unix socket gets mode 0660: uvicorn's own would be open to everybody.

    Raises:
        ConfigError: the address is in use, or may not be used.
    """
    try:
        if listen.startswith(_UNIX):
            return _bound_unix(Path(listen.removeprefix(_UNIX)))
        host, _, port = listen.rpartition(":")
        family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
        # Asyncio turns off Nagle's algorithm only where the protocol is named; without that,
        # every answer on a kept connection waits 40 ms for the client's acknowledgement.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return _listening(listener, (host.strip("[]"), int(port)))
    except OSError as error:
        message = (
            f"RETUNED_HTTP__LISTEN={listen} cannot be used: {error.strerror or error}. "
            "Stop who uses it, or choose another address."
        )
        raise ConfigError(message) from error


def _bound_unix(path: Path) -> socket.socket:
    if path.is_socket():
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(path))
            except OSError:
                path.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    return _listening(listener, str(path), mode=0o660)


def _listening(
    listener: socket.socket, address: str | tuple[str, int], mode: int | None = None
) -> socket.socket:
    try:
        listener.bind(address)
        if mode is not None:
            # Before anybody can connect.
            Path(str(address)).chmod(mode)
        listener.listen(_WAITING)
    except OSError:
        listener.close()
        raise
    return listener


class _Server(uvicorn.Server):
    """Uvicorn, with signals left to the daemon."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take no signal."""
        yield


async def run(app: ASGIApp, listener: socket.socket) -> None:
    """Answer requests for ever; when cancelled, let those under way finish."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=STOP_S,
        server_header=False,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="uvicorn")
    try:
        await asyncio.shield(serving)
    except asyncio.CancelledError:
        server.should_exit = True
        await serving
        raise
