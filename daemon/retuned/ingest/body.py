"""Payloads that came compressed, and a bound on what comes out of them."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from retuned.errors import TransientError
from retuned.ingest.formats import is_whole
from retuned.ingest.media import BadPayload, UnsupportedContent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from retuned.ingest.media import Payload

ENCODINGS = ("gzip", "zstd")

_CHUNK = 1_000_000


class TooLarge(BadPayload):
    """The payload is larger than what is allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """How much a payload may take.

    Attributes:
        whole: bytes of what has to be in memory as a whole.
        upload: bytes of what is read in pieces.
        folder: where what does not stay in memory is written in the meantime; None for the
            system's own.
    """

    whole: int = 64_000_000
    upload: int = 4_096_000_000
    folder: Path | None = None

    @property
    def place(self) -> str | None:
        """The folder, as the standard library wants it."""
        return None if self.folder is None else str(self.folder)


@contextmanager
def plain(payload: Payload, content_type: str, encoding: str, room: Room) -> Iterator[Payload]:
    """A payload as it was before it was compressed.

    Args:
        payload: the bytes, or a file that holds them.
        content_type: their media type.
        encoding: ``gzip``, ``zstd``, or "" for neither.
        room: how large it may be, and where it may be written.

    Raises:
        BadPayload: it is not compressed in that way.
        TooLarge: more comes out than there is room for.
        UnsupportedContent: nobody reads that encoding here.
    """
    name = encoding.strip().lower()
    limit = room.whole if is_whole(content_type) else room.upload
    if name in {"", "identity"}:
        if _size(payload) > limit:
            raise _too_large(limit, content_type)
        yield payload
        return
    if name not in ENCODINGS:
        message = f"content encoding {name!r} is not read here: send {' or '.join(ENCODINGS)}"
        raise UnsupportedContent(message)
    with disk_trouble():
        if room.folder is not None:
            room.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.SpooledTemporaryFile(_CHUNK, dir=room.place) as held:
        size = 0
        for chunk in _chunks(payload, name):
            size += len(chunk)
            if size > limit:
                raise _too_large(limit, content_type)
            with disk_trouble():
                held.write(chunk)
        if size <= _CHUNK or is_whole(content_type):
            held.seek(0)
            yield held.read()
        else:
            with disk_trouble():
                held.flush()
            yield path_of(held)


def path_of(held: tempfile.SpooledTemporaryFile[bytes]) -> Path:
    """A path to a file without a name, which is gone when it is closed or the process ends."""
    held.rollover()
    return Path(f"/proc/self/fd/{held.fileno()}")


@contextmanager
def disk_trouble() -> Iterator[None]:
    """Tell of a disk that takes no more in plain words."""
    try:
        yield
    except OSError as error:
        message = f"The payload cannot be kept while it is read: {error.strerror or error}. "
        raise TransientError(
            message + "Make room; nothing was stored.", retry_after=30.0
        ) from error


def _chunks(payload: Payload, encoding: str) -> Iterator[bytes]:
    source: Any = (
        pa.BufferReader(payload) if isinstance(payload, bytes) else pa.OSFile(str(payload))
    )
    try:
        with source, pa.CompressedInputStream(source, encoding) as stream:
            while chunk := stream.read(_CHUNK):
                yield chunk
    except (OSError, pa.ArrowException) as error:
        message = f"not valid as {encoding}: {error!s:.200}"
        raise BadPayload(message) from error


def _size(payload: Payload) -> int:
    return payload.stat().st_size if isinstance(payload, Path) else len(payload)


def _too_large(limit: int, content_type: str) -> TooLarge:
    key = "MAX_BODY_MB" if is_whole(content_type) else "MAX_UPLOAD_MB"
    message = (
        f"the body is larger than {limit // 1_000_000} MB (RETUNED_HTTP__{key}): send it in parts"
    )
    return TooLarge(message)
