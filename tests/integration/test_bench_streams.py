"""The yardstick on a small folder: everything is computed once, and what is asked for again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.benchmarks.streams import main

KEYS = ("SEARCH__TRIALS=2", "WATCH__MIN_ROWS=200", "WATCH__EVERY_ROWS=600", "GATE__BLOCKS=5")
ROWS = 1500
WINDOWS = {
    *("never_refitted", "refit_all", "refit_window", "newest_10", "newest_5", "newest_2"),
    *("persistence", "constant"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A line and a boundary, which turn round in the middle."""
    folder = tmp_path_factory.mktemp("streams")
    rng = np.random.default_rng(0)
    x, z = rng.normal(size=(2, ROWS))
    signal = np.where(np.arange(ROWS) < ROWS // 2, 3.0, -3.0) * x + z
    time = pa.array(np.arange(ROWS)).cast(pa.timestamp("s"))
    for name, target in (("line", signal), ("sides", (signal > 0).astype(int))):
        table = pa.table({"time": time, "x": x, "z": z, "target": target})
        pq.write_table(table, folder / f"{name}.parquet")
    return folder


def run(folder: Path, *more: str) -> dict[str, Any]:
    out = folder / "out.json"
    policies = [f"--policy={key}" for key in KEYS]
    arguments = [str(folder), "--out", str(out), "--periods", "2", "--workers", "2"]
    assert main([*arguments, *policies, *more]) == 0
    found: dict[str, Any] = json.loads(out.read_text())
    return found


def test_a_folder_is_measured_once_and_what_is_asked_for_again(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = run(folder)
    assert list(first) == ["line", "sides"]
    for groups in first.values():
        assert set(groups["windows"]["policies"]) == WINDOWS
        (ours,) = groups["retuned"]["policies"].values()
        assert len(ours["periods"]) == 2
        assert ours["fits"] >= 1
        assert ours["cpu_s"] == pytest.approx(sum(ours["cpu"].values()))
        assert ours["loss"] == pytest.approx(np.mean(ours["periods"]))
    told = capsys.readouterr().out
    assert "4 of 4: retuned on sides" in told
    for shown in ("line", "sides", "mean", "median", "farthest below the best of six", "verdict"):
        assert shown in told

    assert run(folder) == first
    assert "retuned on" not in capsys.readouterr().out

    second = run(folder, "--only", "line", "--again", "retuned")
    told = capsys.readouterr().out
    assert "1 of 1: retuned on line" in told
    assert second["sides"] == first["sides"]
    assert second["line"]["windows"] == first["line"]["windows"]
    one, two = (
        found["line"]["retuned"]["policies"]["retuned"]["periods"] for found in (first, second)
    )
    assert one == two


def test_what_cannot_be_measured_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(folder / "none.json")
    assert main([str(folder), "--out", out, "--peers", "cron"]) == 1
    assert "'cron' is no peer; known are flaml, arf, lb" in capsys.readouterr().err
    assert main([str(folder), "--out", out, "--again", "everything"]) == 1
    assert "'everything' is no group" in capsys.readouterr().err
    assert main([str(folder / "away"), "--out", out]) == 1
    assert "holds no stream" in capsys.readouterr().err
