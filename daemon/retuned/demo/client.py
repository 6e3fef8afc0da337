"""A client of the daemon's HTTP API, as a producer of rows would write one."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import httpx

from retuned.errors import PermanentError, TransientError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

WAIT_S = 60.0


class Client:
    """Talks to one model of one daemon."""

    def __init__(self, address: str, model: str) -> None:
        """Take the daemon's address, for example ``http://127.0.0.1:8420``."""
        self.model = model
        self._http = httpx.Client(base_url=address, timeout=WAIT_S, trust_env=False)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def is_ready(self) -> bool:
        """Whether the daemon answers and is ready."""
        try:
            return self._http.get("/readyz", timeout=2.0).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def status(self) -> dict[str, Any]:
        """Everything that the daemon tells of the model."""
        return self._get(f"/v1/models/{self.model}")

    def champion(self) -> dict[str, Any]:
        """The champion's manifest."""
        return self._get(f"/v1/models/{self.model}/champion")

    def events(self) -> list[dict[str, Any]]:
        """The newest events, oldest first."""
        return list(self._get(f"/v1/models/{self.model}/events?limit=1000")["items"])

    def trials(self) -> list[dict[str, Any]]:
        """All trials of all studies."""
        studies = self._get(f"/v1/models/{self.model}/studies")["items"]
        return [
            trial
            for study in studies
            for trial in self._get(f"/v1/models/{self.model}/studies/{study['id']}")["trials"]
        ]

    def send_rows(self, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Post rows; they are durable when this returns."""
        return self._post("rows", list(rows))

    def send_labels(self, labels: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Post labels; they are durable when this returns."""
        return self._post("labels", list(labels))

    def predict(self, rows: Sequence[dict[str, Any]]) -> list[float]:
        """Ask the champion."""
        answer = self._post("predict", {"rows": list(rows)})
        return [float(item["prediction"]) for item in answer["predictions"]]

    def wait(self, until: Callable[[dict[str, Any]], bool], *, at_most_s: float) -> bool:
        """Ask for the status until it is as wished; False if it was not in time."""
        deadline = time.monotonic() + at_most_s
        while time.monotonic() < deadline:
            if until(self.status()):
                return True
            time.sleep(0.1)
        return False

    def _get(self, path: str) -> dict[str, Any]:
        return _answer(self._http.get(path))

    def _post(self, what: str, body: object) -> dict[str, Any]:
        return _answer(self._http.post(f"/v1/models/{self.model}/{what}", json=body))


def _answer(response: httpx.Response) -> dict[str, Any]:
    if response.is_success:
        return dict(response.json())
    message = f"{response.request.url.path} answered {response.status_code}: {response.text}"
    if response.status_code == httpx.codes.SERVICE_UNAVAILABLE:
        raise TransientError(message)
    raise PermanentError(message)
