"""The how-tos' commands, run as they stand on a short history."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tests.acceptance.daemon import MODEL, RealDaemon, bare
from tests.programs import told_by

from retuned.demo.history import Batch

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(600)]

GUIDES = Path(__file__).parents[2] / "docs" / "how-to"
DATA = files("retuned.demo") / "data" / "bike_sharing.parquet"


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder for sockets, whose paths are short: pytest's own ones are too long for them."""
    with tempfile.TemporaryDirectory(prefix="rt-") as directory:
        yield Path(directory)


def must_be_free(*ports: int) -> None:
    """Ports that a guide names."""
    for port in ports:
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0, f"port {port} is in use: free it"


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


def test_every_command_of_run_a_standby_works(short: Path) -> None:
    must_be_free(8421, 8422, 8423)
    blocks = commands("run-a-standby.md")
    assert len(blocks) == 5
    told = run(blocks, short)
    for expected in (
        '"accepted":1',
        "/problems/not-the-holder",
        "standby of http://127.0.0.1:8421",
        "/problems/rows-elsewhere",
        "rent: rows and decisions are with http://127.0.0.1:8422 from now on.",
        "http://127.0.0.1:8422 stands in for http://127.0.0.1:8421",
        "asked to adopt: its disk is gone",
    ):
        assert expected in told, f"{expected}\n{told}"


def test_every_command_of_feed_rows_and_labels_works(short: Path) -> None:
    must_be_free(8420)
    blocks = commands("feed-rows-and-labels.md")
    assert len(blocks) == 6
    told = run(blocks, short)
    for expected in (
        '"accepted":2',
        '"accepted": 1',
        "200 rows sent from history.ndjson: 200 accepted",
        "200 labels sent",
        "204, 202 with a label",
    ):
        assert expected in told, f"{expected}\n{told}"


def test_every_command_of_take_a_model_out_works(
    daemon: RealDaemon, history: Batch, tmp_path: Path
) -> None:
    must_be_free(8420)
    pq.write_table(pq.read_table(str(DATA)).slice(0, 2000), tmp_path / "history.parquet")
    daemon.port = 8420
    daemon.write_model("bikes", MODEL.replace("TRIALS=30", "TRIALS=2"))
    daemon.start()
    daemon.feed(history)
    daemon.wait_until(daemon.has_champion, 60)
    daemon.post("/v1/models/bikes/pause", {})
    daemon.wait_until(lambda: not daemon.get("/v1/models/bikes")["running"], 60)
    blocks = commands("take-a-model-out.md")
    assert len(blocks) == 6
    told = run(blocks, tmp_path)
    for expected in (
        "# Model card: bikes",
        '{"predictions": [',
        "retuned_model.py",
        "it answered the newest",
        "imported HistGradientBoostingRegressor",
        "bikes 1.1 comes out identical.",
    ):
        assert expected in told, told
    assert zipfile.is_zipfile(tmp_path / "bikes.zip")
    # The model that left says what the daemon says, on the rows that it was asked for.
    rows = bare(history)[:50]
    left = told_by(tmp_path / "bikes-model", rows)
    serving = daemon.post("/v1/models/bikes/predict", rows)
    home = [item["prediction"] for item in serving["predictions"]]
    assert left["predictions"] == pytest.approx(home, rel=1e-14)
    (snippet,) = re.findall(
        r"^```python\n(.*?)^```",
        (GUIDES / "take-a-model-out.md").read_text(),
        re.MULTILINE | re.DOTALL,
    )
    ran = subprocess.run(
        [sys.executable, "-c", snippet], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert ran.stdout.startswith("[")
    (version,) = (
        v
        for v in daemon.get("/v1/models/bikes/versions")["items"]
        if v["members"][0]["recipe"]["family"] == "imported"
    )
    # Killed and started again, the daemon has it still, and gives it back as it came.
    daemon.kill()
    daemon.start()
    folder = tmp_path / "back"
    name = f"bikes@{version['number']}"
    subprocess.run(
        [sys.executable, "-m", "retuned", "export", name, "--to", str(folder)], check=True
    )
    asked = json.loads((tmp_path / "rows.json").read_text())
    assert len(told_by(folder, asked)["predictions"]) == 2


def test_every_command_of_promote_and_roll_back_works(short: Path) -> None:
    must_be_free(8420)
    blocks = commands("promote-and-roll-back.md")
    assert len(blocks) == 5
    told = run(blocks, short)
    for expected in (
        "2 champion",
        "on probation beside version 1",
        "on the right: 1",
        "is champion, instead of 2.",
        "is champion, instead of 1.",
        '"is_serving":true',
        "flats in the new district look wrong",
    ):
        assert expected in told, f"{expected}\n{told}"
