"""What a file's name tells of its content, and a file as a parcel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from retuned.rows.ingest import JSON, NDJSON, BadPayload, UnsupportedContent
from retuned.rows.intake import Cargo, Parcel

if TYPE_CHECKING:
    from pathlib import Path

TYPES = {
    ".ndjson": NDJSON,
    ".jsonl": NDJSON,
    ".json": JSON,
    ".csv": "text/csv",
    ".arrow": "application/vnd.apache.arrow.stream",
    ".parquet": "application/vnd.apache.parquet",
}
"""Content type by the ending of a file's name."""

ENCODINGS = {".gz": "gzip", ".zst": "zstd"}
"""Compression by the last ending."""


def media_of(name: str) -> tuple[str, str]:
    """Content type and compression (empty for none) of a file.

    Raises:
        UnsupportedContent: its ending is none of those that are known.
    """
    stem, dot, last = name.lower().rpartition(".")
    encoding = ENCODINGS.get(dot + last, "")
    ending = "." + stem.rpartition(".")[2] if encoding else dot + last
    if ending not in TYPES:
        message = (
            f"nothing is known of files that end in {ending!r}: expected {', '.join(TYPES)}, "
            f"and {' or '.join(ENCODINGS)} after it where it is compressed"
        )
        raise UnsupportedContent(message)
    return TYPES[ending], encoding


def parcel_of(path: Path, cargo: Cargo) -> Parcel:
    """A file as a parcel.

    Raises:
        UnsupportedContent: its name says that it is of a type that is not read here.
        BadPayload: it is not compressed as its name says.
        OSError: it cannot be read.
    """
    content_type, encoding = media_of(path.name)
    payload = path.read_bytes()
    if encoding:
        try:
            with pa.input_stream(pa.BufferReader(payload), compression=encoding) as stream:
                payload = stream.read()
        except OSError as error:
            message = f"it is not {encoding}: {error}"
            raise BadPayload(message) from error
    return Parcel(
        cargo=cargo, payload=payload, content_type=content_type, source=f"spool {path.name}"
    )
