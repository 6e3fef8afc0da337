"""Which ids a row log knows: sorted runs on disk, the newest ids in memory.

A B-tree of digests takes a random page a row; with millions of rows every append then writes
as many pages as it has rows. A log-structured merge of sorted runs (O'Neil et al., 1996: The
log-structured merge-tree) writes in order. All of it is derived: what is missing or damaged
is read from the log again.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from retuned.rows.runs import SUFFIX, Run, merged, read_run, write_run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

IN_MEMORY = 16_384
"""Ids that are held in memory until they become a run."""

FAN_IN = 4
"""So many runs of one size are merged into one of the next."""


def digest(name: str) -> bytes:
    """What stands for an id: 128 bits."""
    return hashlib.blake2b(name.encode(), digest_size=16).digest()


class IdIndex:
    """Finds rows by id. For one thread at a time.

    It is not told of rows that are dropped: who asks looks whether they are there.
    """

    def __init__(self, directory: Path, mark: bytes) -> None:
        """Take the runs that are there; `take_runs` and `add` fill it.

        Args:
            directory: of the runs.
            mark: the log's own, 16 bytes; runs of another mark are not taken.
        """
        self._directory = directory
        self._mark = mark
        self._newest: dict[bytes, int] = {}
        # What revised rows were before: few, so that most ids cost one entry and no list.
        self._older: dict[bytes, list[int]] = {}
        self._runs: list[Run] = []
        self._covered = 0

    @property
    def covered(self) -> int:
        """Every row up to this sequence number is in a run."""
        return self._covered

    def take_runs(self, last_seq: int) -> None:
        """Take the runs on disk that continue each other and go no further than the log."""
        found = sorted(self._directory.glob(f"*{SUFFIX}"))
        runs = [run for run in (read_run(path, self._mark) for path in found) if run is not None]
        # A merge leaves its parts behind if it is cut off: the larger one of them counts.
        for run in sorted(runs, key=lambda run: (run.first_seq, -run.last_seq)):
            if run.first_seq == self._covered + 1 and run.last_seq <= last_seq:
                self._runs.append(run)
                self._covered = run.last_seq
        kept = {run.path for run in self._runs}
        for path in self._directory.glob("*"):
            if path not in kept:
                path.unlink(missing_ok=True)

    def find(self, digests: Sequence[bytes]) -> dict[int, list[int]]:
        """Rows of these ids: by position, their sequence numbers, the newest first."""
        found: dict[int, list[int]] = {}
        if self._runs and digests:
            wanted = _halves(digests)
            order = np.argsort(wanted[:, 0])
            keys, rests = np.ascontiguousarray(wanted[order].T)
            for run in self._runs:
                for place, seq in run.find(keys, rests):
                    found.setdefault(int(order[place]), []).append(seq)
        newest = self._newest
        if not newest.keys().isdisjoint(digests):
            for position, name in enumerate(digests):
                if name in newest:
                    seqs = [*self._older.get(name, ()), newest[name]]
                    found.setdefault(position, []).extend(seqs)
        for seqs in found.values():
            seqs.sort(reverse=True)
        return found

    def add(self, digests: Sequence[bytes], seqs: Sequence[int]) -> None:
        """Remember rows; they are newer than all that are there."""
        newest = self._newest
        if len(set(digests)) == len(digests) and newest.keys().isdisjoint(digests):
            newest.update(zip(digests, seqs, strict=True))
            return
        for name, seq in zip(digests, seqs, strict=True):
            if name in newest:
                self._older.setdefault(name, []).append(newest[name])
            newest[name] = seq

    def take_back(self, digests: Sequence[bytes], seqs: Sequence[int]) -> None:
        """Undo the last `add` that was not taken back; it did not become durable."""
        for name, _ in zip(reversed(digests), reversed(seqs), strict=True):
            del self._newest[name]
            if before := self._older.get(name):
                self._newest[name] = before.pop()
                if not before:
                    del self._older[name]

    def settle(self, last_seq: int, oldest: Callable[[], int]) -> None:
        """Make a run of what is in memory where that is much, and merge runs.

        Args:
            last_seq: the log's newest sequence number: everything up to it is known here.
            oldest: finds the sequence number of the log's oldest row.

        Raises:
            OSError: the disk is full; nothing is lost, it is tried again the next time.
        """
        if len(self._newest) + len(self._older) < IN_MEMORY:
            return
        pairs = [*self._newest.items()]
        pairs += [(name, seq) for name, seqs in self._older.items() for seq in seqs]
        names = [name for name, _ in pairs]
        seqs = np.array([seq for _, seq in pairs], np.int64)
        span = (self._covered + 1, last_seq)
        self._runs.append(write_run(self._directory, self._mark, span, _halves(names), seqs))
        self._covered = last_seq
        self._newest, self._older = {}, {}
        self._merge(oldest)

    def _merge(self, oldest: Callable[[], int]) -> None:
        while len(tail := self._tail()) >= FAN_IN:
            run = merged(self._directory, self._mark, tail, oldest=oldest())
            self._runs[-len(tail) :] = [run]
            for part in tail:
                if part.path != run.path:
                    part.path.unlink(missing_ok=True)

    def _tail(self) -> list[Run]:
        """The newest runs that are about as large as the newest one."""
        tail: list[Run] = []
        for run in reversed(self._runs):
            if tail and len(run) > FAN_IN * max(len(tail[0]), IN_MEMORY) // 2:
                break
            tail.insert(0, run)
        return tail


def _halves(digests: Sequence[bytes]) -> NDArray[np.uint64]:
    return np.frombuffer(b"".join(digests), np.uint64).reshape(-1, 2)
