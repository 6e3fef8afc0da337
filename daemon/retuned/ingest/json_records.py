"""Records in JSON and NDJSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from retuned.ingest.media import AT_ONCE, LONGEST, SHOWN, BadPayload, opened
from retuned.ingest.piece import RecordPiece, as_sent
from retuned.rows.batch import Rejected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from retuned.ingest.media import Payload
    from retuned.ingest.piece import Piece


def read_json(body: bytes, name: str) -> Iterator[Piece]:
    """Read a JSON array, or an object that holds one under that name, or one record."""
    try:
        found: object = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        message = f"not valid JSON: {error}"
        raise BadPayload(message) from error
    if isinstance(found, dict):
        found = found.get(name, [found])
    if not isinstance(found, list):
        message = f"expected an array of objects, or an object with {str(name)!r}"
        raise BadPayload(message)
    yield _records([(index, item, as_sent) for index, item in enumerate(found)])


class _NoRecord:
    """What cannot be read as a record, and why."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


def _records(items: Sequence[tuple[int, Any, Callable[[Any], str]]]) -> RecordPiece:
    good = [(index, item) for index, item, _ in items if isinstance(item, dict)]
    broken = [
        Rejected(index=index, id=None, reason=_complaint(index, item), record=sent(item))
        for index, item, sent in items
        if not isinstance(item, dict)
    ]
    return RecordPiece(
        rows=[item for _, item in good],
        indices=np.array([index for index, _ in good], dtype=np.int64),
        broken=tuple(broken),
    )


def _complaint(index: int, item: object) -> str:
    if isinstance(item, _NoRecord):
        return item.reason
    return f"item {index} is {item!r:.80}, not an object"


def read_lines(payload: Payload) -> Iterator[Piece]:
    """Read NDJSON: a record a line."""
    seen = 0
    waiting: list[tuple[int, bytes]] = []
    for line in _numbered(payload):
        waiting.append(line)
        if len(waiting) == AT_ONCE:
            yield _lines_piece(waiting, seen)
            seen, waiting = seen + len(waiting), []
    if waiting:
        yield _lines_piece(waiting, seen)


def _numbered(payload: Payload) -> Iterator[tuple[int, bytes]]:
    """Lines that are not empty, with their numbers, from 1."""
    number, rest = 0, b""
    with opened(payload) as source:
        while block := source.read(LONGEST):
            lines = (rest + block).split(b"\n")
            rest = lines.pop()
            for number, line in enumerate(lines, number + 1):  # noqa: B020 (it goes on)
                if line and not line.isspace():
                    yield number, line
            if len(rest) > LONGEST:
                message = f"line {number + 1} is longer than {LONGEST:,} bytes"
                raise BadPayload(message)
    if rest and not rest.isspace():
        yield number + 1, rest


def _lines_piece(lines: Sequence[tuple[int, bytes]], seen: int) -> RecordPiece:
    try:
        found: list[Any] = [orjson.loads(line) for _, line in lines]
    except orjson.JSONDecodeError:
        found = [_line(number, line) for number, line in lines]
    indices = np.arange(seen, seen + len(lines), dtype=np.int64)
    if all(type(item) is dict for item in found):
        return RecordPiece(rows=found, indices=indices)
    places = zip(indices.tolist(), found, lines, strict=True)
    return _records([(index, item, _shown(line)) for index, item, (_, line) in places])


def _line(number: int, line: bytes) -> object:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return _NoRecord(f"line {number}: not valid JSON: {error}")


def _shown(line: bytes) -> Callable[[object], str]:
    return lambda _: as_sent(line.strip().decode(errors="replace")[:SHOWN])
