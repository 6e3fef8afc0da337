"""What holds for every request, whoever answers it: host, origin, size, no error unanswered."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect

from retuned.http.problems import Problem, unexpected
from retuned.ingest.formats import is_whole

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from retuned.ingest.body import Room

_STREAMED = ("/rows", "/labels")

SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
)


class Guard:
    """ASGI middleware. There is no access control yet, so a browser must not be a way in.

    A page that somebody visits could otherwise post to a loopback address (Origin), or reach
    it under a name of its own (Host: DNS rebinding).
    """

    def __init__(self, app: ASGIApp, *, hosts: frozenset[str], room: Room) -> None:
        """Guard an app.

        Args:
            app: what answers.
            hosts: names that the Host header may have, beside those of this machine.
            room: bytes of a body at the most.
        """
        self._app = app
        self._hosts = hosts
        self._room = room

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        has_begun = False

        async def send_safely(message: Message) -> None:
            nonlocal has_begun
            if message["type"] == "http.response.start":
                has_begun = True
                message["headers"] = [*message.get("headers", ()), *SECURITY_HEADERS]
            await send(message)

        headers = Headers(scope=scope)
        limit = _limit(scope["path"], headers, self._room)
        problem = self._problem(scope["method"], headers, limit)
        if problem is not None:
            await problem.response()(scope, receive, send_safely)
            return
        try:
            await self._app(_asked(scope), _limited(receive, limit), send_safely)
        except ClientDisconnect:
            return  # there is nobody to answer
        except Exception as error:
            if has_begun:
                raise
            # The framework would raise it again, and the server drop the connection.
            problem = unexpected(scope["method"], scope["path"], error)
            await problem.response()(scope, receive, send_safely)

    def _problem(self, method: str, headers: Headers, limit: _Limit) -> Problem | None:
        host = headers.get("host", "")
        if not self._is_known(host):
            detail = (
                f"{host!r} is no name of this daemon; RETUNED_HTTP__HOSTS lists the names that "
                "are allowed beside those of this machine"
            )
            return Problem(421, "wrong-host", detail)
        origin = headers.get("origin")
        is_change = method not in {"GET", "HEAD"}
        if is_change and origin is not None and _parts(origin).netloc != host:
            return Problem(403, "wrong-origin", f"a page of {origin!r} may not post here")
        length = headers.get("content-length", "0")
        if length.isdigit() and int(length) > limit.size:
            return limit.problem
        return None

    def _is_known(self, host: str) -> bool:
        name = _parts(f"//{host}").hostname or ""
        if name in {"localhost", *self._hosts}:
            return True
        try:
            return ipaddress.ip_address(name).is_loopback
        except ValueError:
            # A client on a unix socket has no name to ask for.
            return not host


def _parts(address: str) -> SplitResult:
    """An address in parts, all of them empty where it is none."""
    try:
        return urlsplit(address)
    except ValueError:
        return urlsplit("")


def _asked(scope: Scope) -> Scope:
    """What the routes are asked for: HEAD is a GET whose body the server does not send."""
    return {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope


def _limited(receive: Receive, limit: _Limit) -> Receive:
    """Count what comes, for bodies that do not tell their length."""
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > limit.size:
            raise limit.problem
        return message

    return counted


@dataclass(frozen=True, slots=True)
class _Limit:
    """Bytes of a body at the most, and the key that sets it."""

    size: int
    key: str

    @property
    def problem(self) -> Problem:
        size = f"{self.size // 1_000_000} MB (RETUNED_HTTP__{self.key})"
        told = f"the body is larger than {size}: send rows in parts, or allow a model of that size"
        return Problem(413, "too-large", told)


def _limit(path: str, headers: Headers, room: Room) -> _Limit:
    """Rows and labels may be large where they are read in pieces."""
    is_streamed = path.endswith(_STREAMED) and not is_whole(headers.get("content-type", ""))
    if is_streamed:
        return _Limit(room.upload, "MAX_UPLOAD_MB")
    return _Limit(room.whole, "MAX_BODY_MB")
