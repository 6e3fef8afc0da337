"""One daemon a state directory."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from retuned.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Make the directory if it is not there, and hold it for this process alone.

    The lock is the kernel's: it ends with the process, however that ends.

    Raises:
        ConfigError: it cannot be made or written, or another daemon holds it.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = (directory / "lock").open("a+")
    except OSError as error:
        message = (
            f"RETUNED_STATE_DIR={directory} cannot be used: {error.strerror}. "
            "Choose a directory that this user may write."
        )
        raise ConfigError(message) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            message = (
                f"another daemon (process {holder}) uses RETUNED_STATE_DIR={directory}: "
                "stop it, or choose another directory."
            )
            raise ConfigError(message) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
