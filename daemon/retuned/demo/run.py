"""``retuned demo``: the main job on real data, from the first row to promoted models."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.table import Table

from retuned.demo.baselines import NAMES, baselines
from retuned.demo.board import Board
from retuned.demo.client import Client
from retuned.demo.daemon import DemoDaemon, free_port, write_config
from retuned.demo.history import read_history
from retuned.errors import PermanentError
from retuned.screen import screen
from retuned.words.recipes import recipe_in_short
from retuned_pipelines.version import Standing
from retuned_pipelines.weights import serving

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from rich.console import Console

    from retuned.demo.history import Batch, History
    from retuned.replay.outcome import Policy

MODEL = "bike_sharing"
PERIODS = 40
PACE_S = 1.2
BATCH = 500
_NEVER = -1
_WIDE = 160
"""Columns in a pipe: what the daemon tells of an event fits on a line."""


@dataclass(frozen=True, slots=True)
class Played:
    """What came of playing the stream: the loss as served, and what the daemon did.

    Attributes:
        loss: mean absolute error as served.
        fits: models fitted to serve; of an ensemble each member counts.
        trials: trials made.
        promotions: versions that took over.
    """

    loss: float
    fits: int
    trials: int
    promotions: int


def main(args: Namespace) -> int:
    """Run the demo.

    Args:
        args: ``stay`` keeps the daemon running at the end, ``port`` is where it listens
            (0 for any), ``dir`` is where its files go (None for a temporary directory).

    Returns:
        Exit code 0 when everything ran through.

    Raises:
        PermanentError: the daemon did not start, or stopped answering as it should.
    """
    console = screen(in_a_pipe=_WIDE)
    if args.dir is not None:
        return _run(console, args, Path(args.dir).resolve())
    with tempfile.TemporaryDirectory(prefix="retuned-demo-") as directory:
        return _run(console, args, Path(directory))


def _run(console: Console, args: Namespace, directory: Path) -> int:
    port = args.port or free_port()
    address = f"http://127.0.0.1:{port}"
    history = read_history(PERIODS)
    total = len(history.bootstrap) + sum(map(len, history.periods))
    console.print(
        f"[bold]retuned demo[/]: {total:,} hours of bike rentals (UCI 275, CC BY 4.0), "
        f"the first {len(history.bootstrap):,} as history, the rest in {PERIODS} periods.\n"
        f"Starting the daemon in {directory}, API at {address} ..."
    )
    daemon = DemoDaemon(write_config(directory, port), directory / "daemon.log")
    client = Client(address, MODEL)
    try:
        daemon.wait_ready(client)
        with Board(console, total) as board:
            played = _play(client, history, board)
        with console.status("The same rows without a daemon ..."):
            others = baselines(directory / "models" / f"{MODEL}.env", PERIODS)
        console.print(_table(played, others))
        _tell_where(console, address, directory, stay=args.stay)
        if args.stay:
            console.print("The daemon keeps running; Ctrl-C stops it.")
            daemon.wait()
    except KeyboardInterrupt:
        console.print("Stopping ...")
    finally:
        client.close()
        daemon.stop()
    return 0


def _play(client: Client, history: History, board: Board) -> Played:
    """Stream rows first and labels later, asking the champion before each label."""
    for batch in history.bootstrap.split(BATCH):
        client.send_rows(batch.rows)
        client.send_labels(batch.labels)
        board.sent(len(batch))
    if not client.wait(lambda status: status["champion"] is not None, at_most_s=60):
        message = "no champion within a minute of the first labels; see the daemon's log"
        raise PermanentError(message)
    losses: list[NDArray[np.float64]] = []
    for number, period in enumerate(history.periods, 1):
        begun = time.monotonic()
        losses.append(_serve(client, period))
        board.sent(len(period))
        _settle(client, begun)
        _show(client, board, number, losses)
    return Played(
        loss=float(np.mean(np.concatenate(losses))),
        fits=sum(map(count_fits, client.revisions())),
        trials=len(client.trials()),
        promotions=board.counts["promoted"],
    )


def count_fits(revisions: Sequence[Mapping[str, Any]]) -> int:
    """How many models were fitted for the revisions of a version, oldest first.

    A member that was not worth a new fit keeps its last one; a retired one is fitted no more.
    """
    fits, before = 0, [_NEVER] * len(revisions[0]["standing"]["fitted"]) if revisions else []
    for revision in revisions:
        fitted, gone = revision["standing"]["fitted"], revision["standing"]["gone"]
        fits += sum(
            known != last and not is_gone
            for known, last, is_gone in zip(
                fitted, before, gone or [False] * len(fitted), strict=True
            )
        )
        before = fitted
    return fits


def _serve(client: Client, period: Batch) -> NDArray[np.float64]:
    """Ask the champion for a period, post its rows, then its labels; returns the errors."""
    features = [{k: v for k, v in row.items() if k not in {"id", "time"}} for row in period.rows]
    predicted = np.array(client.predict(features))
    client.send_rows(period.rows)
    client.send_labels(period.labels)
    truth = np.array([label["label"] for label in period.labels])
    return np.asarray(np.abs(truth - predicted), dtype=np.float64)


def _settle(client: Client, begun: float) -> None:
    """Let a period last as long as it should, and what has begun in it finish.

    A period is nine days of rentals; a study takes seconds.
    """
    time.sleep(max(0.0, begun + PACE_S - time.monotonic()))
    client.wait(lambda status: not status["running"], at_most_s=20)


def _show(client: Client, board: Board, number: int, losses: list[NDArray[np.float64]]) -> None:
    board.take(client.events())
    champion = client.champion()
    name = f"{champion['version']['number']}.{champion['revision']['number']}"
    counts = board.counts
    board.show("champion", f"{name}, {_weightiest(champion)}")
    board.show(
        "error",
        f"{losses[-1].mean():.1f} in period {number}, {np.concatenate(losses).mean():.1f} so far",
    )
    board.show(
        "so far",
        f"{counts['drift']} checks with drift, {counts['decided']} decisions, "
        f"{len(client.trials())} trials, {counts['promoted']} promotions, "
        f"{counts['revised']} refits",
    )


def _weightiest(champion: Mapping[str, Any]) -> str:
    """The member that has most to say, and how many others are asked."""
    members = champion["version"]["members"]
    shares = serving(Standing.from_json(champion["revision"]["standing"]))
    share, member = max(zip(shares, members, strict=True), key=lambda pair: pair[0])
    others = sum(1 for other in shares if other) - 1
    told = recipe_in_short(member["recipe"])
    return f"{share:.0%} {told}" + (f", and {others} more" if others else "")


def _table(played: Played, others: Sequence[Policy]) -> Table:
    reference = others[0].loss
    table = Table(title="Mean absolute error over all periods (rentals per hour)")
    for name in ("policy", "error", "cut", "fits", "trials", "promotions"):
        table.add_column(name, justify="left" if name == "policy" else "right")
    table.add_row(
        "retuned, as it served",
        f"{played.loss:.1f}",
        f"{1 - played.loss / reference:+.1%}",
        str(played.fits),
        str(played.trials),
        str(played.promotions),
        style="bold",
    )
    for other in others:
        cut = 1 - other.loss / reference
        table.add_row(
            NAMES[other.name], f"{other.loss:.1f}", f"{cut:+.1%}", str(other.fits), "0", "0"
        )
    return table


def _tell_where(console: Console, address: str, directory: Path, *, stay: bool) -> None:
    base = f"{address}/v1/models/{MODEL}"
    console.print(
        "Look further"
        + (":" if stay else " (with --stay the daemon keeps running):")
        + f"\n  dashboard   {address}/"
        f"\n  champion    curl {base}/champion"
        f"\n  drift       curl {base}/drift"
        f"\n  studies     curl {base}/studies"
        f"\n  API         {address}/docs"
        f"\n  log         {directory / 'daemon.log'}",
        highlight=False,
    )
