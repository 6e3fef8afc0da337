"""``retuned rotate-key``: a new signing key, or the end of the old ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retuned.errors import ConfigError
from retuned.registry.signing import drop_older, rotate
from retuned.settings import load

if TYPE_CHECKING:
    from argparse import Namespace


def rotate_key(args: Namespace) -> None:
    """Put a new key into the daemon's key file, or leave only the newest there.

    Raises:
        ConfigError: there is no key file, or it cannot be read or replaced.
    """
    path = load(args.env_file).key_file
    try:
        key = drop_older(path) if args.forget_old else rotate(path)
    except FileNotFoundError as error:
        message = f"{path} is not there: the daemon makes it at its first start"
        raise ConfigError(message) from error
    if args.forget_old:
        print(f"{path}: {key.id} is the only key now. Restart every daemon that reads this file.")
        return
    print(f"{path}: {key.id} signs from the next start on; {', '.join(key.ids[1:])} still verify.")
    print("Restart the daemon (and give others on this registry the same file). When")
    print("'retuned check' finds nothing that an older key signed: rotate-key --forget-old.")
