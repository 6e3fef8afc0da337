"""A running daemon's HTTP API, as commands and the demo use it."""

from __future__ import annotations

import getpass
import socket
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx

from retuned.errors import ConfigError, PermanentError, TransientError, Unreachable
from retuned.settings import load
from retuned.settings.model import NAME

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Mapping

DEFAULT = "http://127.0.0.1:8420"

WAIT_S = 130.0
"""A report may take two minutes to render."""

_UNIX = "unix:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the daemon answered, be it a problem.

    Attributes:
        status: HTTP status code.
        body: the answer; of a problem its members.
        retry_after: seconds after which asking again makes sense; None where nothing is said.
    """

    status: int
    body: Mapping[str, Any]
    retry_after: float | None


def api_of(args: Namespace) -> closing[Api]:
    """The daemon at ``args.url``, or where the settings ``args.env_file`` say, or by default.

    Raises:
        ConfigError: the settings are wrong.
    """
    where = args.url or (load(args.env_file).http.listen if args.env_file else DEFAULT)
    return closing(Api(where))


def path_of(model: str, *rest: object) -> str:
    """Where a model is asked about.

    Raises:
        ConfigError: no model can have that name; as part of an address it might mean another thing.
    """
    if NAME.fullmatch(model) is None:
        message = f"{model!r} is no model's name: those match {NAME.pattern}"
        raise ConfigError(message)
    return "/".join(("/v1/models", model, *map(str, rest)))


def who() -> str:
    """Whoever asks, as it is written into the history."""
    return f"{getpass.getuser()}@{socket.gethostname()}"


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
        """Ask for something; what is None is not asked for.

        Raises:
            Unreachable: nobody answers.
            TransientError: not now.
            PermanentError: it is not there, or not allowed.
        """
        return self._ask("GET", path, params=_params(query))

    def post(
        self, path: str, body: object, *, wait_s: float = WAIT_S, **query: object
    ) -> dict[str, Any]:
        """Send something and wait so long for the answer; else as `get`."""
        return self._ask("POST", path, json=body, timeout=wait_s, params=_params(query))

    def download(self, path: str, **query: object) -> tuple[str, bytes]:
        """Ask for a file: its name and its bytes; else as `get`."""
        response = self._answer("GET", path, params=_params(query))
        told = response.headers.get("content-disposition", "")
        return told.partition('filename="')[2].rstrip('"'), response.content

    def upload(self, path: str, data: bytes, **query: object) -> dict[str, Any]:
        """Send a file; else as `get`."""
        kind = {"content-type": "application/octet-stream"}
        return self._ask("POST", path, params=_params(query), content=data, headers=kind)

    def delete(self, path: str) -> dict[str, Any]:
        """Let something go; errors as for `get`."""
        return self._ask("DELETE", path)

    def send(self, path: str, content: bytes, content_type: str) -> Reply:
        """Send bytes; a problem is an answer too.

        Raises:
            Unreachable: nobody answers; they may have been taken.
        """
        headers = {"content-type": content_type}
        response = self._request("POST", path, content=content, headers=headers)
        after = response.headers.get("retry-after", "")
        try:
            body = response.json()
        except ValueError:
            body = None
        return Reply(
            status=response.status_code,
            body=body if isinstance(body, dict) else {"detail": _told(response)},
            retry_after=float(after) if after.isdigit() else None,
        )

    def _request(self, method: str, path: str, **what: Any) -> httpx.Response:  # noqa: ANN401
        try:
            return self._http.request(method, path, **what)
        except httpx.ReadTimeout as error:
            message = (
                f"the daemon at {self.address} took the request and has not answered in time: it "
                "may be busy with it still, or with others before it; ask again later"
            )
            raise Unreachable(message) from error
        except httpx.TransportError as error:
            message = (
                f"no daemon answers at {self.address} ({error}): start one with 'retuned serve', "
                "or name its address with --url"
            )
            raise Unreachable(message) from error

    def _ask(self, method: str, path: str, **sent: Any) -> dict[str, Any]:  # noqa: ANN401
        return dict(self._answer(method, path, **sent).json())

    def _answer(self, method: str, path: str, **sent: Any) -> httpx.Response:  # noqa: ANN401
        response = self._request(method, path, **sent)
        if response.is_success:
            return response
        message = _told(response)
        if response.status_code == httpx.codes.SERVICE_UNAVAILABLE:
            raise TransientError(message)
        raise PermanentError(message)


def _params(query: Mapping[str, object]) -> dict[str, str]:
    return {name: str(value) for name, value in query.items() if value is not None}


def _told(response: httpx.Response) -> str:
    try:
        problem: Mapping[str, Any] = response.json()
        return str(problem["detail"])
    except (ValueError, KeyError, TypeError):
        return f"{response.request.url} answered {response.status_code}: {response.text:.500}"
