"""A running daemon's HTTP API, as commands and the demo use it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx

from retuned.errors import PermanentError, RetunedError, TransientError

if TYPE_CHECKING:
    from collections.abc import Mapping

WAIT_S = 130.0
"""A report may take two minutes to render."""

_UNIX = "unix:"


class Unreachable(RetunedError):
    """No daemon answers at the address."""


class Api:
    """Talks to one daemon. Use from one thread."""

    def __init__(self, address: str) -> None:
        """Take an address: ``http://127.0.0.1:8420``, ``127.0.0.1:8420`` or ``unix:/path``."""
        self.address = address
        transport, base = None, address
        if address.startswith(_UNIX):
            transport = httpx.HTTPTransport(uds=address.removeprefix(_UNIX))
            base = "http://localhost"
        elif "://" not in address:
            base = f"http://{address}"
        # Proxies are for other machines; the daemon is on this one.
        self._http = httpx.Client(
            base_url=base, timeout=WAIT_S, trust_env=False, transport=transport
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def is_ready(self) -> bool:
        """Whether the daemon answers and is ready."""
        try:
            return self._http.get("/readyz", timeout=2.0).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def get(self, path: str, **query: object) -> dict[str, Any]:
        """Ask for something.

        Raises:
            Unreachable: nobody answers.
            TransientError: not now.
            PermanentError: it is not there, or not allowed.
        """
        return self._ask("GET", path, params={k: str(v) for k, v in query.items()})

    def post(self, path: str, body: object) -> dict[str, Any]:
        """Send something; errors as for `get`."""
        return self._ask("POST", path, json=body)

    def delete(self, path: str) -> dict[str, Any]:
        """Let something go; errors as for `get`."""
        return self._ask("DELETE", path)

    def _ask(
        self,
        method: str,
        path: str,
        *,
        params: dict[str, str] | None = None,
        json: object = None,
    ) -> dict[str, Any]:
        try:
            response = self._http.request(method, path, params=params, json=json)
        except httpx.TransportError as error:
            message = (
                f"no daemon answers at {self.address} ({error}): start one with 'retuned serve', "
                "or name its address with --url"
            )
            raise Unreachable(message) from error
        if response.is_success:
            return dict(response.json())
        message = _told(response)
        if response.status_code == httpx.codes.SERVICE_UNAVAILABLE:
            raise TransientError(message)
        raise PermanentError(message)


def _told(response: httpx.Response) -> str:
    try:
        problem: Mapping[str, Any] = response.json()
        return str(problem["detail"])
    except (ValueError, KeyError, TypeError):
        return f"{response.request.url} answered {response.status_code}: {response.text:.500}"
