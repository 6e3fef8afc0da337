"""The command ``retuned ingest``."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from retuned.api import api_of, path_of
from retuned.backfill.bookmark import Bookmark, Errand, Tally
from retuned.backfill.reading import pieces_of
from retuned.backfill.sender import Sender
from retuned.errors import PermanentError, RetunedError

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from retuned.api import Api

ALL_TAKEN, SOME_REFUSED = 0, 1


def main(args: Namespace) -> int:
    """Send a file.

    Args:
        args: file, model, labels, batch_rows, restart, url, env_file.

    Returns:
        0 where all of it was taken, 1 where something was rejected.

    Raises:
        RetunedError: it was not sent to its end; the same command goes on.
    """
    cargo = "labels" if args.labels else "rows"
    with api_of(args) as api:
        api.get(path_of(args.model))
        errand = _errand(args.file, api.address, args.model, cargo)
        tally = _send(api, args, Bookmark(args.file, errand), cargo)
    print(_summary(args.file, args.model, cargo, tally))
    for reason in tally.reasons:
        print(f"  {reason}")
    if tally.rejected > len(tally.reasons):
        print(f"  and {tally.rejected - len(tally.reasons):,} more")
    return SOME_REFUSED if tally.rejected else ALL_TAKEN


def _send(api: Api, args: Namespace, bookmark: Bookmark, cargo: str) -> Tally:
    position, tally = (0, Tally()) if args.restart else bookmark.load()
    if position:
        _say(f"Going on after {tally.sent:,} {cargo}; --restart begins again.")
    post = partial(api.send, path_of(args.model, cargo))
    sender = Sender(post, tally, wait=time.sleep)
    opened = pieces_of(args.file, position=position, first=tally.sent, batch_rows=args.batch_rows)
    keep = _Keeping(bookmark)
    try:
        with opened as (pieces, read), _bar(args.file, read) as show:
            for piece in pieces:
                sender.send(piece)
                keep.save(piece.after, tally)
                show(tally)
    except (RetunedError, KeyboardInterrupt):
        if tally.sent and keep.works:
            _say(f"Stopped after {tally.sent:,} {cargo}: the same command goes on from there.")
        raise
    bookmark.remove()
    return tally


class _Keeping:
    """Saves bookmarks as long as that works; without them sending goes on all the same."""

    def __init__(self, bookmark: Bookmark) -> None:
        self._bookmark = bookmark
        self.works = True

    def save(self, position: int, tally: Tally) -> None:
        if not self.works:
            return
        try:
            self._bookmark.save(position, tally)
        except OSError as error:
            self.works = False
            why = f"{self._bookmark.path} cannot be written: {error.strerror}"
            _say(f"{why}. Sending goes on; if it is interrupted, it begins again.")


@contextmanager
def _bar(path: Path, read: Callable[[], int]) -> Iterator[Callable[[Tally], None]]:
    """A progress bar on standard error, where that is a terminal."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.fields[told]}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=path.stat().st_size, told="")

        def show(tally: Tally) -> None:
            refused = f", {tally.rejected:,} rejected" if tally.rejected else ""
            progress.update(task, completed=read(), told=f"{tally.sent:,} sent{refused}")

        yield show


def _errand(path: Path, address: str, model: str, cargo: str) -> Errand:
    try:
        return Errand.of(path, address, model, cargo)
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}"
        raise PermanentError(message) from error


def _summary(path: Path, model: str, cargo: str, tally: Tally) -> str:
    deleted = f"{tally.forgotten:,} of deleted ids, " if tally.forgotten else ""
    return (
        f"{model}: {tally.sent:,} {cargo} sent from {path.name}: {tally.accepted:,} accepted, "
        f"{tally.duplicates:,} duplicates, {tally.revised:,} revised, {deleted}"
        f"{tally.rejected:,} rejected."
    )


def _say(text: str) -> None:
    print(text, file=sys.stderr)
