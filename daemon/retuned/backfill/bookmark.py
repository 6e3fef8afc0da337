"""How far a file was sent, so that the same command goes on from there."""

from __future__ import annotations

import hashlib
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT = 1
_LOOKED_AT = 65_536
_REASONS = 10


@dataclass(slots=True, kw_only=True)
class Tally:
    """What became of what was sent.

    Attributes:
        sent: records.
        accepted: of these, new ones.
        duplicates: known ones.
        revised: other content under a known id.
        forgotten: under an id that was deleted.
        rejected: refused ones.
        reasons: why, of the first ten.
    """

    sent: int = 0
    accepted: int = 0
    duplicates: int = 0
    revised: int = 0
    forgotten: int = 0
    rejected: int = 0
    reasons: list[str] = field(default_factory=list)

    def add(self, answer: Mapping[str, Any], first: int) -> None:
        """Add the daemon's answer on records from that number on."""
        for name in ("accepted", "duplicates", "revised", "forgotten", "rejected"):
            setattr(self, name, getattr(self, name) + int(answer.get(name, 0)))
        for reason in answer.get("reasons", ()):
            self.tell(first + reason["index"], reason["id"], reason["reason"])

    def refuse(self, number: int, reason: str) -> None:
        """Count a record that could not even be read."""
        self.rejected += 1
        self.tell(number, None, reason)

    def tell(self, number: int, name: str | None, reason: str) -> None:
        """Remember why, if it is one of the first."""
        if len(self.reasons) < _REASONS:
            who = f"record {number + 1:,}" + (f" (id {name})" if name is not None else "")
            self.reasons.append(f"{who}: {reason}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """What is sent where; a bookmark is good for one errand only."""

    address: str
    model: str
    cargo: str
    size: int
    mtime_ns: int
    start_sha256: str

    @classmethod
    def of(cls, path: Path, address: str, model: str, cargo: str) -> Self:
        """The errand of sending a file as it now is.

        Raises:
            OSError: it cannot be read.
        """
        with path.open("rb") as file:
            start, status = file.read(_LOOKED_AT), os.fstat(file.fileno())
        return cls(
            address=address,
            model=model,
            cargo=cargo,
            size=status.st_size,
            mtime_ns=status.st_mtime_ns,
            start_sha256=hashlib.sha256(start).hexdigest(),
        )


class Bookmark:
    """A small file beside the one that is sent, or in the user's cache."""

    def __init__(self, path: Path, errand: Errand) -> None:
        """Name the file that is sent."""
        self.path = _place(path.absolute())
        self._errand = errand

    def load(self) -> tuple[int, Tally]:
        """Where to go on, and what was sent; from the start where nothing fits the errand."""
        try:
            found = orjson.loads(self.path.read_bytes())
            if found["format"] != FORMAT or found["errand"] != asdict(self._errand):
                return 0, Tally()
            return int(found["position"]), Tally(**found["tally"])
        except (OSError, ValueError, KeyError, TypeError):
            return 0, Tally()

    def save(self, position: int, tally: Tally) -> None:
        """Remember how far it got.

        Raises:
            OSError: nothing can be written there.
        """
        found = {
            "format": FORMAT,
            "errand": asdict(self._errand),
            "position": position,
            "tally": asdict(tally),
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.path.with_name(f"{self.path.name}.tmp")
        unfinished.write_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2))
        unfinished.rename(self.path)

    def remove(self) -> None:
        """All is sent."""
        self.path.unlink(missing_ok=True)


def _place(path: Path) -> Path:
    if os.access(path.parent, os.W_OK):
        return path.with_name(f"{path.name}.retuned-progress.json")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "retuned" / f"{hashlib.sha256(str(path).encode()).hexdigest()[:32]}.json"
