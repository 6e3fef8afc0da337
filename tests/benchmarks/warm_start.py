"""What a study saves by beginning with an earlier study's finds.

For each stream of a folder: a study on the first half of the rows; then, on the first 60 %, one
that begins with its finds, and one that does not. Printed is after how many trials each has
reached the first study's final validation loss (on its own rows), the loss of the first one's best
find on the rows of now, and the cold one's final loss, but for what a longer search is not worth.

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
    from collections.abc import Callable, Sequence

    from tests.benchmarks.warming import Outcome, Race


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print a table with medians; returns an exit code."""
    from tests.benchmarks.folder import read_folder  # noqa: PLC0415 (as above)
    from tests.benchmarks.warming import measured  # noqa: PLC0415 (as above)

    args = _parser().parse_args(argv)
    out = Console(highlight=False, soft_wrap=True)
    out.print("trials made, and until a loss was reached, with finds / without", markup=False)
    out.print(f"{'stream':18s} {'made':>13s} {'first loss':>13s} {'find':>13s} {'last loss':>13s}")
    found = []
    for stream in read_folder(args.folder, args.only):
        one = measured(stream.spec(args.policy, args.seed), stream.path)
        found.append(one)
        made = f"{one.made:3d} {one.made_warm:4d} /{one.made_cold:3d}"
        races = (f"{_short(r.warm)} /{_short(r.cold)}" for r in (one.first, one.find, one.last))
        out.print(f"{stream.name:18s} {made}", *races)
    for name, pick in PICKS.items():
        warm, cold = (
            statistics.median(_share(getattr(pick(one), side), one.made) for one in found)
            for side in ("warm", "cold")
        )
        out.print(
            f"{name}: median {warm:.2f} of the first study's trials, {cold:.2f} without finds"
        )
    return 0


PICKS: dict[str, Callable[[Outcome], Race]] = {
    "until the first study's loss": lambda one: one.first,
    "until its best find's loss on the rows of now": lambda one: one.find,
    "until the last loss without finds": lambda one: one.last,
}


def _share(trials: int | None, of: int) -> float:
    return math.inf if trials is None else trials / of


def _short(trials: int | None) -> str:
    return f"{'never' if trials is None else trials:>5}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="warm-start", description=__doc__)
    parser.add_argument("folder", type=Path, help="holds <name>.parquet and maybe meta.json")
    parser.add_argument("--only", type=lambda text: text.split(","), default=(), metavar="A,B")
    parser.add_argument("--policy", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--seed", type=int, default=0, help="of everything random (default 0)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
