"""Computing what is missing, and telling of everything."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tests.benchmarks.folder import read_folder
from tests.benchmarks.groups import GROUPS, RETUNED, WINDOWS, Protocol, compute, is_for
from tests.benchmarks.peers import MODULES
from tests.benchmarks.results import Book
from tests.benchmarks.tables import cuts_table, shows_table

from retuned.errors import ConfigError
from retuned.replay.run import progress
from retuned.screen import screen
from retuned.tune.local import LocalExecutor

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Collection, Iterator, Sequence

    from rich.console import Console
    from tests.benchmarks.folder import Stream

WIDTH = 180
"""Columns of the widest table."""


def run(args: Namespace) -> None:
    """Compute the groups that are not known yet, stream by stream, and print all.

    Args:
        args: see `tests.benchmarks.streams`.

    Raises:
        ConfigError: a name or a setting is wrong, or a peer is not installed.
        PermanentError: a stream cannot be read.
    """
    _check(args.peers, MODULES, "peer")
    _check(args.again, (*GROUPS, "all"), "group")
    streams = read_folder(args.folder, args.only)
    protocol = Protocol(
        periods=args.periods,
        bootstrap=args.bootstrap,
        seed=args.seed,
        policy=tuple(args.policy),
    )
    wanted = [group for group in GROUPS if group in {RETUNED, WINDOWS, *args.peers}]
    book = Book(args.out)
    for stream in streams:
        book.forget(stream.name, wanted if "all" in args.again else args.again)
    console = screen(in_a_pipe=WIDTH, at_least=WIDTH)
    missing = list(_missing(wanted, streams, protocol, book))
    if missing:
        _compute(missing, protocol, book, args.workers, console)
    found = {stream.name: book.policies(stream.name) for stream in streams}
    console.print(cuts_table(found))
    console.print(shows_table(found))


def _missing(
    groups: Sequence[str], streams: Sequence[Stream], protocol: Protocol, book: Book
) -> Iterator[tuple[str, Stream]]:
    for group in groups:
        for stream in streams:
            settings = protocol.settings(stream, group)
            if is_for(group, stream) and not book.has(stream.name, group, settings):
                yield group, stream


def _compute(
    missing: Sequence[tuple[str, Stream]],
    protocol: Protocol,
    book: Book,
    workers: int,
    console: Console,
) -> None:
    # Threads are part of what is computed: the number of workers must change nothing.
    executor = LocalExecutor(workers=workers or len(os.sched_getaffinity(0)), threads=1)
    try:
        for number, (group, stream) in enumerate(missing, 1):
            console.print(f"{number} of {len(missing)}: {group} on {stream.name}")
            with progress(console) as bar:
                figures = compute(group, stream, protocol, executor, bar)
            book.keep(stream.name, group, protocol.settings(stream, group), figures)
    finally:
        executor.close()


def _check(given: Collection[str], allowed: Collection[str], what: str) -> None:
    for name in given:
        if name not in allowed:
            message = f"{name!r} is no {what}; known are {', '.join(allowed)}"
            raise ConfigError(message)
