"""What a study saves by beginning with an earlier study's find.

For each stream of a folder: a study on the first half of the rows; then, on the first 60 %, one
that begins with its find, and one that does not. Printed is after how many trials each has
reached the first study's final validation loss, and the cold one's.

Child processes import this module, so it imports next to nothing before it runs.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print a table with medians; returns an exit code."""
    from tests.benchmarks.folder import read_folder  # noqa: PLC0415 (as above)
    from tests.benchmarks.warming import measured  # noqa: PLC0415 (as above)

    args = _parser().parse_args(argv)
    out = Console(highlight=False, soft_wrap=True)
    out.print("stream              made  until the first's loss   until the cold one's loss")
    out.print("                          warm  cold               warm  cold")
    found = []
    for stream in read_folder(args.folder, args.only):
        spec = stream.spec(args.policy, args.seed)
        outcome = measured(spec, stream.path)
        found.append(outcome)
        told = (outcome.warm, outcome.cold, outcome.warm_to_cold, outcome.cold_to_cold)
        out.print(f"{stream.name:18s} {outcome.made:5d}", *(_short(n) for n in told))
    shares = [_share(outcome.warm, outcome.made) for outcome in found]
    cold = [_share(outcome.cold, outcome.made) for outcome in found]
    beside = [_share(o.warm_to_cold, o.cold_to_cold or 1) for o in found]
    out.print(
        f"median of trials, as a share of the first study's: {statistics.median(shares):.2f} "
        f"with its find, {statistics.median(cold):.2f} without; as a share of the cold study's, "
        f"until its loss: {statistics.median(beside):.2f}"
    )
    return 0


def _share(trials: int | None, of: int) -> float:
    return math.inf if trials is None else trials / of


def _short(trials: int | None) -> str:
    return f"{'never' if trials is None else trials:>6}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="warm-start", description=__doc__)
    parser.add_argument("folder", type=Path, help="holds <name>.parquet and maybe meta.json")
    parser.add_argument("--only", type=lambda text: text.split(","), default=(), metavar="A,B")
    parser.add_argument("--policy", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--seed", type=int, default=0, help="of everything random (default 0)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
