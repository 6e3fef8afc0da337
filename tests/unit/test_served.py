"""Answers are logged without anybody waiting, found again by row, and let go in time."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from retuned.errors import PermanentError, TransientError
from retuned.serve import served_log
from retuned.serve.served import FORMAT, Answers, ServedFile
from retuned.serve.served_log import ServedLog
from retuned_pipelines.spec import ServePolicy

WAIT_S = 20.0
DAY_US = 86_400_000_000
ALWAYS = ServePolicy()


def numbers(
    *values: float, at: int = 1, revision: str = "1.1", ids: tuple[str, ...] = ()
) -> Answers:
    return Answers(ids=ids, at_us=at, revision=revision, classes=(), output=np.array(values))


def shares(*rows: tuple[float, ...], ids: tuple[str, ...] = ()) -> Answers:
    classes = tuple(f'"{name}"' for name in "abcdef"[: len(rows[0])])
    return Answers(ids=ids, at_us=1, revision="2.3", classes=classes, output=np.array(rows))


@pytest.fixture
def file(tmp_path: Path) -> Iterator[ServedFile]:
    found = ServedFile(tmp_path / "served" / "demo.sqlite")
    yield found
    found.close()


# The file


def test_numbers_come_back_exactly_and_probabilities_in_single_precision(file: ServedFile) -> None:
    file.append([numbers(0.1, -1e300, ids=("a", "b")), shares((0.1, 0.9), ids=("c",))])
    (a,), (b,), (c,) = (file.newest(name, 9) for name in "abc")
    assert (float(a.output), float(b.output)) == (0.1, -1e300)
    assert (a.revision, a.classes, a.at_us) == ("1.1", (), 1)
    assert (c.revision, c.classes) == ("2.3", ('"a"', '"b"'))
    assert c.output.tolist() == np.array([0.1, 0.9], "f4").astype("f8").tolist()
    assert file.newest("d", 9) == []


def test_the_last_answer_up_to_a_moment_is_found(file: ServedFile) -> None:
    file.append([numbers(float(at), at=at, ids=("a",)) for at in (10, 20, 30)])
    found = {until: file.last("a", until) for until in (9, 10, 25, 99)}
    assert {until: answer and float(answer.output) for until, answer in found.items()} == {
        9: None,
        10: 10.0,
        25: 20.0,
        99: 30.0,
    }
    assert [float(answer.output) for answer in file.newest("a", 2)] == [30.0, 20.0]


def test_one_revision_may_have_had_several_classes(file: ServedFile) -> None:
    file.append([shares((0.5, 0.5), ids=("a",)), shares((0.2, 0.3, 0.5), ids=("a",))])
    assert [len(answer.classes) for answer in file.newest("a", 9)] == [3, 2]


def test_a_share_takes_the_same_ids_each_time(file: ServedFile) -> None:
    ids = tuple(f"r{n}" for n in range(2000))
    batch = numbers(*range(2000), ids=ids)
    first = file.append([batch], share=0.25)
    assert first == pytest.approx(500, abs=80)
    assert file.append([batch], share=0.25) == first
    assert {len(file.newest(name, 9)) for name in ids} == {0, 2}


def test_a_person_is_forgotten_for_good(file: ServedFile, tmp_path: Path) -> None:
    file.append([numbers(1234.5678, 2.0, ids=("a", "b")), numbers(1234.5678, ids=("a",))])
    assert file.forget("a") == 2
    assert file.newest("a", 9) == []
    assert len(file.newest("b", 9)) == 1
    stored = np.array([1234.5678], ">f8").tobytes()
    for path in (tmp_path / "served").iterdir():
        assert stored not in path.read_bytes()


def test_what_is_too_old_goes_and_what_is_too_much(file: ServedFile) -> None:
    for at in range(10):
        file.append([numbers(*[0.0] * 1000, at=at, ids=tuple(f"{at}-{n}" for n in range(1000)))])
    assert file.prune(before_us=3, rows=100_000) == 3000
    assert file.prune(before_us=3, rows=100_000) == 0
    assert file.prune(before_us=0, rows=2000) == 5000
    left = {at for at in range(10) if file.newest(f"{at}-0", 1)}
    assert left == {8, 9}


def test_a_damaged_file_and_one_of_a_newer_release_are_told(tmp_path: Path) -> None:
    path = tmp_path / "demo.sqlite"
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(PermanentError, match="move it away"):
        ServedFile(path)
    other = tmp_path / "other.sqlite"
    ServedFile(other).close()
    with sqlite3.connect(other) as db:
        db.execute(f"PRAGMA user_version = {FORMAT + 1}")
    db.close()
    with pytest.raises(PermanentError, match="newer release"):
        ServedFile(other)
    (tmp_path / "file").write_text("")
    with pytest.raises(TransientError, match="cannot be written"):
        ServedFile(tmp_path / "file" / "demo.sqlite")


# The log


@pytest.fixture
def dropped() -> list[tuple[str, int]]:
    return []


@pytest.fixture
def log(tmp_path: Path, dropped: list[tuple[str, int]]) -> Iterator[ServedLog]:
    found = ServedLog(tmp_path / "served", dropped=lambda *lost: dropped.append(lost))
    yield found
    found.close()


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    pause = threading.Event()
    while not is_so():
        assert time.monotonic() < deadline
        pause.wait(0.01)


def stored(directory: Path, model: str = "demo") -> int:
    path = directory / "served" / f"{model}.sqlite"
    if not path.exists():
        return 0
    db = sqlite3.connect(path)
    try:
        (count,) = db.execute("SELECT count(*) FROM answer").fetchone()
    except sqlite3.OperationalError:
        return 0  # just being made
    finally:
        db.close()
    return int(count)


def test_answers_reach_the_disk_by_themselves(log: ServedLog, tmp_path: Path) -> None:
    log.note("demo", ["a", "b"], numbers(1.0, 2.0), ALWAYS)
    until(lambda: stored(tmp_path) == 2)
    log.note("demo", ["c"], numbers(3.0), ALWAYS)
    log.note("other", ["c"], numbers(3.0), ALWAYS)
    until(lambda: stored(tmp_path) == 3 and stored(tmp_path, "other") == 1)


def test_what_was_noted_is_found_at_once(log: ServedLog) -> None:
    log.note("demo", ["a"], numbers(1.5, at=5), ALWAYS)
    (found,) = log.newest("demo", "a", 9)
    assert float(found.output) == 1.5
    log.note("demo", ["a"], numbers(2.5, at=7), ALWAYS)
    answers = log.last("demo", ["a", "a", "b"], [6, 7, 9])
    assert [answer and float(answer.output) for answer in answers] == [1.5, 2.5, None]
    assert log.last("other", ["a"], [9]) == [None]
    assert log.newest("other", "a", 9) == []


def test_only_rows_with_an_id_are_logged(log: ServedLog, tmp_path: Path) -> None:
    ids = [None, 7, "a", "", True, 1.5, "x" * 513]
    log.note("demo", ids, numbers(*range(7)), ALWAYS)
    log.flush()
    assert stored(tmp_path) == 2
    assert [float(log.newest("demo", name, 9)[0].output) for name in ("7", "a")] == [1.0, 2.0]


def test_a_share_of_none_writes_nothing(log: ServedLog, tmp_path: Path) -> None:
    log.note("demo", ["a"], numbers(1.0), replace(ALWAYS, log_predictions=0.0))
    log.note("demo", [None], numbers(1.0), ALWAYS)
    log.flush()
    assert not (tmp_path / "served").exists()


def test_memory_is_bounded_and_what_is_dropped_is_counted(
    log: ServedLog, dropped: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served_log, "MOST_BYTES", 1000)
    log.note("demo", [f"r{n}" for n in range(8)], numbers(*range(8)), ALWAYS)
    assert dropped == [("demo", 8)]
    log.note("demo", ["a"], numbers(1.0), ALWAYS)
    log.flush()
    # There is room again.
    for _ in range(20):
        log.note("demo", ["a"] * 7, numbers(*range(7)), ALWAYS)
        log.flush()
    assert dropped == [("demo", 8)]


def test_while_the_disk_fails_answers_wait_and_nobody_notices(
    log: ServedLog, tmp_path: Path, dropped: list[tuple[str, int]]
) -> None:
    (tmp_path / "served").write_text("in the way")
    log.note("demo", ["a"], numbers(1.0), ALWAYS)
    assert not log.flush()
    log.note("demo", ["b"], numbers(2.0), ALWAYS)
    (tmp_path / "served").unlink()
    assert log.flush()
    assert stored(tmp_path) == 2
    assert dropped == []


def test_a_damaged_file_costs_its_answers_and_no_memory(
    log: ServedLog, tmp_path: Path, dropped: list[tuple[str, int]]
) -> None:
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "demo.sqlite").write_bytes(b"no database" * 1000)
    log.note("demo", ["a"], numbers(1.0), ALWAYS)
    log.note("other", ["a"], numbers(1.0), ALWAYS)
    log.flush()
    assert dropped == [("demo", 1)]
    assert log._size == 0
    assert len(log.newest("other", "a", 9)) == 1
    with pytest.raises(PermanentError, match="damaged"):
        log.newest("demo", "a", 9)


def test_a_person_is_forgotten_even_where_the_answer_was_still_waiting(log: ServedLog) -> None:
    log.note("demo", ["a", "b"], numbers(1.0, 2.0), ALWAYS)
    assert log.forget("demo", "a") == 1
    assert log.newest("demo", "a", 9) == []
    assert len(log.newest("demo", "b", 9)) == 1
    assert log.forget("nobody", "a") == 0


def test_an_answer_that_cannot_be_deleted_now_is_told(log: ServedLog, tmp_path: Path) -> None:
    (tmp_path / "served").write_text("in the way")
    log.note("demo", ["a"], numbers(1.0), ALWAYS)
    with pytest.raises(TransientError, match="delete it again"):
        log.forget("demo", "a")
    (tmp_path / "served").unlink()
    assert log.forget("demo", "a") == 1


def test_old_answers_go_while_new_ones_come(log: ServedLog) -> None:
    policy = replace(ALWAYS, log_days=1.0)
    log.note("demo", ["old"], numbers(1.0, at=1), policy)
    log.flush()
    log._pruned.clear()
    log.note("demo", ["new"], numbers(1.0, at=DAY_US + 2), policy)
    assert log.newest("demo", "old", 9) == []
    assert len(log.newest("demo", "new", 9)) == 1


def test_what_waits_is_written_when_the_daemon_stops(
    tmp_path: Path, dropped: list[tuple[str, int]]
) -> None:
    log = ServedLog(tmp_path / "served", dropped=lambda *lost: dropped.append(lost))
    log.note("demo", ["a"], numbers(1.0), ALWAYS)
    log.close()
    assert stored(tmp_path) == 1
    log.note("demo", ["b"], numbers(1.0), ALWAYS)
    assert dropped == [("demo", 1)]


def test_a_file_that_nobody_uses_is_closed_until_it_is_needed(
    log: ServedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.note("demo", ["a"], numbers(1.0), ALWAYS)
    log.flush()
    monkeypatch.setattr(served_log, "IDLE_S", -1.0)
    log._rest_idle()
    assert log._files == {}
    monkeypatch.undo()
    assert len(log.newest("demo", "a", 9)) == 1


def test_many_threads_lose_nothing(log: ServedLog, tmp_path: Path) -> None:
    def ask(number: int) -> None:
        for n in range(200):
            log.note("demo", [f"{number}-{n}"], numbers(float(n)), ALWAYS)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert float(log.newest("demo", "3-199", 1)[0].output) == 199.0
    assert stored(tmp_path) == 800
