"""What a file's name tells of its content, and a file as a parcel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retuned.ingest.intake import Cargo, Parcel
from retuned.ingest.media import SUFFIXES, UnsupportedContent

if TYPE_CHECKING:
    from pathlib import Path

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
    if ending not in SUFFIXES:
        message = (
            f"nothing is known of files that end in {ending!r}: expected {', '.join(SUFFIXES)}, "
            f"and {' or '.join(ENCODINGS)} after it where it is compressed"
        )
        raise UnsupportedContent(message)
    return SUFFIXES[ending], encoding


def parcel_of(path: Path, cargo: Cargo) -> Parcel:
    """A file as a parcel, which is read in pieces.

    Raises:
        UnsupportedContent: its name says nothing of what it is.
    """
    content_type, encoding = media_of(path.name)
    return Parcel(
        cargo=cargo,
        payload=path,
        content_type=content_type,
        encoding=encoding,
        source=f"spool {path.name}",
    )
