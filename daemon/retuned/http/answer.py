"""Answers as JSON."""

from __future__ import annotations

import orjson
from starlette.responses import Response


def answer(body: object, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON answer, written by orjson: pydantic's way costs more than a prediction."""
    return Response(
        orjson.dumps(body),
        status_code=status,
        headers=headers,
        media_type="application/json",
    )
