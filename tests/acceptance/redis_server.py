"""A redis-server of the user's own, that is wrecked and started again."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from retuned.demo.daemon import free_port
from retuned.registry.connect import connect
from retuned.settings import RedisSettings

if TYPE_CHECKING:
    from redis import Redis


class RedisServer:
    """Answers on a port of its own, from its making on."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.start()

    def start(self) -> None:
        binary = shutil.which("redis-server")
        assert binary is not None, "install redis-server"
        self.folder.mkdir(exist_ok=True)
        command = [binary, "--port", str(self.port), "--dir", str(self.folder)]
        command += ["--appendonly", "yes", "--bind", "127.0.0.1"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()

    def start_empty(self) -> None:
        shutil.rmtree(self.folder)
        self.start()

    def client(self) -> Redis:
        return connect(RedisSettings(url=self.url))
