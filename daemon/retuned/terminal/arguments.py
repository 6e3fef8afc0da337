"""What can be typed: commands, arguments and their help."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

import retuned

if TYPE_CHECKING:
    _Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 (it has no other name)


def parser(epilog: str) -> argparse.ArgumentParser:
    """All commands with their arguments; ``command`` is the one that was called."""
    whole = argparse.ArgumentParser(
        prog="retuned",
        description="Keeps tabular models tuned while the world changes under them.",
        epilog=epilog,
    )
    whole.add_argument("--version", action="version", version=f"retuned {retuned.__version__}")
    commands = whole.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_service(commands)
    _add_questions(commands)
    _add_comparison(commands)
    _add_wishes(commands)
    _add_recalls(commands)
    _add_pins(commands)
    _add_quarantine(commands)
    _add_feeding(commands)
    _add_takeout(commands)
    return whole


def _add_service(commands: _Commands) -> None:
    serve = commands.add_parser("serve", help="run the daemon")
    _add_env_file(serve)
    check = commands.add_parser("check", help="check settings, Redis, state directory and disk")
    _add_env_file(check)
    what = "put a new signing key before the old ones, which still verify"
    rotate = commands.add_parser("rotate-key", help=what, description=what)
    rotate.add_argument(
        "--forget-old", action="store_true", help="leave only the newest key in the file instead"
    )
    _add_env_file(rotate)
    demo = commands.add_parser("demo", help="the main job on real data, in three minutes")
    demo.add_argument("--stay", action="store_true", help="keep the daemon running at the end")
    demo.add_argument("--port", type=int, default=0, help="where it listens; 0 for any free port")
    demo.add_argument("--dir", help="where its files go; a temporary directory otherwise")
    what = "what the daemon would have done on a file of history, against simple policies"
    replay = commands.add_parser("replay", help=what, description=what)
    replay.add_argument("file", type=Path, help="Parquet or CSV; oldest row first without TIME")
    replay.add_argument(
        "--model",
        type=Path,
        nargs="+",
        required=True,
        metavar="FILE",
        help="a model file, or several to compare",
    )
    replay.add_argument(
        "--policy",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="replace a key of the model files; may be repeated",
    )
    replay.add_argument("--periods", type=int, default=40, help="parts (default 40)")
    replay.add_argument(
        "--bootstrap", type=float, default=0.2, help="share that is known at the start (.2)"
    )
    replay.add_argument(
        "--label-delay",
        type=int,
        default=0,
        metavar="PERIODS",
        help="labels come so many periods later than at the end of their own (default 0)",
    )
    replay.add_argument("--seed", type=int, default=0, help="of everything random (default 0)")
    replay.add_argument("--workers", type=int, default=0, help="child processes; 0: one a core")
    replay.add_argument("--json", type=Path, metavar="OUT", help="write everything there")
    replay.add_argument("--html", type=Path, metavar="OUT", help="write a page with plots there")


def _add_questions(commands: _Commands) -> None:
    for name, what in (
        ("status", "what a model is and what is being done; all models without a name"),
        ("models", "all models under care, or the features of one"),
        ("versions", "the versions of a model, or one with its verdict and revisions"),
        ("drift", "the checks of a model, or one with every measurement"),
        ("studies", "the studies of a model, or one with its trials"),
        ("events", "the newest events of a model"),
    ):
        command = commands.add_parser(name, help=what, description=what)
        is_optional = name in {"status", "models"}
        command.add_argument("model", nargs="?" if is_optional else None)
        if name in {"versions", "drift", "studies"}:
            command.add_argument("which", nargs="?", type=_one, help="number or id of one")
        if name == "events":
            command.add_argument("--limit", type=int, default=30, help="how many (default 30)")
            _add_history(command)
        command.add_argument("--json", action="store_true", help="print the answer as it came")
        _add_address(command)


def _add_history(events: argparse.ArgumentParser) -> None:
    either = events.add_mutually_exclusive_group()
    either.add_argument(
        "--at",
        metavar="TIME",
        help="which version was live then, why, and on what evidence: ISO 8601 "
        "(UTC without a time zone) or seconds since the epoch",
    )
    either.add_argument(
        "--verify", action="store_true", help="verify the chain of all events; 1 if it is broken"
    )


def _add_comparison(commands: _Commands) -> None:
    what = "two versions side by side: recipes, scores on the same rows, training data"
    command = commands.add_parser("compare", help=what, description=what)
    command.add_argument("model")
    command.add_argument(
        "left", nargs="?", type=_count, help="a version; the champion's predecessor without it"
    )
    command.add_argument(
        "right", nargs="?", type=_count, help="another one; the champion without it"
    )
    command.add_argument("--json", action="store_true", help="print the answer as it came")
    _add_address(command)


def _add_wishes(commands: _Commands) -> None:
    for name, what in (
        ("retune", "begin a study now"),
        ("pause", "begin nothing new; what is under way ends, the champion keeps serving"),
        ("resume", "go on"),
    ):
        command = commands.add_parser(name, help=what, description=what)
        command.add_argument("model")
        command.add_argument("--reason", default="", help="written into the history")
        _add_address(command)
    what = "end a running study with what it has tried; its best goes to the gate"
    stop = commands.add_parser("stop-study", help=what, description=what)
    stop.add_argument("model")
    stop.add_argument("study", nargs="?", help="its id; the one that runs without it")
    stop.add_argument("--reason", default="", help="written into the history")
    _add_address(stop)
    what = "let a model's rows have their home here, whose daemon is gone for good"
    adopt = commands.add_parser("adopt", help=what, description=what)
    adopt.add_argument("model")
    adopt.add_argument("--reason", default="", help="written into the history")
    _add_address(adopt)


def _add_pins(commands: _Commands) -> None:
    for name, what in (
        ("pin", "keep a version's artifacts, whatever comes after it"),
        ("unpin", "let a pinned version go with the others"),
    ):
        command = commands.add_parser(name, help=what, description=what)
        command.add_argument("model")
        command.add_argument("version", type=int)
        command.add_argument("--reason", default="", help="written into the history")
        _add_address(command)


def _add_recalls(commands: _Commands) -> None:
    for name, what in (
        ("promote", "let a version take over, without the gate"),
        ("rollback", "let the version before take over again"),
    ):
        command = commands.add_parser(name, help=what, description=what)
        command.add_argument("model")
        if name == "promote":
            command.add_argument("version", type=_count, help="its number")
        command.add_argument("--reason", required=True, help="written into the history")
        command.add_argument("--json", action="store_true", help="print the answer as it came")
        _add_address(command)


def _add_quarantine(commands: _Commands) -> None:
    what = "rows and labels that were refused, with the reason; sends them again or lets them go"
    command = commands.add_parser("quarantine", help=what, description=what)
    command.add_argument("model")
    command.add_argument("--limit", type=int, default=30, help="how many (default 30)")
    command.add_argument("--json", action="store_true", help="print the answer as it came")
    either = command.add_mutually_exclusive_group()
    either.add_argument("--resend", action="store_true", help="send all of them again")
    either.add_argument("--clear", action="store_true", help="let all of them go")
    _add_address(command)


def _add_feeding(commands: _Commands) -> None:
    what = "send a file of rows or labels; run again after an interruption, it goes on"
    ingest = commands.add_parser("ingest", help=what, description=what)
    ingest.add_argument(
        "file", type=Path, metavar="FILE", help="NDJSON, CSV (both also .gz, .zst), Parquet, Arrow"
    )
    ingest.add_argument("--model", required=True, help="whose rows they are")
    ingest.add_argument("--labels", action="store_true", help="it holds labels, not rows")
    ingest.add_argument(
        "--batch-rows", type=_count, default=5000, metavar="N", help="sent at a time (default 5000)"
    )
    ingest.add_argument("--restart", action="store_true", help="begin again from the first one")
    _add_address(ingest)


def _one(text: str) -> str:
    if re.fullmatch(r"[\w-]+", text, re.ASCII) is None:
        message = f"{text!r} is no number or id"
        raise argparse.ArgumentTypeError(message)
    return text


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def _add_takeout(commands: _Commands) -> None:
    which = "MODEL, MODEL@VERSION or MODEL@VERSION.REVISION"
    what = "write a model into a folder, with a model card and a program that loads it"
    export = commands.add_parser("export", help=what, description=what)
    export.add_argument("model", help=f"{which}; the champion without a version")
    export.add_argument("--to", type=Path, required=True, metavar="DIR", help="a new folder")
    export.add_argument(
        "--format",
        choices=("skops", "lightgbm", "mlflow"),
        default="skops",
        help="scikit-learn's objects as a skops file (default), LightGBM's text where the model "
        "is one of those, or an MLflow model folder",
    )
    what = "take in a fitted scikit-learn model (skops) as a version that does not serve yet"
    bring = commands.add_parser("import", help=what, description=what)
    bring.add_argument("file", type=Path, help="a skops file")
    bring.add_argument("--model", required=True, metavar="MODEL", help="whose version it becomes")
    bring.add_argument("--reason", default="", help="written into the history")
    what = "fit a version once more from its rows, and say whether it predicts the same"
    again = commands.add_parser("reproduce", help=what, description=what)
    again.add_argument("model", help=which.removeprefix("MODEL, "))
    again.add_argument("--json", action="store_true", help="print the answer as it came")
    for command in (export, bring, again):
        _add_address(command)


def _add_env_file(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--env-file", type=Path, metavar="FILE", help="the daemon's settings, see configs/"
    )


def _add_address(command: argparse.ArgumentParser) -> None:
    command.add_argument("--url", help="where the daemon listens: http://host:port or unix:/path")
    command.add_argument(
        "--env-file", type=Path, metavar="FILE", help="take the address from these settings"
    )
