"""``make bench-streams``: how well retuned does on a folder of streams, beside what else there is.

Child processes import this module, so it imports next to nothing before it runs.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

OUT = Path("build/bench-streams.json")
"""Where results are kept unless told otherwise."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the yardstick; returns an exit code."""
    from tests.benchmarks.run import run  # noqa: PLC0415 (as above)

    from retuned.errors import RetunedError  # noqa: PLC0415 (as above)

    args = _parser().parse_args(argv)
    try:
        run(args)
    except RetunedError as error:
        sys.stderr.write(f"bench-streams: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench-streams", description=__doc__)
    parser.add_argument("folder", type=Path, help="holds <name>.parquet and maybe meta.json")
    parser.add_argument("--only", type=_names, default=(), metavar="A,B", help="these streams")
    parser.add_argument("--peers", type=_names, default=(), metavar="A,B", help="flaml, arf, lb")
    parser.add_argument("--out", type=Path, default=OUT, help=f"keeps results (default {OUT})")
    parser.add_argument(
        "--again",
        type=_names,
        nargs="?",
        default=(),
        const=("all",),
        metavar="A,B",
        help="compute these groups anew: retuned, windows, flaml, arf, lb; without names all",
    )
    parser.add_argument(
        "--policy",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a key of every model's file; may be repeated",
    )
    parser.add_argument("--periods", type=int, default=40, help="parts (default 40)")
    parser.add_argument("--bootstrap", type=float, default=0.2, help="known at the start (.2)")
    parser.add_argument("--seed", type=int, default=0, help="of everything random (default 0)")
    parser.add_argument("--workers", type=int, default=0, help="child processes; 0: one a core")
    return parser


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


if __name__ == "__main__":
    sys.exit(main())
