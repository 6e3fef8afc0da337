"""Which command was called, and its exit code. What it needs is imported when it runs."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

from retuned.errors import ConfigError, RetunedError, Unreachable
from retuned.terminal.arguments import parser

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Sequence

OK, FAILED, USAGE, UNREACHABLE = 0, 1, 2, 3

EXITS = (
    "exit codes: 0 done, 1 failed (the reason is on standard error), 2 wrong usage or settings, "
    "3 no daemon answers"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code."""
    args = parser(EXITS).parse_args(argv)
    try:
        return COMMANDS[args.command](args)
    except ConfigError as error:
        print(f"retuned: {error}", file=sys.stderr)
        return USAGE
    except RetunedError as error:
        print(f"retuned: {error}", file=sys.stderr)
        return UNREACHABLE if isinstance(error, Unreachable) else FAILED
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read our output has seen enough.
        sys.stderr.close()
        return OK


def _serve(args: Namespace) -> int:
    # Starting takes seconds; who stops the service meanwhile wants no error.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(OK))
    from retuned.bootstrap.serve import serve  # noqa: PLC0415 (seconds, and --help needs none of it)

    return serve(args.env_file)


def _check(args: Namespace) -> int:
    from retuned.check import check  # noqa: PLC0415 (as above)

    return OK if check(args.env_file, print) else FAILED


def _rotate_key(args: Namespace) -> int:
    from retuned.keys import rotate_key  # noqa: PLC0415 (as above)

    rotate_key(args)
    return OK


def _demo(args: Namespace) -> int:
    # Its daemon and that one's Redis are stopped on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    from retuned.demo.run import main as demo  # noqa: PLC0415 (as above)

    return demo(args)


def _replay(args: Namespace) -> int:
    from retuned.replay.run import main as replay  # noqa: PLC0415 (as above)

    return replay(args)


def _ingest(args: Namespace) -> int:
    from retuned.backfill.run import main as ingest  # noqa: PLC0415 (as above)

    return ingest(args)


def _ask(args: Namespace) -> int:
    from retuned.terminal.inquire import ask  # noqa: PLC0415 (as above)

    return OK if ask(args) else FAILED


def _wish(args: Namespace) -> int:
    from retuned.terminal import inquire  # noqa: PLC0415 (as above)

    special = {
        "adopt": inquire.adopt,
        "pin": inquire.pin,
        "unpin": inquire.pin,
        "promote": inquire.recall,
        "rollback": inquire.recall,
        "stop-study": inquire.stop_study,
    }
    special.get(args.command, inquire.wish)(args)
    return OK


def _quarantine(args: Namespace) -> int:
    from retuned.terminal.inquire import ask, clear, resend  # noqa: PLC0415 (as above)

    (resend if args.resend else clear if args.clear else ask)(args)
    return OK


def _export(args: Namespace) -> int:
    from retuned.terminal.takeout import export  # noqa: PLC0415 (as above)

    export(args)
    return OK


def _import(args: Namespace) -> int:
    from retuned.terminal.takeout import bring  # noqa: PLC0415 (as above)

    bring(args)
    return OK


def _reproduce(args: Namespace) -> int:
    from retuned.terminal.takeout import reproduce  # noqa: PLC0415 (as above)

    return OK if reproduce(args) else FAILED


_QUESTIONS = ("status", "models", "versions", "drift", "studies", "events", "compare")
_WISHES = (
    *("retune", "stop-study", "pause", "resume", "adopt"),
    *("promote", "rollback", "pin", "unpin"),
)

COMMANDS: dict[str, Callable[[Namespace], int]] = {
    "serve": _serve,
    "check": _check,
    "rotate-key": _rotate_key,
    "demo": _demo,
    "replay": _replay,
    **dict.fromkeys(_QUESTIONS, _ask),
    **dict.fromkeys(_WISHES, _wish),
    "quarantine": _quarantine,
    "ingest": _ingest,
    "export": _export,
    "import": _import,
    "reproduce": _reproduce,
}
"""What carries out each command that can be typed (`terminal.arguments`)."""
