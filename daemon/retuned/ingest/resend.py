"""Sending what is in quarantine through the intake again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import orjson

from retuned.ingest.intake import Cargo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from retuned.ingest.intake import Taken
    from retuned.rows.quarantine import Quarantine, Refused

_AT_ONCE = 200
_UNREADABLE = (
    "its record is no whole JSON object any more, or never was one: send the row itself again"
)


@dataclass(slots=True, kw_only=True)
class Resent:
    """What became of records that were sent again.

    Attributes:
        taken: records that left the quarantine.
        refused: numbers of those that stay, with the reason.
    """

    taken: int = 0
    refused: list[tuple[int, str]] = field(default_factory=list)


def resend(
    held: Quarantine, take: Callable[[Cargo, bytes], Taken], ids: Iterable[int] | None
) -> Resent:
    """Hand records in again, oldest first; what is taken leaves the quarantine.

    Safe to repeat after an error: what was taken by then has left, or is a repetition.

    Args:
        held: the quarantine.
        take: takes a JSON array of rows or labels in.
        ids: which ones; None for all.

    Raises:
        RetunedError: from ``take``, or the disk is full.
    """
    done = Resent()
    wanted = None if ids is None else set(ids)
    # Rows before their labels; all numbers first, as what is refused again stays.
    for cargo in (Cargo.ROWS, Cargo.LABELS):
        numbers = held.ids(cargo, wanted)
        for start in range(0, len(numbers), _AT_ONCE):
            _send(held, cargo, held.of(numbers[start : start + _AT_ONCE]), take, done)
    return done


def _send(
    held: Quarantine,
    cargo: Cargo,
    items: Sequence[Refused],
    take: Callable[[Cargo, bytes], Taken],
    done: Resent,
) -> None:
    sent = []
    for item in items:
        if _is_object(item.record):
            sent.append(item)
        else:
            done.refused.append((item.id, _UNREADABLE))
    if not sent:
        return
    body = "[" + ",".join(item.record for item in sent) + "]"
    rejected = {item.index: item.reason for item in take(cargo, body.encode()).rejected}
    done.refused += [(sent[index].id, reason) for index, reason in rejected.items()]
    taken = [item.id for index, item in enumerate(sent) if index not in rejected]
    held.remove(taken)
    done.taken += len(taken)


def _is_object(record: str) -> bool:
    try:
        return isinstance(orjson.loads(record), dict)
    except orjson.JSONDecodeError:
        return False
