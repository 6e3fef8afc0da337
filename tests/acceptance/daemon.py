"""A real daemon for acceptance tests: started, killed and started again as a user would."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from retuned.demo.daemon import free_port
from retuned.demo.history import Batch

if TYPE_CHECKING:
    from collections.abc import Callable

START_S = 60.0
MODEL = "TASK=regression\nTARGET=target\nTIME=time\nSEARCH__TRIALS=30\nWATCH__EVERY_ROWS=500\n"


def bare(batch: Batch) -> list[dict[str, Any]]:
    """The features alone, as a client asks for predictions."""
    return [{k: v for k, v in row.items() if k not in {"id", "time"}} for row in batch.rows]


@dataclass
class RealDaemon:
    """``retuned serve`` in a process of its own."""

    directory: Path
    redis_url: str = ""
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def state(self) -> Path:
        return self.directory / "state"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return (self.directory / "daemon.log").read_text()

    def write_model(self, name: str, text: str) -> None:
        (self.directory / "models").mkdir(exist_ok=True)
        (self.directory / "models" / f"{name}.env").write_text(text)

    def start(self, **environment: str) -> None:
        env_file = self.directory / "retuned.env"
        env_file.write_text(
            f"RETUNED_STATE_DIR={self.state}\n"
            f"RETUNED_MODELS_DIR={self.directory / 'models'}\n"
            f"RETUNED_HTTP__LISTEN=127.0.0.1:{self.port}\n"
            + (f"RETUNED_REDIS__URL={self.redis_url}\n" if self.redis_url else "")
        )
        with (self.directory / "daemon.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "retuned", "serve", "--env-file", str(env_file)],
                stdout=log,
                stderr=log,
                env={**os.environ, **environment},
            )
        self.wait_until(self.is_ready, START_S)

    def is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"the daemon ended:\n{self.log}"
        try:
            return httpx.get(f"{self.url}/readyz", trust_env=False).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> float:
        """Send SIGTERM; returns how many seconds it took to end."""
        assert self.process is not None
        begun = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        return time.monotonic() - begun

    def get(self, path: str) -> Any:
        answer = httpx.get(f"{self.url}{path}", trust_env=False, timeout=60)
        assert answer.is_success, answer.text
        return answer.json()

    def post(self, path: str, body: object) -> Any:
        answer = httpx.post(f"{self.url}{path}", json=body, trust_env=False, timeout=60)
        assert answer.is_success, answer.text
        return answer.json()

    def feed(self, batch: Batch) -> None:
        for part in batch.split(1000):
            self.post("/v1/models/bikes/rows", part.rows)
            self.post("/v1/models/bikes/labels", part.labels)

    def has_champion(self) -> bool:
        return self.get("/v1/models/bikes")["champion"] is not None

    def trials(self, model: str) -> dict[str, list[dict[str, Any]]]:
        base = f"/v1/models/{model}/studies"
        studies = self.get(base)["items"]
        return {s["id"]: self.get(f"{base}/{s['id']}")["trials"] for s in studies}

    def redis_servers(self) -> list[int]:
        """Processes of redis-server that work in this daemon's state directory."""
        found = []
        for entry in Path("/proc").iterdir():
            try:
                is_redis = "redis-server" in (entry / "cmdline").read_bytes().decode()
                if is_redis and (entry / "cwd").readlink().is_relative_to(self.state):
                    found.append(int(entry.name))
            except (OSError, ValueError):
                continue
        return found

    def wait_until(self, is_so: Callable[[], bool], at_most_s: float) -> None:
        deadline = time.monotonic() + at_most_s
        while not is_so():
            assert time.monotonic() < deadline, f"not within {at_most_s} s; the log:\n{self.log}"
            time.sleep(0.1)
