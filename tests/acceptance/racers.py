"""Many processes race to promote, round after round: ``python -m tests.acceptance.racers``.

A program of its own, because it forks: its processes stay alive over all rounds.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
from collections import Counter
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.takeovers import DATA, KEY, MODEL, digest, event, revision, version

from retuned.registry.connect import connect
from retuned.registry.history.event_log import EventLog
from retuned.registry.takeover import Conflict
from retuned.registry.versions import Registry

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.synchronize import Barrier

WAIT_S = 120


def race(socket: Path, who: int, rounds: int, together: Barrier, pipe: Connection) -> None:
    """Try to promote in each round; tell in which rounds it worked."""
    won = []
    with closing(connect(socket)) as client:
        registry = Registry(client, KEY)
        for number in range(1, rounds + 1):
            # Everybody has something else to promote, under the same number.
            mine = replace(revision(number), created_at=float(who))
            together.wait(WAIT_S)
            try:
                registry.publish(
                    version(number),
                    mine,
                    expected=f"{number - 1}.1" if number > 1 else "",
                    artifacts={digest(DATA): DATA},
                    event=event(f"{number}, {who}"),
                )
            except Conflict:
                continue
            won.append(number)
    pipe.send((who, won))
    pipe.close()


def main(socket: Path, processes: int, rounds: int) -> dict[str, Any]:
    """Let them race; returns what was found afterwards."""
    context = multiprocessing.get_context("fork")
    together = context.Barrier(processes)
    pipes, racers = [], []
    for who in range(processes):
        ours, theirs = context.Pipe(duplex=False)
        racers.append(context.Process(target=race, args=(socket, who, rounds, together, theirs)))
        racers[-1].start()
        theirs.close()
        pipes.append(ours)
    won = [(number, who) for who, numbers in (pipe.recv() for pipe in pipes) for number in numbers]
    for racer in racers:
        racer.join()
    with closing(connect(socket)) as client:
        registry, log = Registry(client, KEY), EventLog(client, KEY)
        champion = registry.champion(MODEL)
        stored = {
            number: int(registry.revisions(MODEL, number)[0].created_at)
            for number in range(1, rounds + 1)
        }
        told = Counter(one.id for one in log.newest(MODEL, 10 * rounds))
    return {
        "won": sorted(number for number, _ in won) == list(range(1, rounds + 1)),
        "epoch": None if champion is None else champion.epoch,
        "stored": stored == dict(won),
        "events": told == Counter(f"{number}, {who}" for number, who in won),
        "winners": len({who for _, who in won}),
    }


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))  # noqa: T201 (the answer)
