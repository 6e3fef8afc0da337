"""What was refused is kept with its reason, once, within bounds, until it comes right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest

from retuned.ingest.intake import Cargo, Taken
from retuned.ingest.resend import resend
from retuned.rows.aside import LONGEST_RECORD, cut, forget, in_general
from retuned.rows.batch import Rejected
from retuned.rows.file import LogFile
from retuned.rows.quarantine import Quarantine, Refusals


@pytest.fixture
def file(tmp_path: Path) -> Iterator[LogFile]:
    found = LogFile(tmp_path / "demo.sqlite")
    yield found
    found.close()


@pytest.fixture
def held(file: LogFile) -> Quarantine:
    return Quarantine(file)


def bad(name: str | None, x: object = "x", index: int = 0) -> Rejected:
    record = orjson.dumps({"id": name, "x": x}).decode()
    reason = f"field 'x' is {x!r}: expected a number or null"
    return Rejected(index=index, id=name, reason=reason, record=record)


def settle(
    held: Quarantine,
    *refused: Rejected,
    came: Sequence[str] = (),
    cargo: str = "rows",
    now: int = 1,
    most: int = 1000,
) -> None:
    ids = pa.array(came, pa.string())
    held.settle(cargo, refused, ids, source="http", now_us=now, max_rows=most)


def names(held: Quarantine) -> list[str | None]:
    return [item.row_id for item in held.page(limit=1000)][::-1]


def test_what_was_refused_is_kept_as_it_came(held: Quarantine) -> None:
    settle(held, bad("a"), now=7)
    (item,) = held.page(limit=10)
    assert (item.cargo, item.row_id, item.source, item.times) == ("rows", "a", "http", 1)
    assert item.reason == "field 'x' is 'x': expected a number or null"
    assert orjson.loads(item.record) == {"id": "a", "x": "x"}
    assert (item.first_us, item.last_us) == (7, 7)
    assert held.counts() == Refusals(rows=1, labels=0, dropped=0)


def test_the_same_record_again_only_counts(held: Quarantine) -> None:
    settle(held, bad("a"), bad("a"), now=1)
    settle(held, bad("a"), now=5)
    (item,) = held.page(limit=10)
    assert (item.first_us, item.last_us, item.times) == (1, 5, 3)
    # As a label it is something else.
    settle(held, bad("a"), cargo="labels")
    assert held.counts() == Refusals(rows=1, labels=1)


def test_a_row_that_came_right_leaves(held: Quarantine) -> None:
    settle(held, bad("a"), bad("a", "y"), bad("b"), bad(None))
    settle(held, bad("a"), cargo="labels")
    settle(held, came=["a", "c"])
    assert [(item.cargo, item.row_id) for item in held.page(limit=9)] == [
        ("labels", "a"),
        ("rows", None),
        ("rows", "b"),
    ]
    settle(held, came=["a"], cargo="labels")
    assert names(held) == ["b", None]


def test_a_row_that_came_right_leaves_after_a_restart_too(file: LogFile, held: Quarantine) -> None:
    settle(held, bad("a"))
    settle(Quarantine(file), came=["a"])
    assert names(held) == []


def test_a_parcel_with_both_a_right_and_a_wrong_row_of_an_id_keeps_the_wrong_one(
    held: Quarantine,
) -> None:
    for _ in range(2):
        settle(held, bad("a"), came=["a"])
    (item,) = held.page(limit=9)
    assert (item.row_id, item.times) == ("a", 2)


def test_where_there_are_too_many_those_leave_that_were_longest_not_sent(
    held: Quarantine,
) -> None:
    settle(held, *(bad(str(n)) for n in range(4)), now=1, most=4)
    settle(held, bad("0"), now=2, most=4)
    settle(held, bad("4"), bad("5"), now=3, most=4)
    assert names(held) == ["0", "3", "4", "5"]
    assert held.counts() == Refusals(rows=4, dropped=2)
    settle(held, bad("6"), now=4, most=0)
    assert held.counts() == Refusals(dropped=7)


def test_ids_that_left_are_not_remembered_for_ever(held: Quarantine) -> None:
    for n in range(50):
        settle(held, bad(str(n)), now=n, most=4)
    assert len((held._held or {"rows": frozenset()})["rows"]) <= 16
    settle(held, came=["49", "48"])
    assert names(held) == ["46", "47"]


def test_pages_go_from_the_newest_backwards(held: Quarantine) -> None:
    settle(held, *(bad(str(n)) for n in range(5)))
    settle(held, bad("l"), cargo="labels")
    first = held.page(limit=3)
    assert [item.row_id for item in first] == ["l", "4", "3"]
    assert [item.row_id for item in held.page(limit=9, after=first[-1].id)] == ["2", "1", "0"]
    assert [item.row_id for item in held.page(limit=9, cargo="labels")] == ["l"]


def test_a_person_is_forgotten_wherever_the_id_was_read(file: LogFile, held: Quarantine) -> None:
    settle(held, bad("a"), bad("a", "y"), bad("b"))
    settle(held, bad("a"), cargo="labels")
    with file.write() as db:
        assert forget(db, "a") == 3
    assert names(held) == ["b"]
    with file.read() as db:
        found = db.execute("SELECT record FROM quarantine").fetchall()
    assert '"a"' not in str(found)


def test_records_are_let_go_by_number_or_all(held: Quarantine) -> None:
    settle(held, *(bad(str(n)) for n in range(5)))
    newest = held.page(limit=1)[0].id
    assert held.remove([newest, 999]) == 1
    assert names(held) == ["0", "1", "2", "3"]
    assert held.remove([]) == 0
    assert held.remove(None) == 4
    settle(held, bad("7"))
    # A number is never given twice.
    assert held.page(limit=1)[0].id > newest


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("field 'x' is 'a': expected a number", "field 'x': expected a number"),
        ("field 'x' is ': expected': expected a number", "field 'x': expected a number"),
        ("unknown field 'y': fixed", "unknown field 'y': fixed"),
        ("label 7 is a third class: TASK", "a label is a third class: TASK"),
        ('label "x" is no class: expected text', "a label: expected text"),
    ],
)
def test_equal_mistakes_are_counted_together(reason: str, kind: str) -> None:
    assert in_general(reason) == kind


def test_reasons_are_counted_the_most_frequent_first(held: Quarantine) -> None:
    other = Rejected(index=0, id="z", reason="unknown field 'y'", record="{}")
    settle(held, other, bad("a", "p"), bad("b", "q"))
    assert held.reasons() == [
        ("rows", "field 'x': expected a number or null", 2),
        ("rows", "unknown field 'y'", 1),
    ]


def test_a_very_long_record_is_cut_between_characters() -> None:
    assert cut(b"{}") == "{}"
    assert cut(("ü" * LONGEST_RECORD).encode()) == "ü" * (LONGEST_RECORD // 2)
    assert cut(("x" + "ü" * LONGEST_RECORD).encode()) == "x" + "ü" * (LONGEST_RECORD // 2 - 1)


# Sending again


class Sink:
    """Takes every row whose x is not a text."""

    def __init__(self) -> None:
        self.came: list[tuple[Cargo, Any]] = []

    def take(self, cargo: Cargo, payload: bytes) -> Taken:
        records = orjson.loads(payload)
        self.came.append((cargo, [record["id"] for record in records]))
        rejected = tuple(
            Rejected(index=index, id=record["id"], reason="still wrong")
            for index, record in enumerate(records)
            if isinstance(record["x"], str)
        )
        return Taken(receipt=None, rejected=rejected)


def test_what_is_taken_leaves_and_what_is_refused_stays(held: Quarantine) -> None:
    settle(held, bad("a", 1), bad("b"), bad("c", 2))
    done = resend(held, Sink().take, None)
    assert done.taken == 2
    assert [reason for _, reason in done.refused] == ["still wrong"]
    assert names(held) == ["b"]


def test_rows_go_before_labels_and_only_those_asked_for(held: Quarantine) -> None:
    settle(held, bad("l", 1), cargo="labels")
    settle(held, *(bad(str(n), n) for n in range(450)))
    sink = Sink()
    first = held.ids("rows")[0]
    assert resend(held, sink.take, [first, 10_000]).taken == 1
    assert resend(held, sink.take, None).taken == 450
    assert [(cargo.value, len(ids)) for cargo, ids in sink.came] == [
        ("rows", 1),
        ("rows", 200),
        ("rows", 200),
        ("rows", 49),
        ("labels", 1),
    ]


@pytest.mark.parametrize("record", ['{"id": "a", "x": "bbb', "[1]", "a,b,c", ""])
def test_what_is_no_whole_object_cannot_be_sent_again(held: Quarantine, record: str) -> None:
    settle(held, Rejected(index=0, id="a", reason="no", record=record), bad("b", 1))
    done = resend(held, Sink().take, None)
    assert done.taken == 1
    assert "send the row itself again" in done.refused[0][1]
    assert names(held) == ["a"]
