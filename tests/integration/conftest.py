"""Daemons behind a real door: one that has just begun, and one that has a history."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from tests.integration.door import Door, feed, opened
from tests.integration.household import Household

from retuned.registry.server import EmbeddedRedis
from retuned_pipelines.schema import Task
from retuned_pipelines.spec import GatePolicy, ModelSpec, SearchPolicy, WatchPolicy

BIKES = ModelSpec(
    name="bikes",
    task=Task.REGRESSION,
    target="y",
    time="when",
    metric="neg_mean_absolute_error",
    watch=WatchPolicy(every_rows=300, min_rows=300),
    search=SearchPolicy(trials=4, random_trials=1, batch=2, folds=2, cooldown_rows=10_000),
    gate=GatePolicy(block_rows=10),
)


def _door(directory: Path) -> AbstractContextManager[Door]:
    return opened(lambda redis: Household(BIKES, directory, redis))


@pytest.fixture(scope="module")
def redis() -> Iterator[EmbeddedRedis]:
    """A private server for the tests of a file."""
    with tempfile.TemporaryDirectory(prefix="rt-") as directory:
        server = EmbeddedRedis(Path(directory) / "redis")
        server.start()
        yield server
        server.stop()


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Door]:
    """A daemon to which nobody has sent anything."""
    with _door(tmp_path) as door:
        yield door


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """A daemon with a champion, a study, and a check with drift; tests leave it as it is."""
    with _door(tmp_path_factory.mktemp("grown")) as door:
        for first, last, shift in ((0, 600, 0.0), (600, 1200, 2.0)):
            feed(door, first, last, shift=shift)
        while door.house.forwarder.forward():
            pass
        yield door
