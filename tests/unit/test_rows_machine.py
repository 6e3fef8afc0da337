"""A row log and a plain ledger live through the same history, and agree as of every moment."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tests.unit.test_rows_log import Record, append, label_batch, outcome, row, seen

from retuned.rows import compact, ids
from retuned.rows.log import RowLog
from retuned.rows.retain import Limits
from retuned_pipelines.schema import Task


@dataclass
class Ledger:
    """What a row log should be, as plain lists: the oracle."""

    seq: int = 0
    rows: dict[str, list[tuple[int, int, float]]] = field(default_factory=dict)
    labels: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)

    def append(self, records: Sequence[Record]) -> tuple[int, int, int]:
        counts = [0, 0, 0]
        for record in records:
            if record["id"] in self.gone:
                continue
            known = self.rows.setdefault(record["id"], [])
            content = (record["t"], record["x"])
            is_same = bool(known) and known[-1][1:] == content
            counts[1 if is_same else 2 if known else 0] += 1
            if not is_same:
                self.seq += 1
                known.append((self.seq, *content))
        for record in records:
            if "y" in record:
                self.label(record["id"], record["y"])
        return counts[0], counts[1], counts[2]

    def forget(self, name: str) -> bool:
        is_known = name in self.rows or name in self.labels
        if is_known:
            self.gone.add(name)
        self.rows.pop(name, None)
        self.labels.pop(name, None)
        return is_known

    def label(self, name: str, value: float) -> int:
        """Position in a receipt: accepted, duplicate or revised; 3 for one that is forgotten."""
        if name in self.gone:
            return 3
        known = self.labels.setdefault(name, [])
        if known and known[-1][1] == value:
            return 1
        self.seq += 1
        known.append((self.seq, value))
        return 2 if len(known) > 1 else 0

    def window(self, as_of: int) -> list[tuple[Any, ...]]:
        found = []
        for name, versions in self.rows.items():
            rows = [version for version in versions if version[0] <= as_of]
            labels = [known for known in self.labels.get(name, []) if known[0] <= as_of]
            if rows:
                seq, time, x = rows[-1]
                label_seq, value = labels[-1] if labels else (-1, None)
                found.append((name, time, x, seq, label_seq, value))
        return sorted(found, key=lambda item: (item[1], item[3]))


NAMES = st.sampled_from("abcdef")
VALUES = st.sampled_from([5.0, 6.0])
ROWS = st.lists(
    st.builds(
        lambda name, time, x, more: row(name, time, x, **more),
        NAMES,
        st.integers(0, 4),
        st.sampled_from([0.0, 1.0]),
        st.one_of(st.just({}), st.fixed_dictionaries({"y": VALUES})),
    ),
    min_size=1,
    max_size=5,
)


class RowsAndLabels(RuleBasedStateMachine):
    """Rows, labels before and after them, corrections, repetitions, deletions, restarts."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        # Small enough for all of it to happen to a few rows.
        self.patch.setattr(ids, "IN_MEMORY", 3)
        self.patch.setattr(compact, "SEGMENT_ROWS", 6)
        self.patch.setattr(compact, "FAN_IN", 2)
        self.patch.setattr(compact, "FOLD_AFTER", 8)
        self.directory = TemporaryDirectory()
        self.path = Path(self.directory.name) / "demo.sqlite"
        self.log = RowLog(self.path, Task.REGRESSION)
        self.ledger = Ledger()

    def teardown(self) -> None:
        self.log.close()
        self.directory.cleanup()
        self.patch.undo()

    @rule(rows=ROWS)
    def rows_come(self, rows: list[Record]) -> None:
        # Labels that come along count by row, the last one of an id included.
        assert outcome(append(self.log, *rows)) == self.ledger.append(rows)

    @rule(labels=st.lists(st.tuples(NAMES, VALUES), min_size=1, max_size=4))
    def labels_come(self, labels: list[tuple[str, float]]) -> None:
        places = [self.ledger.label(name, value) for name, value in labels]
        batch = label_batch([name for name, _ in labels], [value for _, value in labels])
        receipt = self.log.append_labels(batch)
        assert (*outcome(receipt), receipt.forgotten) == tuple(map(places.count, range(4)))

    @rule(name=NAMES)
    def a_row_is_deleted(self, name: str) -> None:
        assert self.log.forget(name) == self.ledger.forget(name)

    @rule()
    def the_log_is_tidied(self) -> None:
        self.log.tidy(Limits())

    @rule()
    def the_log_rests(self) -> None:
        self.log.rest()

    @rule(is_index_lost=st.booleans())
    def the_daemon_starts_again(self, *, is_index_lost: bool) -> None:
        self.log.close()
        if is_index_lost:
            shutil.rmtree(self.path.with_suffix(".ids"), ignore_errors=True)
        self.log = RowLog(self.path, Task.REGRESSION)

    @invariant()
    def counts_agree(self) -> None:
        everything, counts = self.ledger.window(self.ledger.seq), self.log.counts()
        assert counts.last_seq == self.ledger.seq
        assert counts.rows == len(everything)
        assert counts.labelled == sum(item[4] != -1 for item in everything)

    @invariant()
    def windows_agree_as_of_every_moment(self) -> None:
        if self.log.schema is not None:
            for as_of in range(self.ledger.seq + 1):
                assert seen(self.log.window(as_of=as_of)) == self.ledger.window(as_of)

    @rule(newest=st.integers(1, 6), share=st.floats(0, 1))
    def parts_of_the_newest_window_agree(self, newest: int, share: float) -> None:
        log, everything = self.log, self.ledger.window(self.ledger.seq)
        if log.schema is None:
            return
        first = round(share * self.ledger.seq)
        labelled = [item for item in everything if item[4] != -1]
        assert seen(log.window(newest=newest)) == everything[-newest:]
        assert seen(log.window(newest=newest, labelled=True)) == labelled[-newest:]
        late = [item for item in everything if item[3] >= first]
        assert seen(log.window(first_seq=first)) == late
        matured = log.matured(first, self.ledger.seq)
        found = [] if matured is None else seen(matured)
        assert found == [item for item in everything if item[4] > first]


TestRowsAndLabels = RowsAndLabels.TestCase
TestRowsAndLabels.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
