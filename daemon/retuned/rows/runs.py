"""Sorted runs of ids on disk: immutable files that are mapped into memory."""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

SUFFIX = ".run"

_ENTRY = 24
_MAGIC = b"retuned ids 1\n\0\0"
_HEADER = struct.Struct("<16s16sqqqI4x")
"""Magic, the log's own mark, first and last sequence number, count, CRC-32 of the body."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Run:
    """The ids of the rows in a range of sequence numbers.

    Attributes:
        path: the file.
        first_seq: of the range; every row of it is here.
        last_seq: the range's end, itself in it.
        keys: the first halves of the ids' digests, ascending, uint64 (n).
        rests: the second halves, uint64 (n).
        seqs: sequence numbers of their rows, int64 (n).
    """

    path: Path
    first_seq: int
    last_seq: int
    keys: NDArray[np.uint64]
    rests: NDArray[np.uint64]
    seqs: NDArray[np.int64]

    def __len__(self) -> int:
        """Count the ids."""
        return len(self.keys)

    def find(
        self, keys: NDArray[np.uint64], rests: NDArray[np.uint64]
    ) -> Iterator[tuple[int, int]]:
        """Positions in what is wanted, and the sequence number of each row of that digest.

        Args:
            keys: first halves of the digests wanted, ascending (n).
            rests: their second halves (n).
        """
        if len(self) == 0:
            return
        first = np.searchsorted(self.keys, keys, "left")
        place = np.minimum(first, len(self) - 1)
        for hit in np.flatnonzero(self.keys[place] == keys).tolist():
            position = int(first[hit])
            while position < len(self) and self.keys[position] == keys[hit]:
                if self.rests[position] == rests[hit]:
                    yield hit, int(self.seqs[position])
                position += 1


def write_run(
    directory: Path,
    mark: bytes,
    span: tuple[int, int],
    digests: NDArray[np.uint64],
    seqs: NDArray[np.int64],
) -> Run:
    """Sort ids into a run, on disk and named when it is whole.

    Args:
        directory: where it is written.
        mark: the log's own, 16 bytes.
        span: first and last sequence number of the range.
        digests: the two halves of each digest (n, 2).
        seqs: sequence numbers of the rows (n).

    Raises:
        OSError: the disk is full.
    """
    # Stable, because parts that are sorted already are then merged and not sorted again.
    order = np.argsort(digests[:, 0], kind="stable")
    body = [np.ascontiguousarray(part[order]) for part in (*digests.T, seqs)]
    path = directory / f"{span[0]:020d}-{span[1]:020d}{SUFFIX}"
    draft = path.with_suffix(".tmp")
    directory.mkdir(parents=True, exist_ok=True)
    with draft.open("wb") as file:
        file.write(_HEADER.pack(_MAGIC, mark, *span, len(seqs), _check(*body)))
        for part in body:
            file.write(part.view(np.uint8).data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    found = read_run(path, mark)
    if found is None:
        message = f"{path} does not hold what was written to it"
        raise OSError(message)
    return found


def read_run(path: Path, mark: bytes) -> Run | None:
    """Map a run into memory; None where it is damaged, or another log's."""
    try:
        with path.open("rb") as file:
            magic, owner, first, last, count, check = _HEADER.unpack(file.read(_HEADER.size))
    except (OSError, struct.error):
        return None
    size = path.stat().st_size
    if (magic, owner) != (_MAGIC, mark) or size != _HEADER.size + _ENTRY * count:
        return None
    body = np.empty(0, np.uint64)
    if count:
        body = np.asarray(np.memmap(path, np.uint64, "r", offset=_HEADER.size))
    keys, rests, seqs = body[:count], body[count : 2 * count], body[2 * count :].view(np.int64)
    if _check(keys, rests, seqs) != check:
        return None
    return Run(path=path, first_seq=first, last_seq=last, keys=keys, rests=rests, seqs=seqs)


def merged(directory: Path, mark: bytes, runs: Sequence[Run], *, oldest: int) -> Run:
    """Merge neighbouring runs into one.

    Args:
        directory: where it is written.
        mark: the log's own.
        runs: in the order of their ranges.
        oldest: sequence number of the oldest row that there is; older ones are left out.

    Raises:
        OSError: the disk is full.
    """
    parts = [np.column_stack([run.keys, run.rests]) for run in runs]
    digests, seqs = np.concatenate(parts), np.concatenate([run.seqs for run in runs])
    kept = seqs >= oldest
    span = (runs[0].first_seq, runs[-1].last_seq)
    return write_run(directory, mark, span, digests[kept], seqs[kept])


def _check(*body: NDArray[np.uint64] | NDArray[np.int64]) -> int:
    check = 0
    for part in body:
        check = zlib.crc32(part.view(np.uint8).data, check)
    return check
