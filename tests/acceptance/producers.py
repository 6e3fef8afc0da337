"""Producers of rows and labels, which repeat what was not acknowledged."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import httpx
import orjson
from redis import Redis
from redis.exceptions import RedisError

AT_ONCE = 25
"""Rows or labels of a batch."""

PAUSE_S = 0.01


def row(number: int) -> dict[str, Any]:
    return {
        "id": f"r{number}",
        "at": 1_700_000_000 + number,
        "x": number / 4,
        "side": "ab"[number % 2],
    }


def label(number: int) -> dict[str, Any]:
    return {"id": f"r{number}", "label": number * 3.0}


def lines(records: list[dict[str, Any]]) -> bytes:
    return b"".join(orjson.dumps(record) + b"\n" for record in records)


class Producer:
    """Makes batches of rows and of their labels until told to stop, and hands each over.

    Labels come a few batches after their rows, and every fourth batch before them.
    """

    def __init__(self, hand_over: Callable[[str, int, bytes], None]) -> None:
        """Take what hands a batch over: cargo, number of the batch, NDJSON."""
        self._hand_over = hand_over
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.batches = 0
        self.fault: BaseException | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._stop.set()

    @property
    def is_running(self) -> bool:
        return self._thread.is_alive()

    @property
    def rows(self) -> int:
        """Rows that were handed over, each with its label."""
        assert not self._thread.is_alive()
        if self.fault is not None:
            raise self.fault
        return self.batches * AT_ONCE

    def _run(self) -> None:
        try:
            for number in itertools.count():
                if self._stop.is_set():
                    return
                for cargo, content in _batch(number):
                    self._hand_over(cargo, number, content)
                self.batches = number + 1
        except BaseException as error:  # noqa: BLE001 (raised where it is asked for)
            self.fault = error


def _batch(number: int) -> Iterator[tuple[str, bytes]]:
    numbers = range(number * AT_ONCE, (number + 1) * AT_ONCE)
    parts = [
        ("rows", lines([row(n) for n in numbers])),
        ("labels", lines([label(n) for n in numbers])),
    ]
    yield from reversed(parts) if number % 4 == 3 else parts


def http(url: str) -> httpx.Client:
    return httpx.Client(base_url=url, trust_env=False, timeout=30)


def by_http(client: httpx.Client) -> Callable[[str, int, bytes], None]:
    """Post, and post again until the answer is 200."""

    def hand_over(cargo: str, _number: int, content: bytes) -> None:
        path, headers = f"/v1/models/bikes/{cargo}", {"content-type": "application/x-ndjson"}
        while True:
            try:
                answer = client.post(path, content=content, headers=headers)
            except httpx.TransportError:
                threading.Event().wait(PAUSE_S)
                continue
            assert answer.status_code == httpx.codes.OK, answer.text
            assert answer.json()["rejected"] == 0
            return

    return hand_over


def by_spool(spool: Path) -> Callable[[str, int, bytes], None]:
    """Drop files by renaming them, a few at a time."""

    def hand_over(cargo: str, number: int, content: bytes) -> None:
        folder = spool / "bikes" / cargo
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = folder / f".{number}.tmp"
        unfinished.write_bytes(content)
        unfinished.rename(folder / f"{number:06}.ndjson")
        while len(list(folder.glob("*.ndjson"))) > 10:
            threading.Event().wait(PAUSE_S)

    return hand_over


def by_stream(redis: Redis) -> Callable[[str, int, bytes], None]:
    """Add entries of a record each, and again where Redis did not answer."""

    def hand_over(cargo: str, _number: int, content: bytes) -> None:
        key = f"retuned:{{bikes}}:in:{cargo}"
        while True:
            try:
                while redis.xlen(key) > 20 * AT_ONCE:
                    threading.Event().wait(PAUSE_S)
                with redis.pipeline(transaction=False) as pipe:
                    for line in content.splitlines():
                        pipe.xadd(key, {"payload": line})
                    pipe.execute()
            except RedisError:
                threading.Event().wait(PAUSE_S)
                continue
            return

    return hand_over
