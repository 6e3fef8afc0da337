"""Media types, payloads and what is wrong with them."""

from __future__ import annotations

import io
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pyarrow as pa

from retuned.errors import PermanentError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

JSON = "application/json"
NDJSON = "application/x-ndjson"
CSV = "text/csv"
ARROW_STREAM = "application/vnd.apache.arrow.stream"
ARROW_FILE = "application/vnd.apache.arrow.file"
PARQUET = "application/vnd.apache.parquet"

AT_ONCE = 10_000
"""Records of a piece at the most: what is read, checked and stored at a time."""

LONGEST = 4_000_000
"""Bytes of a line at the most; files of text are read in blocks of this size."""

SUFFIXES = {
    ".json": JSON,
    ".ndjson": NDJSON,
    ".jsonl": NDJSON,
    ".csv": CSV,
    ".arrows": ARROW_STREAM,
    ".arrow": ARROW_FILE,
    ".feather": ARROW_FILE,
    ".parquet": PARQUET,
}
"""Media types of files by the end of their names."""

SHOWN = 2000
"""Characters that are kept of a line that is no record."""

Payload = bytes | Path


class BadPayload(PermanentError):
    """The payload cannot be read at all, or not to its end."""


class UnsupportedContent(PermanentError):
    """The payload is of a type that is not read here."""


def media_type(content_type: str) -> str:
    """The media type without its parameters, in lower case."""
    return content_type.partition(";")[0].strip().lower()


@contextmanager
def opened(payload: Payload) -> Iterator[IO[bytes]]:
    """A payload's bytes as a file."""
    with payload.open("rb") if isinstance(payload, Path) else io.BytesIO(payload) as source:
        yield source


@contextmanager
def seekable(payload: Payload) -> Iterator[Any]:
    """A payload as Arrow reads it.

    Not mapped into memory: whoever cuts a mapped file short (a producer that writes to the spool
    in place) ends the process.
    """
    if isinstance(payload, bytes):
        yield pa.BufferReader(payload)
    elif payload.stat().st_size:
        with pa.OSFile(str(payload)) as source:
            yield source
    else:
        yield pa.BufferReader(b"")


@contextmanager
def translated(name: str) -> Iterator[None]:
    """Tell what Arrow cannot read in words of our own.

    Raises:
        BadPayload: the payload is not what its type says.
    """
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        message = f"not valid as {name}: {error!s:.200}"
        raise BadPayload(message) from error


def check_names(names: Sequence[str], where: str) -> None:
    """Raise `BadPayload` where two columns have one name; says where they stand."""
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        message = f"{where} names {', '.join(map(repr, twice))} more than once"
        raise BadPayload(message)
