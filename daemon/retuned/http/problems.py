"""Problem details (RFC 9457): errors that tell what happened and what to do."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

import orjson
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from retuned.errors import Interrupted, RetunedError, TransientError
from retuned.exchange.exchange import NotExportable, NotImportable
from retuned.ingest.body import TooLarge
from retuned.ingest.intake import NoModel
from retuned.ingest.media import BadPayload, UnsupportedContent
from retuned.registry.lease.fencing import Fenced
from retuned.registry.pins import NotPinned
from retuned.registry.shelf import NoVersion
from retuned.rows.file import DiskFull
from retuned.serve.champion import BadFeatures
from retuned.tune.report import NoReport

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.requests import Request

    from retuned.registry.lease.tenure import Tenure

_log = logging.getLogger(__name__)

_STATUS: dict[type[Exception], tuple[int, str]] = {
    NoModel: (404, "no-model"),
    TooLarge: (413, "too-large"),
    BadPayload: (400, "bad-payload"),
    UnsupportedContent: (415, "unsupported-content"),
    BadFeatures: (422, "bad-features"),
    NoReport: (404, "no-report"),
    NotPinned: (409, "not-pinned"),
    NoVersion: (404, "no-version"),
    NotExportable: (409, "not-exportable"),
    NotImportable: (422, "not-importable"),
}


class Problem(RetunedError):
    """An answer that is not what was asked for."""

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        *,
        retry_after: float | None = None,
        **more: object,
    ) -> None:
        """Describe it.

        Args:
            status: HTTP status code.
            kind: short name; the last part of the problem's type.
            detail: what happened here, and what to do.
            retry_after: seconds after which asking again makes sense.
            more: further members.
        """
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.retry_after = retry_after
        self.more = more

    def response(self) -> Response:
        """The answer."""
        body = {
            "type": f"/problems/{self.kind}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": str(self),
            **self.more,
        }
        headers = {} if self.retry_after is None else {"Retry-After": f"{self.retry_after:.0f}"}
        return Response(
            orjson.dumps(body),
            status_code=self.status,
            headers=headers,
            media_type="application/problem+json",
        )


def not_the_holder(model: str, tenure: Tenure) -> Problem:
    """Another daemon takes care of the model: whatever changes something goes there."""
    holder = tenure.holder or ("" if tenure.is_home else tenure.home)
    if tenure.is_waiting:
        detail = (
            f"Redis does not answer, and without it nothing is decided about {model}; rows, labels "
            "and predictions go on: ask again"
        )
        return Problem(503, "no-holder", detail, retry_after=2)
    if not holder:
        detail = (
            f"nobody takes care of {model} at this moment, as far as this daemon knows: ask again"
        )
        return Problem(503, "no-holder", detail, retry_after=2)
    detail = f"{holder} takes care of {model}, this daemon only serves it: send this there"
    return Problem(421, "not-the-holder", detail, holder=holder)


def rows_elsewhere(model: str, tenure: Tenure) -> Problem:
    """The rows have their home in the state directory of a daemon that is gone."""
    detail = (
        f"the rows of {model} are with the daemon at {tenure.home}, which does not answer; this "
        "one serves meanwhile, and takes nothing that would split them over two logs. Start that "
        f"one again; or, if it will not come back: retuned adopt {model} --reason ..."
    )
    return Problem(503, "rows-elsewhere", detail, retry_after=10, home=tenure.home)


def install(app: FastAPI) -> None:
    """Let every error that is foreseen be answered by a problem; the guard sees to others."""
    app.add_exception_handler(RetunedError, _ours)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _plain)


def problem_of(error: RetunedError) -> Problem:
    """The problem that an error of ours is."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, DiskFull):
        return Problem(507, "disk-full", str(error), retry_after=error.retry_after)
    if isinstance(error, TransientError):
        return Problem(503, "try-again", str(error), retry_after=error.retry_after)
    if isinstance(error, Fenced):
        return Problem(503, "no-holder", f"{error}; ask again", retry_after=2)
    if isinstance(error, Interrupted):
        return Problem(503, "stopping", "the daemon stops; ask again", retry_after=5)
    for kind, (status, name) in _STATUS.items():
        if isinstance(error, kind):
            return Problem(status, name, str(error))
    _log.error("%s", error, extra={"action": "request_failed"})
    return Problem(500, "internal", str(error))


def unexpected(method: str, path: str, error: Exception) -> Problem:
    """Log an error that nobody foresaw; the problem tells nothing of it."""
    _log.error("%s %s failed", method, path, exc_info=error, extra={"action": "request_failed"})
    return Problem(500, "internal", "an unexpected error; the daemon's log tells more")


async def _ours(_request: Request, error: Exception) -> Response:
    return problem_of(cast("RetunedError", error)).response()


async def _invalid(_request: Request, error: Exception) -> Response:
    found = [
        {"where": ".".join(str(part) for part in item["loc"]), "reason": item["msg"]}
        for item in cast("RequestValidationError", error).errors()
    ]
    told = "; ".join(f"{item['where']}: {item['reason']}" for item in found)
    return Problem(422, "invalid", told, errors=found).response()


async def _plain(_request: Request, error: Exception) -> Response:
    found = cast("HTTPException", error)
    if isinstance(found.__cause__, Problem):
        # FastAPI calls whatever goes wrong while it reads a body a malformed one.
        return found.__cause__.response()
    kind = HTTPStatus(found.status_code).phrase.lower().replace(" ", "-")
    response = Problem(found.status_code, kind, str(found.detail)).response()
    response.headers.update(found.headers or {})
    return response
