"""Letting everybody search, one after the other, and telling of it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tests.benchmarks.folder import read_folder
from tests.benchmarks.peers import classes_for
from tests.benchmarks.results import Book, Figures
from tests.benchmarks.search.__main__ import RIVALS
from tests.benchmarks.search.contest import NAMED, Contest, contest
from tests.benchmarks.search.tables import tell

from retuned.errors import ConfigError
from retuned.replay.policies import answers, plain_losses
from retuned.screen import screen
from retuned_pipelines.fitting import encoded_target

if TYPE_CHECKING:
    from argparse import Namespace


def run(args: Namespace) -> None:
    """Let everybody search where nobody knows yet what he finds, and print all.

    Args:
        args: see `tests.benchmarks.search.__main__`.

    Raises:
        ConfigError: a name or a key is wrong, or a peer is not installed.
        PermanentError: a table cannot be read.
    """
    unknown = [name for name in args.rivals if name not in RIVALS]
    if unknown:
        message = f"{unknown[0]!r} does not search here; known are {', '.join(RIVALS)}"
        raise ConfigError(message)
    streams = read_folder(args.folder, args.only or NAMED)
    cores = len(os.sched_getaffinity(0))
    console, book = screen(in_a_pipe=120, at_least=120), Book(args.out)
    for seconds in args.seconds:
        for seed in args.seeds:
            for stream in streams:
                place = f"{stream.name}/{seconds}/{seed}"
                book.forget(place, args.again)
                asked = contest(
                    stream, seconds=seconds, seed=seed, threads=cores, policy=tuple(args.policy)
                )
                for rival in args.rivals:
                    settings = _settings(asked, rival, tuple(args.policy))
                    if book.has(place, rival, settings):
                        continue
                    figures, found = _search(rival, asked)
                    book.keep(place, rival, settings, {rival: figures})
                    told = f"{place} {rival}: loss {figures.loss:.5g}, {figures.trials} trials"
                    console.print(f"{told}; {found}", highlight=False)
    for seconds in args.seconds:
        found = {
            (stream.name, seed): book.policies(f"{stream.name}/{seconds}/{seed}")
            for stream in streams
            for seed in args.seeds
        }
        console.print(*tell(found, seconds), sep="\n")


def _settings(asked: Contest, rival: str, policy: tuple[str, ...]) -> dict[str, object]:
    shared: dict[str, object] = {"rows": asked.stream.rows, "threads": asked.threads}
    return {**shared, "policy": sorted(policy)} if rival == "retuned" else shared


def _search(rival: str, asked: Contest) -> tuple[Figures, str]:
    if rival == "retuned":
        from tests.benchmarks.search.ours import search  # noqa: PLC0415 (what is not asked for)

        return search(asked)
    return _let_peer_search(rival, asked)


def _let_peer_search(rival: str, asked: Contest) -> tuple[Figures, str]:
    try:
        # Only these need what the peers need.
        from tests.benchmarks.flaml_peer import FlamlPeer  # noqa: PLC0415
        from tests.benchmarks.search.tpe_peer import TpePeer  # noqa: PLC0415
    except ImportError as error:
        message = f"{error}; install the peers: make bench-peers"
        raise ConfigError(message) from error
    classes = classes_for(asked.spec.task, asked.history)
    window = asked.history.window
    target = encoded_target(window, classes)
    kind = FlamlPeer if rival == "flaml" else TpePeer
    peer = kind(asked.spec, window.features, target, budget_s=asked.seconds, threads=asked.threads)
    peer.learn(0, asked.searched)
    output = answers(peer.answer(*asked.scored), classes)
    losses = plain_losses(asked.spec, target[slice(*asked.scored)], output)
    return Figures(loss=float(losses.mean()), trials=peer.fits), peer.found
