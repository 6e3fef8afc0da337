"""A client of the daemon, as a producer of rows would write one."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from retuned.api import Api

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Client:
    """Talks to one model of one daemon."""

    def __init__(self, address: str, model: str) -> None:
        """Take the daemon's address, for example ``http://127.0.0.1:8420``."""
        self._api = Api(address)
        self._base = f"/v1/models/{model}"

    def close(self) -> None:
        """Close the connections."""
        self._api.close()

    def is_ready(self) -> bool:
        """Whether the daemon answers and is ready."""
        return self._api.is_ready()

    def status(self) -> dict[str, Any]:
        """Everything that the daemon tells of the model."""
        return self._api.get(self._base)

    def champion(self) -> dict[str, Any]:
        """The champion's manifest."""
        return self._api.get(f"{self._base}/champion")

    def events(self) -> list[dict[str, Any]]:
        """The newest events, oldest first."""
        return list(self._api.get(f"{self._base}/events", limit=1000)["items"])

    def trials(self) -> list[dict[str, Any]]:
        """All trials of all studies."""
        studies = self._api.get(f"{self._base}/studies")["items"]
        return [
            trial
            for study in studies
            for trial in self._api.get(f"{self._base}/studies/{study['id']}")["trials"]
        ]

    def revisions(self) -> list[list[dict[str, Any]]]:
        """The revisions of each version, oldest first."""
        numbers = [found["number"] for found in self._api.get(f"{self._base}/versions")["items"]]
        return [
            self._api.get(f"{self._base}/versions/{number}")["revisions"]
            for number in sorted(numbers)
        ]

    def send_rows(self, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Post rows; they are durable when this returns."""
        return self._api.post(f"{self._base}/rows", list(rows))

    def send_labels(self, labels: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Post labels; they are durable when this returns."""
        return self._api.post(f"{self._base}/labels", list(labels))

    def predict(self, rows: Sequence[dict[str, Any]]) -> list[float]:
        """Ask the champion."""
        answer = self._api.post(f"{self._base}/predict", {"rows": list(rows)})
        return [float(item["prediction"]) for item in answer["predictions"]]

    def wait(self, until: Callable[[dict[str, Any]], bool], *, at_most_s: float) -> bool:
        """Ask for the status until it is as wished; False if it was not in time."""
        deadline = time.monotonic() + at_most_s
        while time.monotonic() < deadline:
            if until(self.status()):
                return True
            time.sleep(0.1)
        return False
