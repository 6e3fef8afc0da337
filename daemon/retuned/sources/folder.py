"""One folder of the spool: what waits in it, and where it goes when it was taken."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

DONE = "done"
FAILED = "failed"

_UNFINISHED = (".tmp", ".part")
_ODD = (
    (stat.S_ISLNK, "is a symbolic link, which is not followed: drop the file itself"),
    (stat.S_ISDIR, "is a folder: drop files"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """A file that waits to be taken.

    Attributes:
        path: where it is.
        mtime_ns: when it was last written, nanoseconds since the epoch.
        identity: tells whether it was replaced or written since.
    """

    path: Path
    mtime_ns: int
    identity: tuple[int, ...]

    def has_changed(self) -> bool:
        """Whether it was written, replaced or removed since it was listed."""
        try:
            return _identity(self.path.lstat()) != self.identity
        except FileNotFoundError:
            return True


@dataclass(slots=True, kw_only=True)
class Listing:
    """What is in a folder: files that wait, the oldest first, and what cannot be taken."""

    waiting: list[Dropped] = field(default_factory=list)
    odd: dict[Path, str] = field(default_factory=dict)


class Folder:
    """A folder that files are dropped in, with `done` and `failed` within it.

    Methods raise OSError where the folder cannot be used.
    """

    def __init__(self, path: Path) -> None:
        """Name it; nothing is touched."""
        self.path = path

    def prepare(self) -> None:
        """Make what is not there."""
        for name in (DONE, FAILED):
            (self.path / name).mkdir(parents=True, exist_ok=True)

    def holds_anything(self) -> bool:
        """Whether files wait here; False where there is no such folder, or none to look at."""
        try:
            return bool(self.look().waiting)
        except OSError:
            return False

    def look(self) -> Listing:
        """List what is in it, except what its name calls unfinished."""
        found = Listing()
        with os.scandir(self.path) as entries:
            for entry in entries:
                is_ours = entry.name in {DONE, FAILED}
                if is_ours or entry.name.startswith(".") or entry.name.endswith(_UNFINISHED):
                    continue
                try:
                    self._sort(entry.name, entry.stat(follow_symlinks=False), found)
                except FileNotFoundError:
                    continue
        found.waiting.sort(key=lambda file: (file.mtime_ns, file.path.name))
        return found

    def done(
        self,
        file: Dropped,
        receipt: Mapping[str, object],
        rejected: Sequence[Mapping[str, object]],
    ) -> Path:
        """Move a file that was taken; its receipt comes first. Returns where it is."""
        target = self._free(DONE, file.path.name)
        if rejected:
            _write(target, ".rejected.json", orjson.dumps(rejected, option=orjson.OPT_INDENT_2))
        _write(target, ".receipt.json", orjson.dumps(receipt, option=orjson.OPT_INDENT_2))
        return file.path.rename(target)

    def failed(self, file: Dropped, reason: str) -> Path:
        """Move a file that cannot be taken; the reason comes first. Returns where it is."""
        target = self._free(FAILED, file.path.name)
        _write(target, ".reason.txt", f"{reason}\n".encode())
        return file.path.rename(target)

    def purge(self, before: float) -> None:
        """Remove what was moved to `done` before a moment, in seconds since the epoch."""
        with os.scandir(self.path / DONE) as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                # Moving sets this time; the other one is the producer's.
                if stat.S_ISREG(status.st_mode) and status.st_ctime < before:
                    os.unlink(entry.path)  # noqa: PTH108 (scandir's own)

    def _sort(self, name: str, status: os.stat_result, found: Listing) -> None:
        path = self.path / name
        if stat.S_ISREG(status.st_mode):
            file = Dropped(path=path, mtime_ns=status.st_mtime_ns, identity=_identity(status))
            if os.access(path, os.R_OK):
                found.waiting.append(file)
            else:
                found.odd[path] = "may not be read: give this user the right to"
            return
        whys = (why for is_so, why in _ODD if is_so(status.st_mode))
        found.odd[path] = next(whys, "is no regular file")

    def _free(self, place: str, name: str) -> Path:
        """A name that is not taken; the endings stay, so that it could be dropped again."""
        stem, dot, endings = name.partition(".")
        target, number = self.path / place / name, 1
        while os.path.lexists(target):
            number += 1
            target = self.path / place / f"{stem}~{number}{dot}{endings}"
        return target


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _write(beside: Path, ending: str, content: bytes) -> None:
    """Write a file that is seen as a whole or not at all."""
    unfinished = beside.with_name(f".{beside.name}{ending}.tmp")
    unfinished.write_bytes(content)
    unfinished.rename(beside.with_name(beside.name + ending))
