"""The journal: what it stores is stored together, survives a kill, and is told once."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.takeovers import KEY

from retuned.errors import PermanentError, TransientError
from retuned.registry.history.chain import BEGINNING, linked
from retuned.registry.history.events import Event, EventKind, new_event_id
from retuned.registry.journal import Journal
from retuned.registry.memory import Fleeting, Memory
from retuned.runtime.clock import VirtualClock

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)

KILLED = """
import os, signal, sys
from pathlib import Path
from retuned.registry.history.events import Event, EventKind
from retuned.registry.journal import Journal
from retuned.registry.memory import Fleeting, Memory
from retuned.runtime.clock import SystemClock
journal = Journal(Path(sys.argv[1]), SystemClock())
event = Event(id="e1", at=1.0, model="demo", kind=EventKind.DECIDED, body={})
journal.append("demo", {"step": 1}, [event])
os.kill(os.getpid(), signal.SIGKILL)
"""


def event(name: str, model: str = "demo") -> Event:
    return Event(id=name, at=1.0, model=model, kind=EventKind.DECIDED, body={"why": name})


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(100.0)


@pytest.fixture
def journal(tmp_path: Path, clock: VirtualClock) -> Iterator[Journal]:
    journal = Journal(tmp_path / "journal.sqlite", clock)
    yield journal
    journal.close()


@contextmanager
def full_disk() -> Iterator[None]:
    """No file of this process may grow; SQLite is told so as by a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_nothing_is_known_of_a_new_model(journal: Journal) -> None:
    assert journal.state("demo") is None
    assert journal.waiting(10) == ()
    assert journal.drift("demo", "d1") is None
    assert journal.drifts("demo", 10) == ()


def test_the_last_state_of_each_model_is_remembered(journal: Journal) -> None:
    journal.append("demo", {"step": 1}, [])
    journal.append("other", {"step": 7}, [])
    journal.append("demo", {"step": 2}, [])
    assert journal.state("demo") == {"step": 2}
    assert journal.state("other") == {"step": 7}


def test_events_wait_in_the_order_of_their_writing(journal: Journal) -> None:
    journal.append("demo", {}, [event("b"), event("a")])
    journal.append("other", {}, [event("c", "other")])
    assert journal.waiting(10) == (event("b"), event("a"), event("c", "other"))
    assert journal.waiting(2) == (event("b"), event("a"))


def test_linked_events_wait_no_longer(journal: Journal) -> None:
    journal.append("demo", {}, [event("a"), event("b"), event("c")])
    texts = [event("a").text, event("c").text]
    journal.archive.keep("demo", linked("demo", BEGINNING, texts, KEY))
    assert journal.waiting(10) == (event("b"),)
    journal.append("demo", {}, [event("a")])
    assert journal.waiting(10) == (event("b"),)
    assert journal.archive.head("demo").number == 2


def test_an_event_that_is_repeated_waits_once_and_where_it_was(journal: Journal) -> None:
    journal.append("demo", {}, [event("a"), event("b")])
    journal.append("demo", {}, [event("a"), event("c")])
    assert [waiting.id for waiting in journal.waiting(10)] == ["a", "b", "c"]


def test_drift_reports_are_told_newest_first_with_their_time(
    journal: Journal, clock: VirtualClock
) -> None:
    journal.append("demo", {}, [], drift=("d1", {"alarm": False}))
    clock.move_to(200.0)
    journal.append("demo", {}, [], drift=("d2", {"alarm": True}))
    journal.append("other", {}, [], drift=("d1", {"of": "other"}))
    assert journal.drifts("demo", 10) == (
        ("d2", 200.0, {"alarm": True}),
        ("d1", 100.0, {"alarm": False}),
    )
    assert journal.drifts("demo", 1) == (("d2", 200.0, {"alarm": True}),)
    assert journal.drift("demo", "d1") == {"alarm": False}
    assert journal.drift("other", "d1") == {"of": "other"}


def test_a_report_that_is_repeated_is_kept_once(journal: Journal) -> None:
    journal.append("demo", {}, [], drift=("d1", {"n": 1}))
    journal.append("demo", {}, [], drift=("d1", {"n": 1}))
    assert len(journal.drifts("demo", 10)) == 1


