"""Promotions that are killed at random moments: ``python -m tests.acceptance.kills``.

A program of its own, because it forks. What is promoted is small, and in several chunks.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import random
import signal
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.samples import mixed
from tests.takeovers import KEY, MODEL, event, revision, version

from retuned.registry import artifacts as store
from retuned.registry.connect import connect
from retuned.registry.history.event_log import EventLog
from retuned.registry.journal import Journal
from retuned.registry.pointer import Crowned
from retuned.registry.server import EmbeddedRedis
from retuned.registry.versions import Registry
from retuned.runtime.clock import VirtualClock
from retuned.serve.stage import Stage
from retuned_pipelines.fitting import fit
from retuned_pipelines.models import artifact
from retuned_pipelines.recipe import Recipe
from retuned_pipelines.schema import Task

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from redis import Redis

LONGEST_S = 0.3
"""About three promotions."""

SERVER_TOO = 5
"""Every so many kills the server is killed as well."""


def fitted() -> list[bytes]:
    """Five artifacts, no two the same."""
    window = mixed(Task.REGRESSION)
    recipes = [Recipe.of("linear", {"alpha": 10.0**power, "loss": "squared"}) for power in range(5)]
    return [artifact.dump(fit(recipe, window, Task.REGRESSION)) for recipe in recipes]


def adopted(registry: Registry, stage: Stage) -> Crowned | None:
    """The champion after a start: that of the registry, which may be newer than what serves."""
    stage.restore(MODEL)
    found = registry.champion(MODEL)
    if found is not None:
        names = set(found.revision.artifacts)
        stage.crown(found, {name: registry.artifact(MODEL, name) for name in names})
    return found


def promote(folder: Path, socket: Path, data: list[bytes], pipe: Connection) -> None:
    """Promote one version after the other, until somebody kills this process."""
    client = connect(socket)
    registry = Registry(client, KEY, Journal(folder / "journal", VirtualClock()), keep_versions=1)
    stage = Stage(folder / "champions", KEY)
    before = adopted(registry, stage)
    pipe.send("ready")
    while True:
        number = 1 if before is None else before.version.number + 1
        chosen = data[number % len(data)]
        crowned = registry.publish(
            version(number),
            revision(number, 1, chosen),
            expected="" if before is None else before.revision.name,
            artifacts={hashlib.sha256(chosen).hexdigest(): chosen},
            event=event(f"promoted {number}"),
        )
        stage.crown(crowned, {hashlib.sha256(chosen).hexdigest(): chosen})
        registry.prune(crowned, None if before is None else before.revision)
        before = crowned


def inspect(folder: Path, redis: Redis) -> int:
    """Load what a daemon would find at its start; returns the epoch."""
    with closing(Journal(folder / "journal", VirtualClock())) as journal:
        registry, stage = Registry(redis, KEY, journal), Stage(folder / "champions", KEY)
        on_disk = stage.restore(MODEL)
        found = registry.champion(MODEL)
        if found is None:
            assert on_disk is None
            return 0
        for name in found.revision.artifacts:
            artifact.load(registry.artifact(MODEL, name))
        assert on_disk is None or on_disk.crowned.epoch in {found.epoch - 1, found.epoch}
        told = [one.id for one in EventLog(redis, KEY).newest(MODEL, 100_000)]
        assert told == [f"promoted {number}" for number in range(1, found.epoch + 1)]
        assert len(registry.versions(MODEL)) == found.epoch
        return found.epoch


def main(folder: Path, kills: int, seed: int) -> dict[str, Any]:
    """Kill again and again; returns how far promotions came in the meantime."""
    store.CHUNK_BYTES = 40_000
    rng = random.Random(seed)  # noqa: S311 (a game of chance)
    context = multiprocessing.get_context("fork")
    server = EmbeddedRedis(folder / "redis")
    server.start()
    data, epochs = fitted(), [0]
    for kill in range(kills):
        ours, theirs = context.Pipe(duplex=False)
        promoter = context.Process(target=promote, args=(folder, server.socket, data, theirs))
        promoter.start()
        theirs.close()
        assert ours.recv() == "ready"
        time.sleep(rng.uniform(0, LONGEST_S))
        if kill % SERVER_TOO == 0 and server.pid is not None:
            os.kill(server.pid, signal.SIGKILL)
        promoter.kill()
        promoter.join()
        ours.close()
        if kill % SERVER_TOO == 0:
            while server.is_running():
                time.sleep(0.001)
            server.start()
        with closing(connect(server.socket)) as redis:
            epochs.append(inspect(folder, redis))
        assert epochs[-1] >= epochs[-2]
    server.stop()
    return {"kills": kills, "epoch": epochs[-1], "moved": len(set(epochs)) - 1}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))  # noqa: T201 (the answer)
