"""Commands that ask a running daemon."""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from retuned.api import api_of, path_of, who
from retuned.errors import PermanentError, TransientError
from retuned.screen import screen, visible
from retuned.terminal.show import show

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Mapping


_NARROW = 100

_PATIENCE_S = 60
"""How long a takeover is waited for; it takes a moment, and longer where a first load is slow."""


def ask(args: Namespace) -> bool:
    """Answer a question of the command line; False where what was to be verified does not.

    Raises:
        RetunedError: nobody answers, or what was asked for is not there.
    """
    with api_of(args) as api:
        found = api.get(_path(args), **_query(args))
    if args.json:
        print(json.dumps(found, indent=2))
    else:
        # In a pipe or a log a line is a line.
        show(screen(in_a_pipe=1000, at_least=_NARROW), _shape(args), found)
    return not found.get("chain", {}).get("findings")


def wish(args: Namespace) -> None:
    """Ask for something to be done.

    Raises:
        RetunedError: nobody answers, or it was refused.
    """
    found = _wished(args, args.command)
    print(f"{args.model}: {args.command} accepted. {' '.join(found['reasons'])}".rstrip())


def adopt(args: Namespace) -> None:
    """Let a model's rows have their home with the daemon that is asked; errors as for `wish`."""
    found = _wished(args, "adopt")
    print(f"{args.model}: rows and decisions are with {found['home']} from now on.")


def stop_study(args: Namespace) -> None:
    """End a running study.

    Raises:
        RetunedError: nobody answers, no study runs, or it has ended already.
    """
    study = args.study or _running_study(args)
    _wished(args, f"studies/{study}/stop")
    print(f"{args.model}: study {study} ends; 'retuned studies {args.model}' tells what it found.")


def _running_study(args: Namespace) -> str:
    with api_of(args) as api:
        found = api.get(path_of(args.model, "studies"), limit=1)["items"]
    if not found or found[0]["finished_at"] is not None:
        message = f"no study of {args.model} runs"
        raise PermanentError(message)
    return str(found[0]["id"])


def pin(args: Namespace) -> None:
    """Keep a version, or let it go; errors as for `wish`."""
    found = _wished(args, f"versions/{args.version}/{args.command}")
    pinned = ", ".join(str(number) for number in found["pinned"]) or "none"
    print(f"{args.model}: {args.command} of version {args.version} accepted. Pinned: {pinned}.")


def recall(args: Namespace) -> None:
    """Let a version take over, or the one before, and wait until it serves.

    Raises:
        RetunedError: nobody answers, it was refused, or it does not serve yet.
    """
    which = {"version": args.version} if args.command == "promote" else {}
    found = _wished(args, args.command, which, wait=_PATIENCE_S)
    if args.json:
        print(json.dumps(found, indent=2))
    if not found["is_serving"]:
        why = " ".join(found["troubles"]) or f"it is still under way after {_PATIENCE_S} s"
        message = (
            f"{args.model}: {args.command} to {found['name']} was accepted and waits: {why}. "
            f"'retuned status {args.model}' tells how it goes on"
        )
        raise TransientError(message)
    if not args.json:
        print(f"{args.model}: {found['champion']} is champion, instead of {found['replaces']}.")


def _wished(
    args: Namespace,
    what: str,
    more: Mapping[str, object] = MappingProxyType({}),
    *,
    wait: int | None = None,
) -> dict[str, Any]:
    """Ask for something of a model, with who and why."""
    with api_of(args) as api:
        body = {"who": who(), "reason": args.reason, **more}
        return api.post(path_of(args.model, what), body, wait=wait)


def resend(args: Namespace) -> None:
    """Send everything in a model's quarantine again.

    Raises:
        RetunedError: nobody answers, or it cannot be taken now.
    """
    with api_of(args) as api:
        found = api.post(path_of(args.model, "quarantine/resend"), {"all": True})
    if args.json:
        print(json.dumps(found, indent=2))
        return
    print(f"{args.model}: {found['taken']:,} taken, {found['rejected']:,} refused again.")
    for item in found["reasons"]:
        print(visible(f"{item['id']}: {item['reason']}"))


def clear(args: Namespace) -> None:
    """Let everything in a model's quarantine go.

    Raises:
        RetunedError: nobody answers, or it was refused.
    """
    with api_of(args) as api:
        found = api.delete(path_of(args.model, "quarantine"))
    if args.json:
        print(json.dumps(found, indent=2))
        return
    print(f"{args.model}: {found['removed']:,} let go.")


def _path(args: Namespace) -> str:
    model = getattr(args, "model", None)
    if model is None:
        return "/v1/models"
    if args.command in {"status", "models"}:
        return path_of(model)
    which = getattr(args, "which", None)
    return path_of(model, args.command, *([which] if which else []))


def _query(args: Namespace) -> dict[str, object]:
    if getattr(args, "verify", False):
        return {"limit": 1, "verify": True}
    if getattr(args, "at", None) is not None:
        return {"at": args.at}
    return {name: getattr(args, name, None) for name in ("limit", "left", "right")}


def _shape(args: Namespace) -> str:
    if getattr(args, "verify", False):
        return "chain"
    if getattr(args, "at", None) is not None:
        return "live"
    if getattr(args, "model", None) is None:
        return "models"
    if args.command == "models":
        return "one of models"
    return f"one of {args.command}" if getattr(args, "which", None) else str(args.command)