def test_everything_is_there_when_the_file_is_opened_again(
    tmp_path: Path, clock: VirtualClock
) -> None:
    first = Journal(tmp_path / "again.sqlite", clock)
    first.append("demo", {"step": 1}, [event("a")], drift=("d1", {"n": 1}))
    first.close()
    again = Journal(tmp_path / "again.sqlite", clock)
    assert again.state("demo") == {"step": 1}
    assert again.waiting(10) == (event("a"),)
    assert again.drift("demo", "d1") == {"n": 1}
    again.close()


def test_what_was_stored_survives_a_kill(tmp_path: Path, clock: VirtualClock) -> None:
    path = tmp_path / "killed.sqlite"
    ended = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert ended.returncode == -signal.SIGKILL
    journal = Journal(path, clock)
    assert journal.state("demo") == {"step": 1}
    assert [waiting.id for waiting in journal.waiting(10)] == ["e1"]
    journal.close()


def test_what_cannot_be_written_as_json_stores_nothing(journal: Journal) -> None:
    journal.append("demo", {"step": 1}, [])
    with pytest.raises(TypeError):
        journal.append("demo", {"step": 2}, [event("a")], drift=("d1", {"no": object()}))
    assert journal.state("demo") == {"step": 1}
    assert journal.waiting(10) == ()
    journal.append("demo", {"step": 3}, [])
    assert journal.state("demo") == {"step": 3}


def test_a_full_disk_stores_nothing_and_passes(journal: Journal) -> None:
    journal.append("demo", {"step": 1}, [])
    with full_disk(), pytest.raises(TransientError, match="free some disk space"):
        journal.append("demo", {"step": 2, "much": "x" * 100_000}, [event("a")])
    assert journal.state("demo") == {"step": 1}
    assert journal.waiting(10) == ()
    journal.append("demo", {"step": 3}, [event("a")])
    assert journal.state("demo") == {"step": 3}
    assert journal.waiting(10) == (event("a"),)


def test_a_damaged_file_says_so(tmp_path: Path, clock: VirtualClock) -> None:
    path = tmp_path / "damaged.sqlite"
    path.write_bytes(b"this is no database " * 500)
    with pytest.raises(PermanentError, match="restore it from a backup"):
        Journal(path, clock)


def test_many_threads_lose_nothing(journal: Journal) -> None:
    def write(number: int) -> None:
        model = f"m{number % 4}"
        journal.append(model, {"by": number}, [event(f"e{number}", model)])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(100)))
    assert {waiting.id for waiting in journal.waiting(1000)} == {f"e{n}" for n in range(100)}
    assert all(journal.state(f"m{number}") is not None for number in range(4))


@given(st.dictionaries(st.text(), JSON, max_size=4), st.sampled_from(EventKind))
def test_an_event_is_read_as_it_was_written(body: dict[str, object], kind: EventKind) -> None:
    told = Event(id="e", at=1.25, model="demo", kind=kind, body=body)
    assert Event.from_json(told.to_json()) == told


def test_ids_of_later_events_sort_later_and_none_comes_twice() -> None:
    moments = [1e9 + n / 100 for n in range(500)]
    ids = [new_event_id(moment) for moment in moments]
    assert ids == sorted(ids)
    assert len({new_event_id(5.0) for _ in range(500)}) == 500


# What the registry held


@pytest.mark.parametrize("kind", ["journal", "fleeting"])
def test_what_is_remembered_is_recalled_by_model_and_name(tmp_path: Path, kind: str) -> None:
    journal = Journal(tmp_path / "journal.sqlite", VirtualClock())
    memory: Memory = journal if kind == "journal" else Fleeting()
    assert memory.recall("demo", "a") is None
    assert memory.recall_all("demo") == {}
    memory.remember("demo", {"a": b"1", "b": b"2"})
    memory.remember("other", {"a": b"3"})
    memory.remember("demo", {"a": None, "b": b"4", "c": b"\xff"})
    assert memory.recall("demo", "a") is None
    assert memory.recall("demo", "b") == b"4"
    assert memory.recall_all("demo") == {"b": b"4", "c": b"\xff"}
    assert memory.recall_all("other") == {"a": b"3"}
    journal.close()
    if kind == "journal":
        journal = Journal(tmp_path / "journal.sqlite", VirtualClock())
        assert journal.recall_all("demo") == {"b": b"4", "c": b"\xff"}
        journal.close()
