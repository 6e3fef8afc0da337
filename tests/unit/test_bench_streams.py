"""The yardstick: which task a stream has, what is computed again, and when a bar is cleared."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from tests.benchmarks.folder import infer_task, read_folder
from tests.benchmarks.groups import SIX, Protocol, is_for
from tests.benchmarks.peers import follow, open_peer
from tests.benchmarks.results import Book, Figures
from tests.benchmarks.shows import BARS, Reading, best_of_six, cut, distances
from tests.benchmarks.tables import cuts_table, shows_table

from retuned.errors import ConfigError
from retuned.replay.history import History, read_history
from retuned.replay.policies import Refits
from retuned_pipelines.schema import Task

SETTINGS = {"rows": 10, "periods": 2}


@pytest.mark.parametrize(
    ("labels", "task"),
    [
        (pa.array([0, 1, 1, None]), Task.BINARY),
        (pa.array([0.0, 1.0, 1.0]), Task.BINARY),
        (pa.array(["up", "down"]), Task.BINARY),
        (pa.array([True, False]), Task.BINARY),
        (pa.array([0, 1, 2]), Task.MULTICLASS),
        (pa.array([f"c{number}" for number in range(200)]), Task.MULTICLASS),
        (pa.array(range(100)), Task.MULTICLASS),
        (pa.array(range(101)), Task.REGRESSION),
        (pa.array(range(101)).cast(pa.float64()), Task.REGRESSION),
        (pa.array([0.5, 1.0]), Task.REGRESSION),
    ],
)
def test_the_labels_tell_the_task(labels: pa.Array, task: Task) -> None:
    assert infer_task(pa.chunked_array([labels])) is task


def test_labels_that_are_all_the_same_are_no_task() -> None:
    with pytest.raises(ConfigError, match="one value only"):
        infer_task(pa.chunked_array([pa.array([1, 1, None])]))


def write(folder: Path, name: str, **more: Any) -> None:
    columns = {"x": [1.0, 2.0, 3.0, 4.0], "target": [0, 1, 0, 1], **more}
    pq.write_table(pa.table(columns), folder / f"{name}.parquet")


def test_a_stream_is_what_meta_json_says_and_else_what_its_columns_say(tmp_path: Path) -> None:
    write(tmp_path, "alike", time=[1, 2, 3, 4])
    write(tmp_path, "told", time=[1, 2, 3, 4])
    (tmp_path / "meta.json").write_text('{"told": {"task": "multiclass", "time": false}}')
    alike, told = read_folder(tmp_path)
    assert (alike.name, alike.task, alike.has_time, alike.rows) == ("alike", Task.BINARY, True, 4)
    assert (told.name, told.task, told.has_time) == ("told", Task.MULTICLASS, False)
    assert alike.spec([], 3).time == "time"
    assert told.spec(["SEARCH__TRIALS=9"], 3).search.trials == 9
    assert told.spec([], 3).search.seed == 3


def test_what_a_folder_lacks_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no stream"):
        read_folder(tmp_path)
    write(tmp_path, "alike")
    with pytest.raises(ConfigError, match="has no stream 'other'; it has alike"):
        read_folder(tmp_path, ["other"])
    pq.write_table(pa.table({"y": [1]}), tmp_path / "alike.parquet")
    with pytest.raises(ConfigError, match="has no column 'target'; it has y"):
        read_folder(tmp_path)


def test_what_was_computed_is_kept_group_by_group(tmp_path: Path) -> None:
    path, figures = tmp_path / "new" / "out.json", Figures(loss=0.5, cpu_s=2.0, periods=(0.4, 0.6))
    book = Book(path)
    assert not book.has("a", "retuned", SETTINGS)
    book.keep("a", "retuned", SETTINGS, {"retuned": figures})
    book.keep("a", "windows", SETTINGS, {"refit_all": figures})
    kept = Book(path)
    assert kept.has("a", "retuned", SETTINGS)
    assert not kept.has("b", "retuned", SETTINGS)
    assert kept.policies("a") == {"retuned": figures, "refit_all": figures}
    kept.forget("a", ["retuned"])
    assert not Book(path).has("a", "retuned", SETTINGS)
    assert Book(path).has("a", "windows", SETTINGS)
    assert list(json.loads(path.read_text())["a"]) == ["windows"]


def test_figures_of_other_settings_are_not_mixed(tmp_path: Path) -> None:
    book = Book(tmp_path / "out.json")
    book.keep("a", "retuned", SETTINGS, {})
    with pytest.raises(ConfigError, match=r"rows: 10, not 11\): compute it again"):
        book.has("a", "retuned", {**SETTINGS, "rows": 11})


def test_only_retuned_depends_on_the_keys_of_its_model_file(tmp_path: Path) -> None:
    write(tmp_path, "alike")
    (stream,) = read_folder(tmp_path)
    plain = Protocol(periods=2, bootstrap=0.2, seed=0, policy=())
    other = replace(plain, policy=("SEARCH__TRIALS=9",))
    assert plain.settings(stream, "windows") == other.settings(stream, "windows")
    assert plain.settings(stream, "retuned") != other.settings(stream, "retuned")


def test_leveraging_bagging_is_for_classes(tmp_path: Path) -> None:
    write(tmp_path, "classes")
    write(tmp_path, "numbers", target=[0.5, 1.5, 2.5, 3.5])
    classes, numbers = read_folder(tmp_path)
    assert is_for("lb", classes)
    assert not is_for("lb", numbers)
    assert is_for("arf", numbers)


def test_a_window_is_a_share_of_the_file() -> None:
    assert Refits("all").learn_from(500, 1000) == 0
    assert Refits("newest_5", share=0.05).learn_from(500, 1000) == 450
    assert Refits("newest_20", share=0.2).learn_from(150, 1000) == 0
    assert Refits("tiny", share=0.0001).learn_from(500, 1000) == 499


def stream(ours: float, windows: float = 5.0, *, cpu_s: float = 20.0) -> dict[str, Figures]:
    """A stream on which never_refitted loses 10, and refit_all takes 10 seconds."""
    found = {policy.name: Figures(loss=8.0, cpu_s=10.0) for policy in SIX}
    found |= {"never_refitted": Figures(loss=10.0), "newest_5": Figures(loss=windows, cpu_s=3.0)}
    return found | {"retuned": Figures(loss=ours, cpu_s=cpu_s)}


def test_cuts_are_shares_of_the_loss_without_refits() -> None:
    assert cut(stream(7.0), "retuned") == pytest.approx(30)
    assert cut(stream(7.0), "flaml") is None
    assert cut({"never_refitted": Figures(loss=0.0)}, "never_refitted") == 0


def test_hindsight_needs_all_six_windows() -> None:
    found = stream(7.0)
    assert best_of_six(found) == "newest_5"
    assert distances({"a": found}) == {"a": pytest.approx(20)}
    del found["newest_2"]
    assert best_of_six(found) is None
    assert distances({"a": found}) == {}


def readings(streams: dict[str, dict[str, Figures]]) -> dict[str, tuple[Reading | None, bool]]:
    found = {bar.name: (bar, bar.read(streams)) for bar in BARS}
    return {
        name: (reading, reading is not None and bar.is_cleared(reading))
        for name, (bar, reading) in found.items()
    }


def test_bars_are_cleared_by_good_figures() -> None:
    flaml = {"flaml": Figures(loss=6.0, cpu_s=21.0)}
    found = readings(
        {
            "one": stream(5.0) | flaml,
            "two": stream(7.5, windows=7.49, cpu_s=100.0),
            "occupancy": stream(5.3),
        }
    )
    assert all(is_cleared for _, is_cleared in found.values())
    mean, _ = found["mean cut"]
    ratio, _ = found["CPU beside refit_all"]
    assert mean is not None
    assert mean.value == pytest.approx((50 + 25 + 47) / 3)
    assert ratio == Reading(10, "two")


def test_each_bar_names_what_does_not_clear_it() -> None:
    flaml = {"flaml": Figures(loss=6.0, cpu_s=100.0)}
    found = readings(
        {
            "behind": stream(8.5),
            "worse": stream(11.0, cpu_s=101.0) | flaml,
            "occupancy": stream(5.31),
        }
    )
    assert not any(is_cleared for name, (_, is_cleared) in found.items() if name != "median cut")
    wheres = {name: reading.where for name, (reading, _) in found.items() if reading is not None}
    assert wheres == {
        "mean cut": "of 3",
        "median cut": "of 3",
        "streams ahead of refit_all": "1 of 3",
        "least cut": "worse",
        "farthest below the best of six": "worse",
        "the same on occupancy": "occupancy",
        "CPU beside refit_all": "worse",
        "CPU beside FLAML": "worse",
    }


def test_eleven_of_thirteen_streams_are_enough() -> None:
    (bar,) = (bar for bar in BARS if bar.unit == "% of streams")
    for ahead, is_enough in ((11, True), (10, False)):
        streams = {f"s{n}": stream(7.0 if n < ahead else 8.0) for n in range(13)}
        reading = bar.read(streams)
        assert reading is not None
        assert bar.is_cleared(reading) is is_enough


def test_what_was_not_measured_has_no_verdict() -> None:
    assert all(reading is None for reading, _ in readings({"none": {}}).values())
    table = shows_table({"none": {}})
    assert set(table.columns[-1].cells) == {"not measured"}


def test_a_peer_has_columns_where_it_was_measured() -> None:
    with_peer = stream(7.0) | {"arf": Figures(loss=9.0, cpu_s=4.4)}
    table = cuts_table({"one": stream(7.0), "two": with_peer})
    columns = {str(column.header): list(column.cells) for column in table.columns}
    assert columns["arf"] == ["-", "+10.0", "+10.0", "+10.0", "1"]
    assert columns["retuned"] == ["+30.0", "+30.0", "+30.0", "+30.0", "2"]
    assert columns["which"][:2] == ["newest_5", "newest_5"]
    assert "flaml" not in columns


class LastLabel:
    """A peer that answers with the newest label known, and writes down what it was told."""

    def __init__(self, target: NDArray[np.generic]) -> None:
        self.fits, self._target, self.told = 0, target, list[tuple[str, int, int]]()

    def learn(self, start: int, stop: int) -> None:
        self.told.append(("learn", start, stop))
        self.fits += 1

    def answer(self, start: int, stop: int) -> NDArray[np.generic]:
        self.told.append(("answer", start, stop))
        return np.full(stop - start, self._target[start - 1])


def history_of(folder: Path, rows: int = 10) -> History:
    target = [number % 3 for number in range(rows)]
    pq.write_table(pa.table({"x": [1.0] * rows, "target": target}), folder / "cycle.parquet")
    (found,) = read_folder(folder, ["cycle"])
    return read_history(found.path, found.spec([], 0), periods=2, bootstrap=0.2)


def test_a_peer_answers_a_period_before_its_labels_come(tmp_path: Path) -> None:
    history = history_of(tmp_path)
    (found,) = read_folder(tmp_path)
    peer = LastLabel(np.arange(10) % 3)
    policy = follow("last", peer, found.spec([], 0), history, lambda _: None)
    answer_then_learn = [("answer", 2, 6), ("learn", 2, 6), ("answer", 6, 10), ("learn", 6, 10)]
    assert peer.told == [("learn", 0, 2), *answer_then_learn]
    # Answers 1 1 1 1, 2 2 2 2 to 2 0 1 2, 0 1 2 0.
    assert policy.losses.tolist() == [1, 1, 0, 1, 1, 1, 0, 1]
    assert (policy.name, policy.fits) == ("last", 3)


@pytest.mark.parametrize("name", ["flaml", "arf", "lb"])
def test_a_peer_that_is_not_installed_tells_how_to_install_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = history_of(tmp_path)
    (found,) = read_folder(tmp_path)
    for module in ("flaml", "river", "river.compose"):
        monkeypatch.setitem(sys.modules, module, None)
    for module in ("flaml_peer", "river_peer"):
        monkeypatch.delitem(sys.modules, f"tests.benchmarks.{module}", raising=False)
    with pytest.raises(ConfigError, match="install the peers: make bench-peers"):
        open_peer(name, found.spec([], 0), history)
