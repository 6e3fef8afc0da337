"""The demo's daemon: a process of its own, as a user would start it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from importlib.resources import files
from typing import TYPE_CHECKING

from retuned.errors import PermanentError

if TYPE_CHECKING:
    from pathlib import Path

    from retuned.demo.client import Client

START_S = 90.0
STOP_S = 15.0


def write_config(directory: Path, port: int) -> Path:
    """Write the env files of the demo into a directory; returns the daemon's."""
    models = directory / "models"
    models.mkdir(parents=True, exist_ok=True)
    model = files("retuned.demo") / "data" / "bike_sharing.env"
    (models / "bike_sharing.env").write_text(model.read_text())
    env_file = directory / "retuned.env"
    env_file.write_text(
        f"RETUNED_STATE_DIR={directory / 'state'}\n"
        f"RETUNED_MODELS_DIR={models}\n"
        f"RETUNED_HTTP__LISTEN=127.0.0.1:{port}\n"
        "RETUNED_LOG__FORMAT=text\n"
    )
    return env_file


def free_port() -> int:
    """Find a port of the loopback interface that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class DemoDaemon:
    """``retuned serve`` in a child process, its log in a file."""

    def __init__(self, env_file: Path, log: Path) -> None:
        """Start it; settings of the caller's environment are kept from it."""
        self.log = log
        environment = {k: v for k, v in os.environ.items() if not k.startswith("RETUNED_")}
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "retuned", "serve", "--env-file", str(env_file)],
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                env=environment,
            )

    def wait_ready(self, client: Client) -> None:
        """Wait until it answers.

        Raises:
            PermanentError: it ended, or did not get ready; shows the end of its log.
        """
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if client.is_ready():
                return
            if self._process.poll() is not None:
                break
            time.sleep(0.1)
        tail = "\n".join(self.log.read_text().splitlines()[-15:])
        message = f"the daemon did not get ready; the end of {self.log}:\n{tail}"
        raise PermanentError(message)

    def stop(self) -> None:
        """Ask it to stop, and wait; what does not stop in time is killed."""
        if self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def wait(self) -> None:
        """Wait until it ends by itself."""
        self._process.wait()
