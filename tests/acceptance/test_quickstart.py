"""The quickstart's commands, run as they stand."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(600)]

GUIDE = Path(__file__).parents[2] / "docs" / "quickstart.md"


def test_every_command_of_the_quickstart_works(tmp_path: Path) -> None:
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", 8420)) != 0, "port 8420 is in use: free it"
    blocks = re.findall(r"^```sh\n(.*?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 9
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RETUNED_")}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    script = "set -euo pipefail; trap 'kill $(jobs -p) || true' EXIT\n" + "\n".join(blocks)
    process = subprocess.Popen(
        ["bash", "-c", script],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        told, _ = process.communicate(timeout=500)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGTERM)
        told, _ = process.communicate(timeout=20)
        pytest.fail(f"not finished in time:\n{told}")
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, told
    assert "<!DOCTYPE html>" in (tmp_path / "rent" / "drift.html").read_text()
    for expected in (
        '"accepted":1500',
        '"prediction":',
        "First study, now that the default recipe serves.",
        "the quickstart says so",
        "paused",
        "neg_mean_absolute_error",
        "Stopped.",
    ):
        assert expected in told, f"{expected}\n{told}"
