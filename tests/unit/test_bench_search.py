"""The contest of searches: what is compared with what, and when ours is not worse."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console
from tests.benchmarks.folder import read_folder
from tests.benchmarks.results import Figures
from tests.benchmarks.search.contest import NAMED, contest
from tests.benchmarks.search.tables import mean_losses, tell


def told(found: dict[tuple[str, int], dict[str, Figures]]) -> str:
    console = Console(file=io.StringIO(), width=160)
    console.print(*tell(found, 30), sep="\n")
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_oldest_rows_are_searched_and_the_newest_tell(tmp_path: Path) -> None:
    columns = {"x": np.arange(100.0), "target": np.arange(100) % 2}
    pq.write_table(pa.table(columns), tmp_path / "line.parquet")
    (stream,) = read_folder(tmp_path)
    asked = contest(stream, seconds=7, seed=3, threads=2, policy=("SEARCH__FOLDS=2",))
    assert (asked.searched, asked.scored) == (60, (80, 100))
    assert (asked.spec.search.budget_s, asked.spec.search.seed, asked.spec.metric) == (
        7,
        3,
        "accuracy",
    )


def test_ten_tables_are_named() -> None:
    assert len(set(NAMED)) == 10


def test_losses_are_means_over_seeds() -> None:
    found = {("a", seed): {"retuned": Figures(loss=loss)} for seed, loss in enumerate((1.0, 3.0))}
    assert mean_losses(found) == {"a": {"retuned": 2.0}}


@pytest.mark.parametrize(("ours", "count"), [(1.0, "1"), (1.0099, "1"), (1.02, "0")])
def test_a_hundredth_more_is_not_worse(ours: float, count: str) -> None:
    text = told({("a", 0): {"retuned": Figures(loss=ours), "flaml": Figures(loss=1.0)}})
    row = next(line for line in text.splitlines() if line.startswith("│ flaml"))
    assert row.split("│")[2].strip() == count


def test_who_did_not_search_a_table_is_not_compared_on_it() -> None:
    text = told(
        {
            ("a", 0): {"retuned": Figures(loss=1.0), "tpe": Figures(loss=2.0)},
            ("b", 0): {"retuned": Figures(loss=1.0)},
        }
    )
    row = next(line for line in text.splitlines() if line.startswith("│ tpe"))
    assert [cell.strip() for cell in row.split("│")[2:5]] == ["1", "1", "0.500"]
