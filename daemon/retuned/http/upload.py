"""Bodies as they come: small ones in memory, large ones in a file without a name."""

from __future__ import annotations

import tempfile
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool

from retuned.ingest.body import disk_trouble, path_of
from retuned.ingest.formats import is_whole

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

    from retuned.ingest.body import Room
    from retuned.ingest.media import Payload

SMALL = 1_000_000
"""Bytes up to which a body stays in memory."""


@asynccontextmanager
async def received(request: Request, room: Room) -> AsyncIterator[Payload]:
    """Wait for the whole of a body.

    Raises:
        TransientError: the disk is full.
    """
    if is_whole(request.headers.get("content-type", "")):
        yield await request.body()
        return
    with tempfile.SpooledTemporaryFile(SMALL, dir=room.place) as held:
        waiting: list[bytes] = []
        size = whole = 0
        async for chunk in request.stream():
            waiting.append(chunk)
            size, whole = size + len(chunk), whole + len(chunk)
            if size > SMALL:
                await run_in_threadpool(_write, held, waiting, room)
                waiting, size = [], 0
        if whole <= SMALL:
            yield b"".join(waiting)
            return
        await run_in_threadpool(_write, held, waiting, room)
        yield path_of(held)


def _write(held: tempfile.SpooledTemporaryFile[bytes], chunks: list[bytes], room: Room) -> None:
    with disk_trouble():
        if room.folder is not None:
            room.folder.mkdir(parents=True, exist_ok=True)
        held.write(b"".join(chunks))
        held.flush()
