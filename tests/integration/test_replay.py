"""Replays: honest about time, the same every time, and told in full."""

from __future__ import annotations

import copy
import io
import json
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from retuned.cli import main
from retuned.errors import ConfigError, PermanentError
from retuned.replay.history import read_history
from retuned.replay.run import read_spec

ENV = "TASK=regression\nTARGET=y\nWATCH__MIN_ROWS=100\nWATCH__EVERY_ROWS=100\nSEARCH__TRIALS=4\n"
POLICIES = ["retuned", "never_refitted", "refit_all", "refit_window", "persistence", "constant"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A line whose slope turns round in the middle."""
    folder = tmp_path_factory.mktemp("replay")
    rng = np.random.default_rng(0)
    x, z = rng.normal(size=(2, 1000))
    slope = np.where(np.arange(1000) < 500, 3.0, -3.0)
    kind = rng.choice(["a", "b"], 1000)
    y = slope * x + z + (kind == "a") + rng.normal(0, 0.2, 1000)
    table = pa.table({"x": x, "z": z, "kind": kind, "y": y})
    pq.write_table(table, folder / "line.parquet")
    pyarrow.csv.write_csv(table, folder / "line.csv")
    (folder / "line.env").write_text(ENV)
    return folder


def run(folder: Path, *more: str) -> dict[str, Any]:
    out = folder / "out.json"
    file, env = str(folder / "line.parquet"), str(folder / "line.env")
    arguments = ["replay", file, "--model", env, "--json", str(out), "--periods", "5", *more]
    assert main(arguments) == 0
    found: dict[str, Any] = json.loads(out.read_text())
    return found


@dataclass
class Plain:
    """A replay without more options, by two workers: what it found, printed and drew."""

    folder: Path
    found: dict[str, Any]
    printed: str
    page: str


@pytest.fixture(scope="module")
def plain(folder: Path) -> Plain:
    page, printed = folder / "line.html", io.StringIO()
    with redirect_stdout(printed):
        found = run(folder, "--workers", "2", "--html", str(page))
    return Plain(folder, found, printed.getvalue(), page.read_text())


def without_seconds(told: dict[str, Any]) -> dict[str, Any]:
    found = copy.deepcopy(told)
    for policy in found["policies"].values():
        del policy["cpu_s"]
        policy.pop("cpu_by", None)
    for decision in found["decisions"]:
        del decision["expected_cpu_s"]
    return found


def test_a_replay_tells_all_policies_periods_and_decisions(plain: Plain) -> None:
    found = plain.found
    assert list(found["policies"]) == POLICIES
    assert len(found["periods"]) == 5
    assert sum(period["rows"] for period in found["periods"]) == 800
    assert found["policies"]["never_refitted"]["cut"] == 0
    assert found["policies"]["retuned"]["loss"] < found["policies"]["never_refitted"]["loss"]
    assert {decision["decision"] for decision in found["decisions"]} >= {"refresh", "retune"}
    for name, policy in found["policies"].items():
        losses = [period["loss"][name] for period in found["periods"]]
        assert policy["loss"] == pytest.approx(np.mean(losses))
    assert all(name in plain.printed for name in POLICIES)
    for title in ("Was it worth it?", "Loss over time", "Where the compute went"):
        assert title in plain.page


def test_the_number_of_workers_changes_nothing(plain: Plain) -> None:
    one = run(plain.folder, "--workers", "1")
    assert without_seconds(one) == without_seconds(plain.found)


def test_csv_and_parquet_are_the_same_history(folder: Path) -> None:
    spec = read_spec(folder / "line.env", [], 0)
    one, two = (
        read_history(folder / name, spec, periods=4, bootstrap=0.2)
        for name in ("line.parquet", "line.csv")
    )
    assert one.edges == two.edges == (200, 400, 600, 800, 1000)
    assert one.window.features.equals(two.window.features)


def test_rows_of_one_time_keep_the_order_of_the_file(tmp_path: Path) -> None:
    table = pa.table({"t": [2.0, 1.0, 2.0, 1.0], "x": [1.0, 2.0, 3.0, 4.0], "y": [0.0] * 4})
    table = table.set_column(0, "t", table["t"].cast(pa.int64()).cast(pa.timestamp("s")))
    pq.write_table(table, tmp_path / "ties.parquet")
    (tmp_path / "ties.env").write_text("TASK=regression\nTARGET=y\nTIME=t\n")
    spec = read_spec(tmp_path / "ties.env", [], 0)
    history = read_history(tmp_path / "ties.parquet", spec, periods=2, bootstrap=0.25)
    assert history.window.features["x"].to_pylist() == [2.0, 4.0, 1.0, 3.0]


def test_keys_can_be_replaced_and_wrong_ones_are_told(folder: Path) -> None:
    spec = read_spec(folder / "line.env", ["SEARCH__TRIALS=9", "GATE__BLOCKS=5"], 3)
    assert (spec.search.trials, spec.gate.blocks, spec.search.seed) == (9, 5, 3)
    with pytest.raises(ConfigError, match="did you mean SEARCH__TRIALS"):
        read_spec(folder / "line.env", ["SEARCH__TRAILS=9"], 0)
    with pytest.raises(ConfigError, match="is not KEY=VALUE"):
        read_spec(folder / "line.env", ["SEARCH__TRIALS"], 0)


def test_a_file_without_the_target_is_told(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "other.env").write_text("TASK=regression\nTARGET=price\n")
    spec = read_spec(tmp_path / "other.env", [], 0)
    with pytest.raises(PermanentError, match="no column 'price'; it has x, z, kind, y"):
        read_history(folder / "line.parquet", spec, periods=4, bootstrap=0.2)


def test_a_file_that_is_no_table_is_told(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "junk.parquet").write_text("no")
    spec = read_spec(folder / "line.env", [], 0)
    with pytest.raises(PermanentError, match="cannot be read"):
        read_history(tmp_path / "junk.parquet", spec, periods=4, bootstrap=0.2)


def test_one_answer_at_a_time_is_switched_and_told(folder: Path) -> None:
    found = run(folder, "--policy", "SERVE__MAX_MEMBERS=1")
    assert found["policies"]["retuned"]["cut"] > 0
    assert found["policies"]["retuned"]["fits"] > 5


def test_labels_that_come_later_are_known_later_to_everybody(folder: Path, plain: Plain) -> None:
    spec = read_spec(folder / "line.env", [], 0)
    history = read_history(folder / "line.parquet", spec, periods=4, bootstrap=0.2, label_delay=2)
    assert [history.known(n) for n in range(5)] == [200, 200, 200, 400, 600]
    soon, late = plain.found, run(folder, "--label-delay", "1")
    for policy in ("retuned", "refit_all", "persistence"):
        assert late["policies"][policy]["loss"] != soon["policies"][policy]["loss"]
    for policy in ("never_refitted", "constant"):
        assert late["policies"][policy]["loss"] == soon["policies"][policy]["loss"]


def dirty(task: str, rows: int = 900) -> pa.Table:
    """What real files are like: holes, ties, duplicates, constants, strangers, late classes."""
    rng = np.random.default_rng(7)
    x = rng.normal(size=rows).round(1)
    kind = rng.choice(["a", "b"], rows).astype(object)
    kind[600:] = "stranger"
    holes = np.where(rng.random(rows) < 0.3, np.nan, x)
    if task == "regression":
        target = x + (kind == "a")
    else:
        classes = np.where(x > 0.5, 2, np.where(x > -0.5, 1, 0))
        # The third class comes late, and for a whole period there is one class only.
        target = np.where(np.arange(rows) < 400, np.minimum(classes, 1), classes)
        target[450:760] = 1
        target = np.minimum(target, 1) if task == "binary" else target
    return pa.table(
        {
            "t": np.repeat(np.arange(4), rows // 4 + 1)[:rows] * 1_000_000,
            "x": x,
            "holes": pa.array(holes, from_pandas=True),
            "nothing": pa.nulls(rows, pa.float64()),
            "constant": np.ones(rows),
            "kind": kind.tolist(),
            "y": target,
        }
    )


@pytest.mark.parametrize("task", ["regression", "binary", "multiclass"])
def test_files_as_they_are_do_no_harm(task: str, tmp_path: Path) -> None:
    table = dirty(task)
    # Every row twice: identity is never derived from content.
    pq.write_table(pa.concat_tables([table, table]).sort_by("t"), tmp_path / "line.parquet")
    (tmp_path / "line.env").write_text(
        f"TASK={task}\nTARGET=y\nTIME=t\nWATCH__MIN_ROWS=100\nWATCH__EVERY_ROWS=100\n"
        "SEARCH__TRIALS=3\n"
    )
    spec = read_spec(tmp_path / "line.env", [], 0)
    history = read_history(tmp_path / "line.parquet", spec, periods=5, bootstrap=0.2)
    labels = history.window.target.to_pylist()
    known = [set(labels[start:stop]) for start, stop in history.spans]
    assert len(set(history.window.time.tolist())) == 4
    if task != "regression":
        assert min(len(classes) for classes in known) == 1
    if task == "multiclass":
        assert "2" in set(labels) - set(labels[: history.bootstrap])
    found = run(tmp_path)
    policies = found["policies"]
    assert policies["retuned"]["loss"] <= policies["constant"]["loss"]
    assert all(period["champions"]["retuned"] for period in found["periods"])
