"""From a payload to pieces of records, by its media type."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from retuned.ingest.arrow_tables import read_arrow_file, read_arrow_stream, read_parquet
from retuned.ingest.csv_records import read_csv
from retuned.ingest.json_records import read_json, read_lines
from retuned.ingest.media import (
    ARROW_FILE,
    ARROW_STREAM,
    CSV,
    JSON,
    NDJSON,
    PARQUET,
    UnsupportedContent,
    media_type,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from retuned.ingest.media import Payload
    from retuned.ingest.piece import Piece


def is_whole(content_type: str) -> bool:
    """Whether a payload of that type has to be in memory as a whole."""
    return media_type(content_type) not in _READERS


def pieces(payload: Payload, content_type: str, name: str) -> Iterator[Piece]:
    """Read a payload piece by piece.

    Args:
        payload: the bytes, or a file that holds them.
        content_type: their media type.
        name: what the records are called where a JSON object holds them: rows or labels.

    Raises:
        BadPayload: it cannot be read at all, or no further.
        UnsupportedContent: it is of a type that is not read here.
    """
    kind = media_type(content_type)
    if kind == JSON:
        yield from read_json(payload.read_bytes() if isinstance(payload, Path) else payload, name)
    elif kind in _READERS:
        yield from _READERS[kind](payload)
    else:
        message = (
            f"content type {kind or 'missing'!r} is not read here: "
            f"send {', '.join([JSON, *_READERS])}"
        )
        raise UnsupportedContent(message)


_READERS: dict[str, Callable[[Payload], Iterator[Piece]]] = {
    NDJSON: read_lines,
    CSV: read_csv,
    ARROW_STREAM: read_arrow_stream,
    ARROW_FILE: read_arrow_file,
    PARQUET: read_parquet,
}
