"""``make bench-search``: what a search finds in some seconds, beside what others find in them.

Child processes import this module, so it imports next to nothing before it runs.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

OUT = Path("build/bench-search.json")
"""Where results are kept unless told otherwise."""

RIVALS = ("retuned", "flaml", "tpe")


def main(argv: Sequence[str] | None = None) -> int:
    """Let all search; returns an exit code."""
    from tests.benchmarks.search.run import run  # noqa: PLC0415 (as above)

    from retuned.errors import RetunedError  # noqa: PLC0415 (as above)

    args = _parser().parse_args(argv)
    try:
        run(args)
    except RetunedError as error:
        sys.stderr.write(f"bench-search: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench-search", description=__doc__)
    parser.add_argument("folder", type=Path, help="holds <name>.parquet and maybe meta.json")
    parser.add_argument("--only", type=_names, default=(), metavar="A,B", help="these tables")
    parser.add_argument(
        "--rivals", type=_names, default=RIVALS, metavar="A,B", help=", ".join(RIVALS)
    )
    parser.add_argument("--seconds", type=_numbers, default=(30, 120), help="30,120")
    parser.add_argument("--seeds", type=_numbers, default=(0, 1, 2), help="0,1,2")
    parser.add_argument("--out", type=Path, default=OUT, help=f"keeps results (default {OUT})")
    parser.add_argument(
        "--again", type=_names, default=(), metavar="A,B", help="let these rivals search anew"
    )
    parser.add_argument(
        "--policy",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a further key of every model's file; may be repeated",
    )
    return parser


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(name) for name in _names(text))


if __name__ == "__main__":
    sys.exit(main())
