"""The real HTTP server on the rooms of a household: a socket, uvicorn, and nothing simulated."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from tests.integration.household import Household

from retuned.exchange.exchange import Exchange
from retuned.http import server
from retuned.http.app import build
from retuned.http.desk import Desk
from retuned.ingest.body import Room
from retuned.ingest.intake import Intake
from retuned.keeper import Keeper, under_care
from retuned.registry.lease.tenure import Alone, Tenures
from retuned.registry.server import EmbeddedRedis
from retuned.runtime.metrics import Metrics
from retuned.tune.report import NoReport

MAX_BODY = 1_000_000
MAX_UPLOAD = 20_000_000
FEATURE = "x<b>"
WAIT_S = 20.0


@dataclass
class Door:
    """Answers on an address of its own, from another thread, until it is closed."""

    house: Household
    listen: str = "127.0.0.1:0"
    is_ready: bool = True
    keepers: dict[str, Any] = field(default_factory=dict)
    pages: dict[str, Path] = field(default_factory=dict)
    fault: Exception | None = None
    tenures: Tenures = field(default_factory=Alone)
    is_rendering: threading.Event = field(default_factory=threading.Event)
    may_render: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.may_render.set()
        self.keepers.setdefault(self.house.spec.name, self.house.keeper)
        self.metrics = Metrics()
        self.room = Room(whole=MAX_BODY, upload=MAX_UPLOAD, folder=self.house.directory / "uploads")
        intake = Intake(
            rows=self.house.rows,
            spec_of=lambda model: under_care(self.keepers, model).spec,
            notice=lambda model: under_care(self.keepers, model).notice(),
            metrics=self.metrics,
            clock=self.house.clock,
            room=self.room,
            tell=lambda model, event: under_care(self.keepers, model).tell(event),
        )
        self.desk = Desk(
            keepers=lambda: self.keepers,
            rows=self.house.rows,
            intake=intake,
            stage=self.house.stage,
            served=self.house.served,
            registry=self.house.registry,
            studies=self.house.book,
            events=self.house.events,
            journal=self.house.journal,
            render=self._render,
            is_ready=lambda: self.is_ready,
            tenures=self.tenures,
            adopt=None,
            metrics=self.metrics,
            exchange=Exchange(
                registry=self.house.registry,
                stage=self.house.stage,
                rows=self.house.rows,
                bench=self.house.workshop.bench,
                release="1.2.3",
            ),
            clock=self.house.clock,
            hosts=frozenset({"models.example"}),
            room=self.room,
            version="1.2.3",
        )
        self._listener = server.bind(self.listen)
        self.address = self._listener.getsockname()
        self._begun = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        assert self._begun.wait(WAIT_S)
        unix = self.listen.removeprefix("unix:") if self.listen.startswith("unix:") else None
        self.client = httpx.Client(
            base_url=self.url,
            timeout=WAIT_S,
            transport=httpx.HTTPTransport(uds=unix, trust_env=False),
        )

    @property
    def url(self) -> str:
        is_unix = isinstance(self.address, str)
        return "http://localhost" if is_unix else f"http://127.0.0.1:{self.address[1]}"

    def add_model(self, name: str) -> None:
        """Take one more model under care, of the same kind."""
        house = self.house
        self.keepers[name] = Keeper(
            replace(house.spec, name=name),
            journal=house.journal,
            carry_out=house.workshop.carry_out,
            count=house.workshop.count,
            lanes=house.lanes,
            clock=house.clock,
            observe=house.seen.append,
        )

    def begin_to_stop(self) -> None:
        """Cancel the server, as the supervisor does."""
        with suppress(RuntimeError):  # it has stopped already
            self._loop.call_soon_threadsafe(self._task.cancel)

    def has_stopped(self, at_most_s: float) -> bool:
        self._thread.join(at_most_s)
        return not self._thread.is_alive()

    def close(self) -> None:
        self.client.close()
        self.begin_to_stop()
        assert self.has_stopped(WAIT_S)

    def get(self, path: str, **headers: str) -> httpx.Response:
        return self.client.get(path, headers={k.replace("_", "-"): v for k, v in headers.items()})

    def post(self, path: str, body: object = None, **headers: str) -> httpx.Response:
        named = {k.replace("_", "-"): v for k, v in headers.items()}
        return self.client.post(path, json=body, headers=named)

    def send(self, path: str, content: bytes, kind: str) -> httpx.Response:
        return self.client.post(path, content=content, headers={"content-type": kind})

    def _render(self, model: str, check: str) -> Path:
        """Evidently takes seconds and is tested elsewhere; the pages here are given."""
        self.is_rendering.set()
        assert self.may_render.wait(WAIT_S)
        if self.fault is not None:
            raise self.fault
        if check not in self.pages:
            message = f"model {model} has no check {check!r}"
            raise NoReport(message)
        return self.pages[check]

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.create_task(server.run(build(self.desk), self._listener))
        self._begun.set()
        with suppress(asyncio.CancelledError):
            await self._task


@contextmanager
def opened(house_of: Callable[[str], Household]) -> Iterator[Door]:
    """The real server on a house, which is made with the socket of a Redis of its own."""
    # A socket's path is short: pytest's own temporary directories are too long for it.
    with ExitStack() as stack:
        name = stack.enter_context(tempfile.TemporaryDirectory(prefix="rt-"))
        redis = EmbeddedRedis(Path(name))
        redis.start()
        stack.callback(redis.stop)
        house = house_of(redis.socket)
        stack.callback(house.close)
        house.keeper.resume()
        door = Door(house)
        stack.callback(door.close)
        yield door


def feed(door: Door, first: int, last: int, *, shift: float = 0.0) -> None:
    """Send rows and labels through the door, and let everything happen that follows."""
    rows, labels = world(first, last, shift=shift)
    path = f"/v1/models/{door.house.spec.name}"
    assert door.post(f"{path}/rows", rows).is_success
    assert door.post(f"{path}/labels", labels).is_success
    door.house.settle()


def world(
    first: int, last: int, *, shift: float = 0.0
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows, and their labels: a line in the one feature, whose name wants to be HTML."""
    rng = np.random.default_rng(first)
    x = rng.normal(size=last - first) + shift
    noise = rng.normal(size=last - first) * 0.3
    rows = [
        {
            "id": n,
            "when": 1_700_000_000 + n,
            FEATURE: float(value),
            "side": "b" if value > 0 else "a",
        }
        for n, value in zip(range(first, last), x, strict=True)
    ]
    labels = [
        {"id": n, "label": float(3 * value + e)}
        for n, value, e in zip(range(first, last), x, noise, strict=True)
    ]
    return rows, labels
