"""The entrance: requests go to one app, and from one moment on to another."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

_TURN_S = 0.05


class Entrance:
    """An ASGI app that hands every request on. Use on one event loop."""

    def __init__(self, app: ASGIApp) -> None:
        """Hand requests to that app."""
        self._app = app
        self._under_way: Counter[int] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on; it ends with the app that it began with."""
        app = self._app
        self._under_way[id(app)] += 1
        try:
            await app(scope, receive, send)
        finally:
            self._under_way[id(app)] -= 1

    async def change(self, app: ASGIApp, *, at_most_s: float) -> None:
        """Hand requests to another app from now on, and wait for those that the old one has.

        Args:
            app: the new one.
            at_most_s: seconds that are waited at the most.
        """
        old, self._app = self._app, app
        deadline = asyncio.get_running_loop().time() + at_most_s
        while self._under_way[id(old)] and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110 (once in a life)
            await asyncio.sleep(_TURN_S)
