"""The how-to's commands, run as they stand on a short history."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pyarrow.parquet as pq
import pytest

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(600)]

GUIDE = Path(__file__).parents[2] / "docs" / "how-to" / "is-it-worth-it.md"
DATA = files("retuned.demo") / "data" / "bike_sharing.parquet"


def test_every_command_of_is_it_worth_it_works(tmp_path: Path) -> None:
    pq.write_table(pq.read_table(str(DATA)).slice(0, 4000), tmp_path / "history.parquet")
    blocks = re.findall(r"^```sh\n(.*?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RETUNED_")}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    done = subprocess.run(
        ["bash", "-c", "set -euo pipefail\n" + "\n".join(blocks)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    told = done.stdout + done.stderr
    assert done.returncode == 0, told
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
