"""Many processes race for one lease: ``python -m tests.contract.lease_racers SOCKET N ROUNDS``.

A program of its own, because it forks.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.takeovers import MODEL

from retuned.registry import keys
from retuned.registry.connect import connect
from retuned.registry.lease.leases import LeaseBook, Party, Wish

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.synchronize import Barrier

WAIT_S = 60


def race(socket: Path, who: int, rounds: int, together: Barrier, pipe: Connection) -> None:
    """Ask for the lease in each round; tell the token of those that were won."""
    won = []
    with closing(connect(socket)) as client:
        book, party = LeaseBook(client), Party(id=f"home{who}", url=f"http://{who}")
        for number in range(rounds):
            if together.wait(WAIT_S) == 0:
                client.delete(keys.lease(MODEL), keys.home(MODEL))
            together.wait(WAIT_S)
            found = book.acquire(MODEL, party, 60, Wish(may_replace=False))
            if found.is_taken:
                won.append((number, found.number))
    pipe.send(won)
    pipe.close()


def main(socket: Path, processes: int, rounds: int) -> dict[str, Any]:
    """Let them race; returns how many won in each round, and the tokens in order."""
    context = multiprocessing.get_context("fork")
    together = context.Barrier(processes)
    with closing(connect(socket)) as client:
        client.flushall()
    pipes, racers = [], []
    for who in range(processes):
        ours, theirs = context.Pipe(duplex=False)
        racers.append(context.Process(target=race, args=(socket, who, rounds, together, theirs)))
        racers[-1].start()
        theirs.close()
        pipes.append(ours)
    won = sorted(item for pipe in pipes for item in pipe.recv())
    for racer in racers:
        racer.join()
    return {
        "taken": [sum(number == n for n, _ in won) for number in range(rounds)],
        "tokens": [token for _, token in won],
    }


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))  # noqa: T201 (the answer)
