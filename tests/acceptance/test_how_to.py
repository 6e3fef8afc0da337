"""The how-to's commands, run as they stand on a short history."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

import pyarrow.parquet as pq
import pytest

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(600)]

GUIDES = Path(__file__).parents[2] / "docs" / "how-to"
DATA = files("retuned.demo") / "data" / "bike_sharing.parquet"


def commands(guide: str) -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```", (GUIDES / guide).read_text(), re.MULTILINE | re.DOTALL)


def run(blocks: list[str], directory: Path) -> str:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RETUNED_")}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    ended = "trap 'kill $(jobs -p) 2> /dev/null || true' EXIT"
    done = subprocess.run(
        ["bash", "-mc", f"set -euo pipefail; {ended}\n" + "\n".join(blocks)],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    told = done.stdout + done.stderr
    assert done.returncode == 0, told
    return told


def test_every_command_of_is_it_worth_it_works(tmp_path: Path) -> None:
    pq.write_table(pq.read_table(str(DATA)).slice(0, 4000), tmp_path / "history.parquet")
    blocks = commands("is-it-worth-it.md")
    assert len(blocks) == 2
    told = run(blocks, tmp_path)
    found = json.loads((tmp_path / "bikes.json").read_text())
    assert set(found["policies"]) == {
        "retuned",
        "never_refitted",
        "refit_all",
        "refit_window",
        "persistence",
        "constant",
    }
    assert len(found["periods"]) == 40
    assert "<svg" in (tmp_path / "bikes.html").read_text()
    for expected in ("The loss of retuned is", "retuned bikes", "retuned patient"):
        assert expected in told, told


def test_every_command_of_feed_rows_and_labels_works() -> None:
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", 8420)) != 0, "port 8420 is in use: free it"
    blocks = commands("feed-rows-and-labels.md")
    assert len(blocks) == 6
    # A socket's path is short: pytest's own temporary directories are too long for it.
    with tempfile.TemporaryDirectory(prefix="rt-") as directory:
        told = run(blocks, Path(directory))
    for expected in (
        '"accepted":2',
        '"accepted": 1',
        "200 rows sent from history.ndjson: 200 accepted",
        "200 labels sent",
        "204, 202 with a label",
    ):
        assert expected in told, f"{expected}\n{told}"
